"""`python -m control_plane`."""

from runtime.compiled import DECISIONS

DECISIONS.use()

from control_plane.main import main  # noqa: E402 - by now from the build

main()
