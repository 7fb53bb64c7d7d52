"""`python -m runtime.gateway`."""

import sys

from runtime.compiled import REQUESTS

REQUESTS.use()

from runtime.gateway.main import main  # noqa: E402 - by now from the build

sys.exit(main())
