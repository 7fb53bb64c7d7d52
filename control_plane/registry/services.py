"""Services: create, read, change, delete."""

from __future__ import annotations

from collections.abc import Collection

from control_plane.errors import AlreadyExists, NotEmpty
from control_plane.listing import Page, Query
from control_plane.model import Function, Service
from control_plane.nas import given
from control_plane.registry import keys
from control_plane.registry.base import RegistryBase, check_unchanged, dump, find_service, find_version_id
from control_plane.registry.dropping import drop_service
from control_plane.registry.settings import find_on_demand_max
from control_plane.registry.transaction import Span, Transaction
from runtime.contract import LATEST


class Services(RegistryBase):
    async def create_service(self, service: Service) -> Service:
        new = self._stamped(service, service_id=self._new_id())
        key = keys.service(new.service_name, LATEST)

        async def plan(transaction: Transaction) -> Service:
            (there,) = await transaction.get(key)
            if there is not None:
                raise AlreadyExists("Service", f"service '{new.service_name}' already exists")
            transaction.put(key, dump(new))
            transaction.enlist(keys.SERVICES, new.service_name)
            return new

        return await self._change(plan)

    async def get_service(self, name: str, qualifier: str = LATEST) -> Service:
        version = LATEST if qualifier == LATEST else await find_version_id(self._store, name, qualifier)
        return await find_service(self._store, name, version)

    async def get_services(self, names: Collection[str]) -> dict[str, Service]:
        wanted = sorted(set(names))
        records = await self._store.get(*(keys.service(name, LATEST) for name in wanted))
        return {
            name: Service.model_validate_json(record)
            for name, record in zip(wanted, records, strict=True)
            if record is not None
        }

    async def update_service(self, service: Service, *, based_on: Service | None = None) -> Service:
        name = service.service_name

        async def plan(transaction: Transaction) -> Service:
            stored = await find_service(transaction, name)
            check_unchanged(f"service '{name}'", stored, based_on)
            new = self._stamped(service, stored, service_id=stored.service_id)
            await self._rewrite_service(transaction, new, stored)
            return new

        return await self._change(plan)

    async def delete_service(self, name: str, *, based_on: Service | None = None) -> None:
        async def plan(transaction: Transaction) -> None:
            check_unchanged(f"service '{name}'", await find_service(transaction, name), based_on)
            for what, index in (
                ("functions", keys.functions(name, LATEST)),
                ("versions", keys.versions(name)),
                ("aliases", keys.aliases(name)),
            ):
                if await transaction.names(index, Span(limit=1)):
                    raise NotEmpty("Service", f"service '{name}' has {what}: delete them first")
            drop_service(transaction, name)

        await self._change(plan)

    async def list_services(self, query: Query) -> Page[Service]:
        return await self._page(
            keys.SERVICES,
            query,
            lambda name: keys.service(name, LATEST),
            lambda _, record: Service.model_validate_json(record),
        )

    async def _rewrite_service(self, transaction: Transaction, new: Service, stored: Service) -> None:
        transaction.put(keys.service(new.service_name, LATEST), dump(new))
        # Instances are told of the one in headers, and have the other mounted, so routes tell when it changes.
        if new.log_config != stored.log_config or given(new) != given(stored):
            await self._write_function_routes(transaction, new)

    async def _write_function_routes(self, transaction: Transaction, service: Service) -> None:
        names = await transaction.names(keys.functions(service.service_name, LATEST))
        records = await transaction.get(*(keys.function(service.service_name, LATEST, name) for name in names))
        for record in records:
            if record is not None:
                function = Function.model_validate_json(record)
                on_demand_max = await find_on_demand_max(
                    transaction, service.service_name, LATEST, function.function_name
                )
                self._write_function_route(transaction, function, LATEST, service, on_demand_max)
