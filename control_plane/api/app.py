"""The FC API as an ASGI application: its paths, and what is around every operation."""

from __future__ import annotations

import secrets

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from control_plane.api import shells as shells_api
from control_plane.api.auth import Authenticator, LoopbackAuthenticator
from control_plane.api.context import ApiSettings, Context, Limits, Operation
from control_plane.api.edge import Edge, answer_http_error, answer_stoke_error
from control_plane.api.paths import EXEC_PATHS, TREES
from control_plane.async_invocations import NoInvocations
from control_plane.environments import EnvironmentBook
from control_plane.errors import StokeError
from control_plane.metering.book import NoAccounts
from control_plane.ports import AccessKeys, Accounts, AsyncInvocations, CodeStore, Fleet, Registry, Shells
from runtime.access.sealing import KEY_BYTES, Box


def create_app(
    registry: Registry,
    fleet: Fleet,
    code: CodeStore,
    settings: ApiSettings,
    *,
    authenticator: Authenticator | None = None,
    access_keys: AccessKeys | None = None,
    url_key: bytes | None = None,
    limits: Limits | None = None,
    invocations: AsyncInvocations | None = None,
    accounts: Accounts | None = None,
    shells: Shells | None = None,
    environments: EnvironmentBook | None = None,
    box: Box | None = None,
) -> Starlette:
    """Every dependency is handed in; nothing is started or read here. `url_key` signs the URLs of code: the same in all
    processes that should honour them, one of this process's own by default. Without `invocations` or `accounts` there
    are none, without `shells` nothing can be run beside an instance, and without `environments` none is made. `box`
    seals passwords of registries; one of this process's own by default."""
    app = Starlette(
        routes=[
            *(route for prefix, table in TREES for route in _routes(prefix, table)),
            *(WebSocketRoute(prefix + path, shells_api.run) for prefix, path in EXEC_PATHS),
        ],
        middleware=[Middleware(Edge, authenticator=authenticator or LoopbackAuthenticator())],
        exception_handlers={StokeError: answer_stoke_error, HTTPException: answer_http_error},
    )
    app.router.redirect_slashes = False  # a redirect has no JSON body, and clients sign the path they asked for
    app.state.context = Context(
        registry,
        fleet,
        code,
        settings,
        limits or Limits(),
        invocations or NoInvocations(),
        accounts or NoAccounts(),
        access_keys,
        url_key or secrets.token_bytes(32),
        box or Box(secrets.token_bytes(KEY_BYTES)),
        shells=shells,
        environments=environments or EnvironmentBook(),
    )
    return app


def _routes(prefix: str, table: tuple[tuple[str, str, Operation], ...]) -> list[Route]:
    """One route for each path, so that a wrong method is told all that are allowed."""
    paths: dict[str, dict[str, Operation]] = {}
    for path, method, operation in table:
        paths.setdefault(path, {})[method] = operation
    return [Route(prefix + path, _by_method(operations), methods=[*operations]) for path, operations in paths.items()]


def _by_method(operations: dict[str, Operation]) -> Operation:
    async def answer(request: Request) -> Response:
        return await operations["GET" if request.method == "HEAD" else request.method](request)

    return answer
