"""One run of a function's code, for one request: what its log and its caller are told of it.

The order is decided here, for handlers and for apps alike:

1. From the beginning on, what is logged bears the request's id, and the tail is kept for a caller who asks for it.
2. Function Compute's line for the start, which is the first of the tail.
3. What the function logs; at last what it raised.
4. The line for the end, once. A caller who gets the tail gets it in the answer's head: then the end is before that.
5. The tail is read.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence

from runtime import marks
from runtime.contract import HEADER_CONTROL_PATH, HEADER_LOG_TYPE, HEADER_REQUEST_ID
from runtime.instance import log_tail, mistakes
from runtime.instance.context import REQUEST_ID
from runtime.instance.envelope import HttpAnswer


class Run:
    """From the request's head until its answer."""

    __slots__ = ("_has_ended", "_has_failed", "_name", "_request_id", "control_path", "tail")

    def __init__(self, headers: Mapping[str, str], concurrency: int) -> None:
        """Begins it, in this context. `concurrency`: how many runs there may be at once."""
        self.control_path = control_path = headers.get(HEADER_CONTROL_PATH, "")
        request_id = headers.get(HEADER_REQUEST_ID, "-")
        REQUEST_ID.set(request_id)
        self.tail = log_tail.begin(concurrency) if HEADER_LOG_TYPE in headers else None
        self._name, self._request_id = marks.name_of(control_path), request_id
        self._has_failed = self._has_ended = False
        print(marks.start(self._name, request_id), flush=True)  # noqa: T201

    def failed(self, error: BaseException) -> HttpAnswer:
        """The function has raised `error`: its log says so. Gives what its caller is told."""
        traceback.print_exception(error)
        self._has_failed = True
        return mistakes.answer(error, self.control_path)

    def end(self) -> Sequence[tuple[str, str]]:
        """What the answer's head says of the log. The second time does nothing."""
        if self._has_ended:
            return ()
        self._has_ended = True
        print(marks.end(self._name, self._request_id, failed=self._has_failed), flush=True)  # noqa: T201
        return () if self.tail is None else (log_tail.header(self.tail),)
