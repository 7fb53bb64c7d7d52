"""Which part of a model's server answers which path, and what such a part gets and gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Body = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has arrived whole."""

    method: str
    path: str  # below the function's URL; as it came, not decoded, without the query
    query: str
    headers: dict[str, str]  # by lower-case name; values of the same name are joined by a comma
    body: list[bytes]  # in pieces, as it came

    def whole_body(self) -> bytes:
        return self.body[0] if len(self.body) == 1 else b"".join(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """The body goes out in the pieces that it is in, without a copy. Its length need not be said."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: list[Body] = field(default_factory=list)


# Awaited in a task of its own, which is cancelled when the client leaves.
Handler = Callable[[Request], Awaitable[Answer]]


class Routes:
    """By the longest prefix that was added: `/v2` is asked for `/v2` and all below it."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def add(self, prefix: str, handler: Handler) -> None:
        assert prefix.startswith("/"), "paths begin with a slash"
        assert prefix not in self._handlers, f"{prefix} is taken"
        self._handlers[prefix] = handler

    def find(self, path: str) -> Handler | None:
        while path:
            handler = self._handlers.get(path)
            if handler is not None:
                return handler
            path = path[: path.rfind("/")]
        return None
