"""Function Compute's two lines in a function's log, around each request: which they are, for every kind of function.

Handlers and apps print between the two, so each is written when its moment has come (`runtime.instance.run`). A model
prints nothing, so its two are written together, and with those of other requests (`HeldMarks`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from runtime.contract import PATH_INITIALIZE, PATH_PRE_STOP

_NAMES: Final = {PATH_INITIALIZE: "Initialize", PATH_PRE_STOP: "PreStop"}
_HELD_MAX: Final = 256


def name_of(control_path: str) -> str:
    """What a request is called in the log, by its `x-fc-control-path`."""
    return _NAMES.get(control_path, "Invoke")


def start(name: str, request_id: str) -> str:
    return f"FC {name} Start RequestId: {request_id}"


def end(name: str, request_id: str, *, failed: bool) -> str:
    return f"FC {name} End RequestId: {request_id}{', Error: Unhandled function error' if failed else ''}"


class HeldMarks:
    """Marks of requests that are over, held back until `write`: some hundreds at most."""

    def __init__(self, soon: Callable[[Callable[[], None]], object]) -> None:
        """`soon` calls what it is given in a moment."""
        self._soon = soon
        self._held: list[str] = []

    def add(self, name: str, request_id: str, *, failed: bool) -> str:
        """Both lines of a request, which are given too."""
        lines = f"{start(name, request_id)}\n{end(name, request_id, failed=failed)}\n"
        if not self._held:
            self._soon(self.write)
        self._held.append(lines)
        if len(self._held) >= _HELD_MAX:
            self.write()
        return lines

    def write(self) -> None:
        if self._held:
            lines, self._held = "".join(self._held), []
            print(lines, end="", flush=True)  # noqa: T201
