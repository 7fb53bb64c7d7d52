"""Functions that have a service to themselves, as FC 3.0 has them: both come, change and go in one transaction."""

from __future__ import annotations

from collections.abc import Callable

from control_plane.errors import NotEmpty
from control_plane.model import Function, Service
from control_plane.registry import keys
from control_plane.registry.base import check_unchanged, dump, find_function
from control_plane.registry.dropping import drop_alias, drop_function, drop_service, drop_version
from control_plane.registry.functions import Functions
from control_plane.registry.services import Services
from control_plane.registry.transaction import Span, Transaction
from runtime.contract import LATEST

ChangeService = Callable[[Service | None], Service]


class OwnServices(Services, Functions):
    async def create_function_with_service(self, function: Function, change: ChangeService) -> Function:
        new = self._stamped(function, function_id=self._new_id())

        async def plan(transaction: Transaction) -> Function:
            owner = await self._changed_service(transaction, new.service_name, change)
            await self._add_function(transaction, new, owner)
            return new

        return await self._change(plan)

    async def update_function_with_service(
        self, function: Function, change: ChangeService, *, based_on: Function | None = None
    ) -> Function:
        async def plan(transaction: Transaction) -> Function:
            await find_function(transaction, function.service_name, function.function_name)
            owner = await self._changed_service(transaction, function.service_name, change)
            # Last: the routes that the service's change writes have the function as it was.
            return await self._rewrite_function(transaction, function, owner, based_on)

        return await self._change(plan)

    async def delete_function_with_service(self, service: str, name: str, *, based_on: Function | None = None) -> None:
        async def plan(transaction: Transaction) -> None:
            check_unchanged(f"function '{name}'", await find_function(transaction, service, name), based_on)
            if await transaction.names(keys.triggers(service, name), Span(limit=1)):
                raise NotEmpty("Function", f"function '{name}' has active triggers")
            drop_function(transaction, service, name)
            if await transaction.names(keys.functions(service, LATEST)) != [name]:
                return  # the service is others' as well
            for alias in await transaction.names(keys.aliases(service)):
                await drop_alias(transaction, service, alias)
            for member in await transaction.names(keys.versions(service)):
                await drop_version(transaction, service, keys.version_id(member))
            drop_service(transaction, service)

        await self._change(plan)

    async def _changed_service(self, transaction: Transaction, name: str, change: ChangeService) -> Service:
        (record,) = await transaction.get(keys.service(name, LATEST))
        stored = None if record is None else Service.model_validate_json(record)
        changed = change(stored)
        if stored is None:
            new = self._stamped(changed, service_id=self._new_id())
            transaction.put(keys.service(name, LATEST), dump(new))
            transaction.enlist(keys.SERVICES, name)
            return new
        if changed == stored:
            return stored
        new = self._stamped(changed, stored, service_id=stored.service_id)
        await self._rewrite_service(transaction, new, stored)
        return new
