"""Which part of a model's server answers which path, and what such a part gets and gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

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

# What a mistake of ours raised, in place of an answer, is logged and answered with 500.
Reply = Callable[[Answer | Exception], None]
# Given a body and what to call with the answer, once, now or later, in the loop: gives how to take the request out
# again if its client leaves. Raises nothing. It stands for all requests that have one head but for its end
# (`runtime.http.beginnings`), and makes no task for them.
Direct = Callable[[list[bytes], Reply], Callable[[], None]]


class Shortcut(Protocol):
    def __call__(self, method: str, path: str, headers: dict[str, str]) -> Direct | None:
        """What takes requests with this head; None: the handler does."""


class Routes:
    """By the longest prefix that was added: `/v2` is asked for `/v2` and all below it."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._shortcuts: dict[Handler, Shortcut] = {}

    def add(self, prefix: str, handler: Handler, shortcut: Shortcut | None = None) -> None:
        assert prefix.startswith("/"), "paths begin with a slash"
        assert prefix not in self._handlers, f"{prefix} is taken"
        self._handlers[prefix] = handler
        if shortcut is not None:
            self._shortcuts[handler] = shortcut

    def direct(self, handler: Handler, method: str, path: str, headers: dict[str, str]) -> Direct | None:
        """What takes such requests in the place of a handler that was found."""
        shortcut = self._shortcuts.get(handler)
        return shortcut(method, path, headers) if shortcut is not None else None

    def find(self, path: str) -> Handler | None:
        while path:
            handler = self._handlers.get(path)
            if handler is not None:
                return handler
            path = path[: path.rfind("/")]
        return None
