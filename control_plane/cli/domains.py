"""Custom domains as a whole: what becomes of their routes when functions are deployed, and when they go.

A domain may lead to functions of other deployment files: their routes stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from control_plane.cli.failures import Failed, ServerError

if TYPE_CHECKING:
    from control_plane.cli.client import Client
    from control_plane.cli.plans import DomainPlan, Owner

Route = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DomainChange:
    """A domain as it should be."""

    name: str
    protocol: str
    routes: tuple[Route, ...]


def look(client: Client, plans: Iterable[DomainPlan]) -> list[DomainChange]:
    """What the plans make of the domains that there are. Changes nothing.

    Raises:
        Failed: a path leads to another function already.
    """
    from control_plane.cli.client import domain_path

    by_name: dict[str, list[DomainPlan]] = {}
    for plan in plans:
        by_name.setdefault(plan.name, []).append(plan)
    changes = []
    for name, same in by_name.items():
        there = client.get_or_none(domain_path(name)) or {}
        changes.append(DomainChange(name, same[0].protocol, tuple(merged(name, routes_of(there), same))))
    return changes


def merged(name: str, there: list[Route], plans: list[DomainPlan]) -> list[Route]:
    """The routes of a domain: those of the plans, and of those that are there the ones of other functions. A plan
    without an owner describes all of it.

    Raises:
        Failed: a path leads to another function already.
    """
    described = {route["path"]: route for plan in plans for route in plan.routes}
    owners = {plan.owner for plan in plans}
    kept = [] if None in owners else [route for route in there if leads_to(route) not in owners]
    for route in kept:
        wanted = described.get(route["path"])
        if wanted is not None and leads_to(wanted) != leads_to(route):
            here, other = "/".join(leads_to(wanted)), "/".join(leads_to(route))
            raise Failed(f"custom domain {name}: {route['path']} leads to {other}, not to {here}: remove that first")
    return [*(route for route in kept if route["path"] not in described), *described.values()]


def put(client: Client, change: DomainChange) -> bool:
    """Gives whether the domain is new."""
    from control_plane.cli.client import API, domain_path

    update = {"protocol": change.protocol, "routeConfig": {"routes": list(change.routes)}}
    return client.put_or_create(
        domain_path(change.name), update, f"{API}/custom-domains", {"domainName": change.name, **update}
    )[1]


def leading_to_any(client: Client, functions: Iterable[Owner]) -> list[dict[str, Any]] | None:
    """The domains that have a route to one of these functions, whoever made them. None: the access key is for some
    services, and a domain belongs to none."""
    from control_plane.cli.client import API

    wanted = set(functions)
    try:
        found = list(client.pages(f"{API}/custom-domains", "customDomains"))
    except ServerError as error:
        if error.status == 403:
            return None
        raise
    return [domain for domain in found if any(leads_to(route) in wanted for route in routes_of(domain))]


def without(domain: dict[str, Any], functions: Iterable[Owner]) -> DomainChange:
    """The domain without its routes to these functions."""
    gone = set(functions)
    rest = tuple(route for route in routes_of(domain) if leads_to(route) not in gone)
    return DomainChange(str(domain["domainName"]), str(domain.get("protocol") or "HTTP"), rest)


def routes_of(domain: dict[str, Any]) -> list[Route]:
    return list((domain.get("routeConfig") or {}).get("routes") or ())


def leads_to(route: Route) -> Owner:
    return str(route.get("serviceName")), str(route.get("functionName"))
