"""What is set for a function by a qualifier beside its provision config: one small JSON record of each kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from control_plane.errors import InvalidArgument
from control_plane.listing import Page, Query
from control_plane.model import Alias, QualifiedFunction, Setting
from control_plane.registry import keys
from control_plane.registry.async_routes import async_route
from control_plane.registry.base import (
    AFTER_ALL,
    RegistryBase,
    find_function,
    find_version_id,
    find_with_service,
    is_version,
)
from control_plane.registry.transaction import Reader, Span, Transaction
from runtime.contract import LATEST, async_field

# An asynchronous invocation may name a version; instances are limited and kept warm by LATEST or an alias alone.
_BY_VERSION: Final = frozenset({Setting.ASYNC_INVOKE})


class Settings(RegistryBase):
    async def put_setting(self, kind: Setting, target: QualifiedFunction, values: dict[str, Any]) -> dict[str, Any]:
        if is_version(target.qualifier) and kind not in _BY_VERSION:
            raise InvalidArgument(f"qualifier is '{target.qualifier}': must be {LATEST} or an alias")
        name = _name(target)
        route = async_route(target, values).to_json() if kind is Setting.ASYNC_INVOKE else None

        async def plan(transaction: Transaction) -> dict[str, Any]:
            version = await find_version_id(transaction, target.service_name, target.qualifier)
            await find_function(transaction, target.service_name, target.function_name, version)
            (record,) = await transaction.get(keys.setting(kind, name))
            now = self._now()
            created = now if record is None else json.loads(record)["createdTime"]
            new = {**values, "createdTime": created, "lastModifiedTime": now}
            transaction.put(keys.setting(kind, name), json.dumps(new))
            transaction.enlist(keys.settings(kind), name)
            if route is not None:
                transaction.route(_async_field(name), route)
            if kind is Setting.ON_DEMAND:
                await self._route_on_demand(transaction, target, version, values["maximumInstanceCount"])
            return new

        return await self._change(plan)

    async def get_setting(self, kind: Setting, target: QualifiedFunction) -> dict[str, Any] | None:
        (record,) = await self._store.get(keys.setting(kind, _name(target)))
        return None if record is None else _loaded(record)

    async def delete_setting(self, kind: Setting, target: QualifiedFunction) -> None:
        name = _name(target)

        async def plan(transaction: Transaction) -> None:
            (record,) = await transaction.get(keys.setting(kind, name))
            if record is None:
                return
            _drop(transaction, kind, name)
            if kind is Setting.ON_DEMAND:
                version = await find_version_id(transaction, target.service_name, target.qualifier)
                await self._route_on_demand(transaction, target, version, None)

        await self._change(plan)

    async def list_settings(
        self, kind: Setting, query: Query, service: str = ""
    ) -> Page[tuple[QualifiedFunction, dict[str, Any]]]:
        return await self._page(
            keys.settings(kind),
            query,
            lambda name: keys.setting(kind, name),
            lambda name, record: (_target(name), _loaded(record)),
            prefix=f"{service}/" if service else "",
        )

    async def on_demand_max(self, service: str, version: str, function: str) -> int | None:
        return await find_on_demand_max(self._store, service, version, function)

    async def _route_on_demand(
        self, transaction: Transaction, target: QualifiedFunction, version: str, maximum: int | None
    ) -> None:
        service, function = target.service_name, target.function_name
        found = await find_with_service(transaction, service, version, function)
        if found is None:
            return  # its function went before it: no route to change
        on_demand_max = await find_on_demand_max(
            transaction, service, version, function, changed={target.qualifier: maximum}
        )
        self._write_function_route(transaction, found[0], version, found[1], on_demand_max)


async def find_on_demand_max(
    reader: Reader,
    service: str,
    version: str,
    function: str,
    *,
    changed: Mapping[str, int | None] | None = None,
    moved: Mapping[str, str] | None = None,
) -> int | None:
    """The least that the on-demand configs of this version's qualifiers allow. `changed` (by qualifier) and `moved`
    (alias to version, "" = gone) are what the caller is writing, which its reads do not show."""
    said: dict[str, int | None] = {}
    for name in await _on_demand_names(reader, service):
        _, qualifier, of = name.split("/")
        (record,) = await reader.get(keys.setting(Setting.ON_DEMAND, name)) if of == function else (None,)
        if record is not None:
            said[qualifier] = _loaded(record)["maximumInstanceCount"]
    said |= changed or {}
    counts = []
    for qualifier, count in said.items():
        if count is not None and await _main_version(reader, service, qualifier, moved or {}) == version:
            counts.append(count)
    return min(counts, default=None)


async def functions_with_on_demand(reader: Reader, service: str, qualifier: str) -> list[str]:
    return [name.split("/")[2] for name in await _on_demand_names(reader, service) if name.split("/")[1] == qualifier]


def drop_settings(transaction: Transaction, name: str) -> None:
    """All that is set by one qualifier of one function, which is going away."""
    for kind in Setting:
        _drop(transaction, kind, name)


async def drop_settings_of(transaction: Transaction, service: str, qualifier: str) -> None:
    """All that is set by a qualifier that is going away."""
    first = keys.provision_name(service, qualifier, "")
    for kind in Setting:
        for name in await transaction.names(keys.settings(kind), Span(first, first + AFTER_ALL)):
            _drop(transaction, kind, name)


def _drop(transaction: Transaction, kind: Setting, name: str) -> None:
    transaction.remove(keys.setting(kind, name))
    transaction.strike(keys.settings(kind), name)
    if kind is Setting.ASYNC_INVOKE:
        transaction.route(_async_field(name), None)


async def _on_demand_names(reader: Reader, service: str) -> list[str]:
    first = f"{service}/"
    return await reader.names(keys.settings(Setting.ON_DEMAND), Span(first, first + AFTER_ALL))


async def _main_version(reader: Reader, service: str, qualifier: str, moved: Mapping[str, str]) -> str:
    if qualifier == LATEST:
        return LATEST
    if qualifier in moved:
        return moved[qualifier]
    (record,) = await reader.get(keys.alias(service, qualifier))
    return "" if record is None else Alias.model_validate_json(record).version_id


def _loaded(record: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(record)
    return values


def _async_field(name: str) -> str:
    return async_field(*name.split("/"))


def _name(target: QualifiedFunction) -> str:
    return keys.provision_name(target.service_name, target.qualifier, target.function_name)


def _target(name: str) -> QualifiedFunction:
    service, qualifier, function = name.split("/")
    return QualifiedFunction(service_name=service, qualifier=qualifier, function_name=function)
