"""Custom domains: host names of the user's own, with a function for each path. FC 3.0 names it by one name."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import fc3, wire
from control_plane.api.context import Context, context, deleted, updated
from control_plane.errors import InvalidArgument, NotFound
from control_plane.model import CustomDomain
from control_plane.ports import Registry
from control_plane.registry.keys import fc3_name, fc3_split
from runtime.contract import LATEST

READ_ONLY: Final = frozenset({"accountId", "apiVersion", "createdTime", "lastModifiedTime", "subdomainCount"})


async def create(request: Request) -> Response:
    """Not of the endpoint's own name: the whole API would be the function's."""
    at = context(request)
    domain = wire.build(CustomDomain, await _given(request), read_only=READ_ONLY)
    own = urlsplit(at.settings.public_url).hostname
    if domain.domain_name == own:
        raise InvalidArgument(f"domainName is '{own}': must be another name than the endpoint's")
    return _reply(request, at, await _stored(request, domain, at.registry.create_domain(domain)))


async def get(request: Request) -> Response:
    at = context(request)
    return _reply(request, at, await at.registry.get_domain(_name(request)))


async def update(request: Request) -> Response:
    """Only the keys that are given change; `routeConfig` counts as one key."""
    at = context(request)
    given = await _given(request)
    name = _name(request)

    async def attempt() -> CustomDomain:
        stored = await at.registry.get_domain(name)
        wire.check_match(request, stored)
        new = wire.merge(stored, given, read_only=READ_ONLY, domainName=name)
        return await _stored(request, new, at.registry.update_domain(new, based_on=stored))

    return _reply(request, at, await updated(attempt))


async def delete(request: Request) -> Response:
    registry, name = context(request).registry, _name(request)
    return await deleted(
        request, lambda: registry.get_domain(name), lambda stored: registry.delete_domain(name, based_on=stored)
    )


async def list_all(request: Request) -> Response:
    at = context(request)
    page = await at.registry.list_domains(wire.list_query(request))
    return wire.listing("customDomains", page, [_shown(request, at, domain) for domain in page.items])


def _name(request: Request) -> str:
    return wire.path_name(request, "domain").lower()


async def _given(request: Request) -> dict[str, Any]:
    """With `service$function` of FC 3.0 taken apart; names of host are in small letters."""
    given = await wire.read_changes(request, context(request).limits.body_bytes_max)
    if isinstance(given.get("domainName"), str):
        given["domainName"] = given["domainName"].lower()
    config = given.get("routeConfig")
    if config is None:
        return given
    routes = config.get("routes", []) if isinstance(config, dict) else None
    if not isinstance(routes, list) or not all(isinstance(route, dict) for route in routes):
        raise InvalidArgument(f"routeConfig is {wire.shorten(repr(config))}: must be an object with a list of routes")
    for route in routes:
        if route.get("rewriteConfig"):
            raise InvalidArgument("routeConfig.routes.rewriteConfig is given: paths are passed on as they are")
        if fc3.is_asked(request) and isinstance(route.get("functionName"), str):
            route["serviceName"], route["functionName"] = fc3_split(route["functionName"])
    return given


async def _stored(request: Request, domain: CustomDomain, writing: Awaitable[CustomDomain]) -> CustomDomain:
    """What is written; where a function of a route is missing, FC 3.0's clients are told of it by its one name."""
    try:
        return await writing
    except NotFound as error:
        if not fc3.is_asked(request) or error.code not in ("ServiceNotFound", "FunctionNotFound"):
            raise
        name = await _missing(context(request).registry, domain)
        raise NotFound("Function", f"function '{name}' does not exist") from error


async def _missing(registry: Registry, domain: CustomDomain) -> str:
    for route in domain.route_config.routes:
        try:
            await registry.get_function(route.service_name, route.function_name, route.qualifier or LATEST)
        except NotFound:
            return fc3_name(route.service_name, route.function_name)
    return ""  # it has come meanwhile


def _reply(request: Request, at: Context, domain: CustomDomain) -> Response:
    return wire.reply(_shown(request, at, domain), of=domain)


def _shown(request: Request, at: Context, domain: CustomDomain) -> dict[str, Any]:
    values = wire.dumped(domain)
    for route in values["routeConfig"]["routes"]:
        if fc3.is_asked(request):
            route["functionName"] = fc3_name(route.pop("serviceName"), route["functionName"])
    version = request.url.path.split("/")[1]
    return values | {"accountId": at.settings.account_id, "apiVersion": version}
