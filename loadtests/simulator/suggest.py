"""`python -m loadtests.simulator.suggest`: see `suggest_command`. Its worker processes begin here, too."""

import sys

from runtime.compiled import DECISIONS, REQUESTS

REQUESTS.use()
DECISIONS.use()

from loadtests.simulator.suggest_command import main  # noqa: E402 - by now what decides comes from the build

if __name__ == "__main__":
    sys.exit(main())
