"""`python -m loadtests.simulator`: see `command`."""

import sys

from runtime.compiled import DECISIONS, REQUESTS

REQUESTS.use()
DECISIONS.use()

from loadtests.simulator.command import main  # noqa: E402 - by now what decides comes from the build

sys.exit(main())
