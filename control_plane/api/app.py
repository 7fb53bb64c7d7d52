"""The FC API as an ASGI application: the table of its paths, and what is around every operation."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from control_plane.api import (
    aliases,
    chatter,
    explain,
    functions,
    instances,
    provision,
    services,
    stoke,
    triggers,
    versions,
)
from control_plane.api.auth import Authenticator, LoopbackAuthenticator
from control_plane.api.context import ApiSettings, Context, Limits, Operation
from control_plane.api.edge import Edge, answer_http_error, answer_stoke_error
from control_plane.errors import StokeError
from control_plane.ports import CodeStore, Fleet, Registry
from runtime.contract import API_VERSIONS

SERVICE = "/services/{service}"
FUNCTION = f"{SERVICE}/functions/{{function}}"

# Path, method, operation. 2016-08-15 and 2021-04-06 have the same tree under their own prefix.
FC_ROUTES: tuple[tuple[str, str, Operation], ...] = (
    ("/services", "POST", services.create),
    ("/services", "GET", services.list_all),
    (SERVICE, "GET", services.get),
    (SERVICE, "PUT", services.update),
    (SERVICE, "DELETE", services.delete),
    (f"{SERVICE}/functions", "POST", functions.create),
    (f"{SERVICE}/functions", "GET", functions.list_all),
    (FUNCTION, "GET", functions.get),
    (FUNCTION, "PUT", functions.update),
    (FUNCTION, "DELETE", functions.delete),
    (f"{FUNCTION}/code", "GET", functions.get_code),
    (f"{SERVICE}/versions", "POST", versions.publish),
    (f"{SERVICE}/versions", "GET", versions.list_all),
    (f"{SERVICE}/versions/{{version}}", "DELETE", versions.delete),
    (f"{SERVICE}/aliases", "POST", aliases.create),
    (f"{SERVICE}/aliases", "GET", aliases.list_all),
    (f"{SERVICE}/aliases/{{alias}}", "GET", aliases.get),
    (f"{SERVICE}/aliases/{{alias}}", "PUT", aliases.update),
    (f"{SERVICE}/aliases/{{alias}}", "DELETE", aliases.delete),
    (f"{FUNCTION}/triggers", "POST", triggers.create),
    (f"{FUNCTION}/triggers", "GET", triggers.list_all),
    (f"{FUNCTION}/triggers/{{trigger}}", "GET", triggers.get),
    (f"{FUNCTION}/triggers/{{trigger}}", "PUT", triggers.update),
    (f"{FUNCTION}/triggers/{{trigger}}", "DELETE", triggers.delete),
    (f"{FUNCTION}/provision-config", "PUT", provision.put),
    (f"{FUNCTION}/provision-config", "GET", provision.get),
    ("/provision-configs", "GET", provision.list_all),
    (f"{FUNCTION}/instances", "GET", instances.list_all),
    ("/account-settings", "GET", chatter.account_settings),
    (f"{SERVICE}/bindings", "GET", chatter.bindings),
    (f"{FUNCTION}/async-invoke-config", "GET", chatter.async_invoke_config),
    (f"{FUNCTION}/async-invoke-configs", "GET", chatter.async_invoke_configs),
)

STOKE_PREFIX = "/stoke/v1"
STOKE_ROUTES: tuple[tuple[str, str, Operation], ...] = (
    ("/status", "GET", stoke.status),
    ("/instances", "GET", stoke.instances),
    ("/instances/{instance}/logs", "GET", stoke.logs),
    ("/provision", "GET", stoke.provision),
    ("/provision/explain", "GET", explain.explain),
    ("/code/{sha256}", "GET", stoke.code),
    ("/metrics", "GET", stoke.metrics),
)


def create_app(
    registry: Registry,
    fleet: Fleet,
    code: CodeStore,
    settings: ApiSettings,
    *,
    authenticator: Authenticator | None = None,
    limits: Limits | None = None,
) -> Starlette:
    """Every dependency is handed in; nothing is started or read here."""
    trees = [*((f"/{version}", FC_ROUTES) for version in API_VERSIONS), (STOKE_PREFIX, STOKE_ROUTES)]
    app = Starlette(
        routes=[route for prefix, table in trees for route in _routes(prefix, table)],
        middleware=[Middleware(Edge, authenticator=authenticator or LoopbackAuthenticator())],
        exception_handlers={StokeError: answer_stoke_error, HTTPException: answer_http_error},
    )
    app.router.redirect_slashes = False  # a redirect has no JSON body, and clients sign the path they asked for
    app.state.context = Context(registry, fleet, code, settings, limits or Limits())
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
