"""`python -m runtime.gateway`."""

import sys

from runtime.gateway.main import main

sys.exit(main())
