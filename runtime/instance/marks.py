"""Function Compute's lines in an instance's log, around each request."""

from __future__ import annotations

from typing import Final

from runtime.contract import PATH_INITIALIZE, PATH_PRE_STOP

_NAMES: Final = {PATH_INITIALIZE: "Initialize", PATH_PRE_STOP: "PreStop"}


class Marks:
    """Of one request."""

    __slots__ = ("_ended", "_name", "_request_id")

    def __init__(self, control_path: str, request_id: str) -> None:
        self._name = _NAMES.get(control_path, "Invoke")
        self._request_id = request_id
        self._ended = False

    def begin(self) -> None:
        print(f"FC {self._name} Start RequestId: {self._request_id}", flush=True)  # noqa: T201

    def end(self, failed: bool) -> None:
        """The second time does nothing: it was said before the answer began, for a caller who wanted it in there."""
        if not self._ended:
            self._ended = True
            error = ", Error: Unhandled function error" if failed else ""
            print(f"FC {self._name} End RequestId: {self._request_id}{error}", flush=True)  # noqa: T201
