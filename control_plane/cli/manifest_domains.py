"""What an s.yaml says of custom domains, as the API takes it: lists in edition 1.0.0, `customDomain` of a function and
the component fc3-domain in 3.0.0."""

from __future__ import annotations

from typing import Any, Final

from control_plane.cli import manifest_entries as entries
from control_plane.cli.manifest_fields import DOMAIN_1, DOMAIN_3, DOMAIN_COMPONENT_3, ROUTE_1, ROUTE_3
from control_plane.cli.plans import DomainPlan, FunctionPlan, Owner
from control_plane.cli.problems import Problems, shown
from control_plane.cli.yaml_source import Path as FieldPath
from control_plane.model import CustomDomain

_AUTO: Final = "auto"
_NO_NAME: Final = "has no effect: no domain is made here; a trigger's URL by path serves without one"


def of_service_function(value: Any, owner: Owner, path: FieldPath, problems: Problems) -> tuple[DomainPlan, ...]:
    """Edition 1.0.0's `customDomains`: routes without a service and a function lead to the entry's own."""
    plans = []
    for index, item in enumerate(problems.items(value, path) if value is not None else ()):
        place = (*path, index)
        domain = entries.checked(problems.mapping(item, place), DOMAIN_1, place, problems)
        where = (*place, "routeConfigs")
        routes = [
            _route(route, ROUTE_1, owner, (*where, at), problems)
            for at, route in enumerate(problems.items(domain.get("routeConfigs") or [], where))
        ]
        plans.append(_plan(domain, routes, owner, place, problems, "routeConfigs"))
    return tuple(plan for plan in plans if plan is not None)


def of_function(value: Any, owner: Owner, path: FieldPath, problems: Problems) -> tuple[DomainPlan, ...]:
    """Edition 3.0.0's `customDomain`, with one `route`."""
    if not value or value == _AUTO:
        return ()
    domain = entries.checked(problems.mapping(value, path), DOMAIN_3, path, problems)
    where = (*path, "route")
    if domain.get("route") is None:
        problems.add(path, "the field route is required: a mapping with at least a path")
        return ()
    plan = _plan(domain, [_route(domain["route"], ROUTE_3, owner, where, problems)], owner, path, problems, "route")
    return () if plan is None else (plan,)


def of_component(key: str, props: Any, path: FieldPath, problems: Problems) -> DomainPlan | None:
    """An entry of the component fc3-domain: the domain as a whole, with no other route than these."""
    domain = entries.checked(problems.mapping(props, path), DOMAIN_COMPONENT_3, path, problems)
    where: FieldPath = (*path, "routeConfig")
    config = problems.mapping(domain.get("routeConfig") or {}, where)
    problems.known_fields(config, ("routes",), where)
    routes = [
        _route(route, ROUTE_3, None, (*where, "routes", at), problems)
        for at, route in enumerate(problems.items(config.get("routes") or [], (*where, "routes")))
    ]
    plan = _plan(domain, routes, None, path, problems, "routeConfig")
    return None if plan is None else DomainPlan(plan.name, plan.protocol, plan.routes, None, key)


def check_together(plans: tuple[FunctionPlan, ...], domains: tuple[DomainPlan, ...], problems: Problems) -> None:
    """No domain leads one path to two functions, or has two protocols."""
    protocols: dict[str, str] = {}
    paths: dict[tuple[str, str], Owner] = {}
    for domain in (*(each for plan in plans for each in plan.domains), *domains):
        other = protocols.setdefault(domain.name, domain.protocol)
        if other != domain.protocol:
            problems.add((), f"the custom domain {domain.name} has the protocols {other} and {domain.protocol}")
        for route in domain.routes:
            leads_to = (route["serviceName"], route["functionName"])
            first = paths.setdefault((domain.name, route["path"]), leads_to)
            if first != leads_to:
                functions = " and ".join("/".join(each) for each in (first, leads_to))
                problems.add((), f"the custom domain {domain.name} leads {route['path']} to {functions}")


def _plan(
    domain: dict[str, Any],
    routes: list[dict[str, Any]],
    owner: Owner | None,
    path: FieldPath,
    problems: Problems,
    routes_name: str,
) -> DomainPlan | None:
    """None where there is nothing to deploy: a name that the cloud would make up."""
    name = problems.text(domain, "domainName", path).lower()
    if name == _AUTO:
        problems.note((*path, "domainName"), _NO_NAME)
        return None
    auth = domain.get("authConfig")
    if auth and (not isinstance(auth, dict) or auth.get("authType") != "anonymous"):
        problems.add((*path, "authConfig"), "not supported: say it in the trigger's authType, which holds here too")
    protocol = str(domain.get("protocol") or "HTTP").upper()
    if name and all(routes):
        body = {"domainName": name, "protocol": protocol, "routeConfig": {"routes": routes}}
        problems.validate(CustomDomain, body, path, {"routeConfig": (routes_name,)})
    return DomainPlan(name, protocol, tuple(route for route in routes if route), owner)


def _route(
    value: Any, known: frozenset[str], owner: Owner | None, path: FieldPath, problems: Problems
) -> dict[str, Any]:
    """As FC 2.0 has it; {} where something is wrong with it."""
    route = problems.mapping(value, path)
    problems.known_fields(route, known, path)
    if route.get("rewriteConfig"):
        problems.add((*path, "rewriteConfig"), "not supported: paths are passed on as they are")
    if not problems.text(route, "path", path):
        return {}
    function = route.get("functionName")
    service = route.get("serviceName")
    if owner is not None:
        service, function = service or owner[0], function or owner[1]
    elif isinstance(function, str) and function:
        before, dollar, behind = function.partition("$")
        service, function = (before, behind) if dollar else (function, function)
    else:
        problems.add(path, f"the field functionName is required, not {shown(function)}")
        return {}
    methods = route.get("methods")
    if isinstance(methods, list):
        methods = [str(method).upper() for method in methods]
    found = {
        "path": route["path"],
        "serviceName": service,
        "functionName": function,
        "qualifier": str(route.get("qualifier") or "LATEST"),
        "methods": methods or None,
    }
    return {key: item for key, item in found.items() if item is not None}
