"""Functions that have a service to themselves, as FC 3.0 has them: both come and go in one transaction."""

from __future__ import annotations

from control_plane.errors import NotEmpty
from control_plane.model import Function
from control_plane.registry import keys
from control_plane.registry.base import RegistryBase, check_unchanged, find_function
from control_plane.registry.dropping import drop_alias, drop_function, drop_service, drop_version
from control_plane.registry.transaction import Span, Transaction
from runtime.contract import LATEST


class OwnServices(RegistryBase):
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
