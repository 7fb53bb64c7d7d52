"""`stoke …`: the command line. `main` runs one command and turns what goes wrong into a line and an exit code.

Exit codes: 0 done · 1 refused by the server, or it failed · 2 bad input, nothing was sent · 3 not reachable ·
130 interrupted.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Final, NoReturn

from control_plane.cli.failures import CliError

_EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `stoke` with `arguments`, those of the process by default, and exit."""
    from control_plane.cli.commands import app

    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app().main(args=given, prog_name="stoke")
    except CliError as error:
        if "--debug" in given:
            traceback.print_exc()
        for line in str(error).splitlines():
            print(f"stoke: {line}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(_EXIT_INTERRUPTED)
    raise AssertionError("typer's main exits by itself")
