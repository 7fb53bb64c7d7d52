"""Aliases of a service: a name for a version, and for the share of requests that other versions get."""

from __future__ import annotations

from collections.abc import Mapping

from control_plane.errors import AlreadyExists, InvalidArgument
from control_plane.listing import Page, Query
from control_plane.model import Alias
from control_plane.registry import keys
from control_plane.registry.base import (
    RegistryBase,
    check_unchanged,
    dump,
    find_alias,
    find_service,
    find_version,
    find_with_service,
)
from control_plane.registry.dropping import drop_alias
from control_plane.registry.routes import alias_route
from control_plane.registry.settings import find_on_demand_max, functions_with_on_demand
from control_plane.registry.transaction import Transaction
from runtime.contract import LATEST, alias_field
from runtime.traffic.rules import CONTENT, RANDOM, parse_rules


class Aliases(RegistryBase):
    async def create_alias(self, service: str, alias: Alias) -> Alias:
        new = self._stamped(alias)
        key = keys.alias(service, new.alias_name)

        async def plan(transaction: Transaction) -> Alias:
            await find_service(transaction, service)
            (there,) = await transaction.get(key)
            if there is not None:
                raise AlreadyExists("Alias", f"alias '{new.alias_name}' already exists in service '{service}'")
            await _check(transaction, service, new)
            _write(transaction, service, new)
            transaction.enlist(keys.aliases(service), new.alias_name)
            return new

        return await self._change(plan)

    async def get_alias(self, service: str, name: str) -> Alias:
        return await find_alias(self._store, service, name)

    async def update_alias(self, service: str, alias: Alias, *, based_on: Alias | None = None) -> Alias:
        async def plan(transaction: Transaction) -> Alias:
            stored = await find_alias(transaction, service, alias.alias_name)
            check_unchanged(f"alias '{alias.alias_name}'", stored, based_on)
            new = self._stamped(alias, stored)
            await _check(transaction, service, new)
            _write(transaction, service, new)
            if new.version_id != stored.version_id:
                moved = {new.alias_name: new.version_id}
                await self._reroute(transaction, service, {stored.version_id, new.version_id}, moved)
            return new

        return await self._change(plan)

    async def delete_alias(self, service: str, name: str, *, based_on: Alias | None = None) -> None:
        """What is provisioned and set by it goes with it."""

        async def plan(transaction: Transaction) -> None:
            stored = await find_alias(transaction, service, name)
            check_unchanged(f"alias '{name}'", stored, based_on)
            await self._reroute(transaction, service, {stored.version_id}, {name: ""})
            await drop_alias(transaction, service, name)

        await self._change(plan)

    async def list_aliases(self, service: str, query: Query) -> Page[Alias]:
        await find_service(self._store, service)
        return await self._page(
            keys.aliases(service),
            query,
            lambda name: keys.alias(service, name),
            lambda _, record: Alias.model_validate_json(record),
        )

    async def _reroute(
        self, transaction: Transaction, service: str, versions: set[str], moved: Mapping[str, str]
    ) -> None:
        """Routes say how many on-demand instances a version may have, and an alias that moves takes its word along."""
        for function in await functions_with_on_demand(transaction, service, next(iter(moved))):
            for version in sorted(versions):
                found = await find_with_service(transaction, service, version, function)
                if found is None:
                    continue
                on_demand_max = await find_on_demand_max(transaction, service, version, function, moved=moved)
                self._write_function_route(transaction, found[0], version, found[1], on_demand_max)


def _write(transaction: Transaction, service: str, alias: Alias) -> None:
    transaction.put(keys.alias(service, alias.alias_name), dump(alias))
    transaction.route(alias_field(service, alias.alias_name), alias_route(service, alias).to_json())


async def _check(transaction: Transaction, service: str, alias: Alias) -> None:
    """Its versions exist, and the shares of the additional ones leave none or some for the main one."""
    if alias.alias_name == LATEST:
        raise InvalidArgument(f"aliasName is {LATEST!r}: that name stands for the unpublished state")
    await find_version(transaction, service, alias.version_id)
    _check_rules(alias)
    weights = alias.additional_version_weight or {}
    for version_id in weights:
        if version_id == alias.version_id:
            raise InvalidArgument(f"additionalVersionWeight.{version_id}: must be another version than versionId")
        await find_version(transaction, service, version_id)
    total = sum(weights.values())
    if total > 1.0 + 1e-9:  # shares such as 0.1 and 0.9 need not sum to 1 exactly
        raise InvalidArgument(f"additionalVersionWeight sums to {total:g}: must be at most 1")


def _check_rules(alias: Alias) -> None:
    """By resolvePolicy Content the routePolicy says which requests go to the additional version: both must be there."""
    if alias.resolve_policy not in (None, "", RANDOM, CONTENT):
        raise InvalidArgument(f"resolvePolicy is {alias.resolve_policy!r}: must be {RANDOM} or {CONTENT}")
    if alias.resolve_policy != CONTENT:
        return
    if not alias.additional_version_weight:
        raise InvalidArgument(f"additionalVersionWeight is empty: with resolvePolicy {CONTENT} it names where to go")
    if not alias.route_policy:
        raise InvalidArgument(f"routePolicy is missing: with resolvePolicy {CONTENT} it says which requests go there")
    try:
        parse_rules(alias.route_policy)
    except ValueError as error:
        raise InvalidArgument(str(error)) from error
