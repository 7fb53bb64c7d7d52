"""Custom domains: a host name of the user's, and the functions that its paths lead to."""

from __future__ import annotations

from control_plane.errors import InvalidArgument, RequestError
from control_plane.listing import Page, Query
from control_plane.model import CustomDomain
from control_plane.registry import keys
from control_plane.registry.base import RegistryBase, check_unchanged, dump, find_function, find_version_id
from control_plane.registry.routes import domain_route
from control_plane.registry.transaction import Reader, Transaction
from runtime.contract import LATEST, domain_field


class Domains(RegistryBase):
    async def create_domain(self, domain: CustomDomain) -> CustomDomain:
        new = self._stamped(domain)
        name = new.domain_name

        async def plan(transaction: Transaction) -> CustomDomain:
            (there,) = await transaction.get(keys.domain(name))
            if there is not None:
                raise RequestError(f"domain name '{name}' already exists", code="DomainNameAlreadyExists", status=409)
            await _check(transaction, new)
            _write(transaction, new)
            transaction.enlist(keys.DOMAINS, name)
            return new

        return await self._change(plan)

    async def get_domain(self, name: str) -> CustomDomain:
        return await _find(self._store, name)

    async def update_domain(self, domain: CustomDomain, *, based_on: CustomDomain | None = None) -> CustomDomain:
        async def plan(transaction: Transaction) -> CustomDomain:
            stored = await _find(transaction, domain.domain_name)
            check_unchanged(f"domain name '{domain.domain_name}'", stored, based_on)
            new = self._stamped(domain, stored)
            if new.route_config != stored.route_config:  # else a function that went since would keep all of it as it is
                await _check(transaction, new)
            _write(transaction, new)
            return new

        return await self._change(plan)

    async def delete_domain(self, name: str, *, based_on: CustomDomain | None = None) -> None:
        async def plan(transaction: Transaction) -> None:
            check_unchanged(f"domain name '{name}'", await _find(transaction, name), based_on)
            transaction.remove(keys.domain(name))
            transaction.strike(keys.DOMAINS, name)
            transaction.route(domain_field(name), None)

        await self._change(plan)

    async def list_domains(self, query: Query) -> Page[CustomDomain]:
        return await self._page(
            keys.DOMAINS, query, keys.domain, lambda _, record: CustomDomain.model_validate_json(record)
        )


def _write(transaction: Transaction, domain: CustomDomain) -> None:
    transaction.put(keys.domain(domain.domain_name), dump(domain))
    transaction.route(domain_field(domain.domain_name), domain_route(domain).to_json())


async def _find(reader: Reader, name: str) -> CustomDomain:
    (record,) = await reader.get(keys.domain(name))
    if record is None:
        raise RequestError(f"domain name '{name}' does not exist", code="DomainNameNotFound", status=404)
    return CustomDomain.model_validate_json(record)


async def _check(transaction: Transaction, domain: CustomDomain) -> None:
    """Its functions exist, and no path is given twice."""
    seen = set()
    for route in domain.route_config.routes:
        if route.path in seen:
            raise InvalidArgument(f"routeConfig.routes: path '{route.path}' is given twice")
        if route.path.endswith("*") and not route.path.endswith("/*"):
            raise InvalidArgument(f"routeConfig.routes: path '{route.path}': an asterisk is allowed after a slash only")
        seen.add(route.path)
        version = await find_version_id(transaction, route.service_name, route.qualifier or LATEST)
        await find_function(transaction, route.service_name, route.function_name, version)
