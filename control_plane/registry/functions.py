"""Functions of a service: create, read, change, delete."""

from __future__ import annotations

from typing import Any

from control_plane.errors import AlreadyExists, NotEmpty
from control_plane.listing import Page, Query
from control_plane.model import Function, Service
from control_plane.registry import keys
from control_plane.registry.base import (
    RegistryBase,
    check_unchanged,
    dump,
    find_function,
    find_service,
    find_version_id,
    find_with_service,
)
from control_plane.registry.dropping import drop_function
from control_plane.registry.settings import find_on_demand_max
from control_plane.registry.transaction import Span, Transaction
from runtime.contract import LATEST


class Functions(RegistryBase):
    async def create_function(self, function: Function) -> Function:
        new = self._stamped(function, function_id=self._new_id())

        async def plan(transaction: Transaction) -> Function:
            owner = await find_service(transaction, new.service_name)
            await self._add_function(transaction, new, owner)
            return new

        return await self._change(plan)

    async def _add_function(self, transaction: Transaction, new: Function, owner: Service) -> None:
        service, name = new.service_name, new.function_name
        (there,) = await transaction.get(keys.function(service, LATEST, name))
        if there is not None:
            raise AlreadyExists("Function", f"function '{name}' already exists in service '{service}'")
        transaction.put(keys.function(service, LATEST, name), dump(new))
        transaction.enlist(keys.functions(service, LATEST), name)
        transaction.enlist(keys.FC3_FUNCTIONS, keys.fc3_name(service, name))
        self._write_function_route(transaction, new, LATEST, owner)

    async def get_function(self, service: str, name: str, qualifier: str = LATEST) -> Function:
        version = LATEST if qualifier == LATEST else await find_version_id(self._store, service, qualifier)
        return await find_function(self._store, service, name, version)

    async def update_function(self, function: Function, *, based_on: Function | None = None) -> Function:
        async def plan(transaction: Transaction) -> Function:
            owner = await find_service(transaction, function.service_name)
            return await self._rewrite_function(transaction, function, owner, based_on)

        return await self._change(plan)

    async def _rewrite_function(
        self, transaction: Transaction, function: Function, owner: Service, based_on: Function | None
    ) -> Function:
        service, name = function.service_name, function.function_name
        stored = await find_function(transaction, service, name)
        check_unchanged(f"function '{name}'", stored, based_on)
        new = self._stamped(function, stored, function_id=stored.function_id)
        transaction.put(keys.function(service, LATEST, name), dump(new))
        on_demand_max = await find_on_demand_max(transaction, service, LATEST, name)
        self._write_function_route(transaction, new, LATEST, owner, on_demand_max)
        return new

    async def restrict_function(self, service: str, name: str, restriction: dict[str, Any] | None) -> Function:
        """Open it (None) or close it to requests, in all its versions: they keep the record as LATEST has it."""

        async def plan(transaction: Transaction) -> Function:
            stored = await find_function(transaction, service, name)
            members = await transaction.names(keys.versions(service))
            for version in (LATEST, *map(keys.version_id, members)):
                found = await find_with_service(transaction, service, version, name)
                if found is None:
                    continue
                function, owner = found
                new = function.model_copy(update={"invocation_restriction": restriction})
                transaction.put(keys.function(service, version, name), dump(new))
                on_demand_max = await find_on_demand_max(transaction, service, version, name)
                self._write_function_route(transaction, new, version, owner, on_demand_max)
            return stored.model_copy(update={"invocation_restriction": restriction})

        return await self._change(plan)

    async def delete_function(self, service: str, name: str, *, based_on: Function | None = None) -> None:
        """Its provision config and its settings for LATEST go with it; published versions keep their snapshot, and
        what is provisioned by an alias of theirs stays until the alias goes."""

        async def plan(transaction: Transaction) -> None:
            check_unchanged(f"function '{name}'", await find_function(transaction, service, name), based_on)
            if await transaction.names(keys.triggers(service, name), Span(limit=1)):
                raise NotEmpty("Function", f"function '{name}' has active triggers")
            drop_function(transaction, service, name)

        await self._change(plan)

    async def list_functions(self, service: str, query: Query, qualifier: str = LATEST) -> Page[Function]:
        version = await find_version_id(self._store, service, qualifier)
        return await self._page(
            keys.functions(service, version),
            query,
            lambda name: keys.function(service, version, name),
            lambda _, record: Function.model_validate_json(record),
        )

    async def list_every_function(self, query: Query) -> Page[Function]:
        """The functions of all services, by their FC 3.0 names."""

        def key(name: str) -> str:
            service, function = keys.fc3_split(name)
            return keys.function(service, LATEST, function)

        return await self._page(keys.FC3_FUNCTIONS, query, key, lambda _, record: Function.model_validate_json(record))
