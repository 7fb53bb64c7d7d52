"""What every operation of the API works with."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar, cast

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.environments import EnvironmentBook
from control_plane.errors import ConcurrentUpdate
from control_plane.ports import AccessKeys, Accounts, AsyncInvocations, CodeStore, Fleet, Registry, Shells
from control_plane.uploads import Uploads
from runtime.access.sealing import KEY_BYTES, Box

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

Operation = Callable[[Request], Awaitable[Response]]
UPDATE_ATTEMPTS_MAX: Final = 20


class ApiSettings(Protocol):
    """What the API reads of the control plane's settings."""

    @property
    def public_url(self) -> str: ...
    @property
    def region(self) -> str: ...
    @property
    def account_id(self) -> str: ...
    @property
    def prometheus_allowed(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may bring. Over it is an answer, not a wait."""

    body_bytes_max: int = 1024 * 1024
    code_body_bytes_max: int = 100 * 1024 * 1024  # of a body that may carry code
    log_tail_bytes_max: int = 8 * 1024 * 1024
    # How long to look for a first piece of a log (or the news that there is none) before the answer begins.
    log_first_piece_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Context:
    registry: Registry
    fleet: Fleet
    code: CodeStore
    settings: ApiSettings
    limits: Limits
    invocations: AsyncInvocations
    accounts: Accounts
    keys: AccessKeys | None = None
    url_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)  # signs the URLs of code
    box: Box = field(default_factory=lambda: Box(secrets.token_bytes(KEY_BYTES)), repr=False)  # for stored secrets
    shells: Shells | None = None
    environments: EnvironmentBook = field(default_factory=EnvironmentBook)
    uploads: Uploads = field(default_factory=Uploads)


def context(request: Request) -> Context:
    return cast("Context", request.app.state.context)


async def updated(attempt: Callable[[], Awaitable[T]]) -> T:
    """A read-change-write that another one may overtake: tried again with what that one has written."""
    for _ in range(UPDATE_ATTEMPTS_MAX - 1):
        try:
            return await attempt()
        except ConcurrentUpdate:
            continue
    return await attempt()


async def deleted(
    request: Request, read: Callable[[], Awaitable[M]], delete: Callable[[M], Awaitable[None]]
) -> Response:
    """What is there is read, is the one that the client means, and is deleted: that one or none."""

    async def attempt() -> None:
        stored = await read()
        wire.check_match(request, stored)
        await delete(stored)

    await updated(attempt)
    return wire.no_content()
