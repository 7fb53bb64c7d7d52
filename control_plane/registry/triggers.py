"""HTTP triggers of a function: at most one for each qualifier."""

from __future__ import annotations

from control_plane.errors import AlreadyExists
from control_plane.listing import Page, Query
from control_plane.model import Trigger
from control_plane.registry import keys
from control_plane.registry.base import (
    RegistryBase,
    check_unchanged,
    dump,
    find_function,
    find_trigger,
    find_version_id,
)
from control_plane.registry.routes import subdomain, trigger_route
from control_plane.registry.transaction import Transaction
from runtime.contract import LATEST, trigger_field


class Triggers(RegistryBase):
    async def create_trigger(self, service: str, function: str, trigger: Trigger) -> Trigger:
        name = trigger.trigger_name
        label = subdomain(self._account_id, service, function, name)
        new = self._stamped(trigger, trigger_id=self._new_id(), subdomain=label)

        async def plan(transaction: Transaction) -> Trigger:
            await find_function(transaction, service, function)
            (there,) = await transaction.get(keys.trigger(service, function, name))
            if there is not None:
                raise AlreadyExists("Trigger", f"trigger '{name}' already exists in function '{function}'")
            await _check(transaction, service, function, new)
            _write(transaction, service, function, new)
            transaction.enlist(keys.triggers(service, function), name)
            return new

        return await self._change(plan)

    async def get_trigger(self, service: str, function: str, name: str) -> Trigger:
        return await find_trigger(self._store, service, function, name)

    async def update_trigger(
        self, service: str, function: str, trigger: Trigger, *, based_on: Trigger | None = None
    ) -> Trigger:
        name = trigger.trigger_name

        async def plan(transaction: Transaction) -> Trigger:
            stored = await find_trigger(transaction, service, function, name)
            check_unchanged(f"trigger '{name}'", stored, based_on)
            new = self._stamped(trigger, stored, trigger_id=stored.trigger_id, subdomain=stored.subdomain)
            if (new.qualifier or LATEST) != (stored.qualifier or LATEST):  # an alias that went since is no reason
                await _check(transaction, service, function, new)
            _write(transaction, service, function, new)
            return new

        return await self._change(plan)

    async def delete_trigger(self, service: str, function: str, name: str, *, based_on: Trigger | None = None) -> None:
        async def plan(transaction: Transaction) -> None:
            check_unchanged(f"trigger '{name}'", await find_trigger(transaction, service, function, name), based_on)
            transaction.remove(keys.trigger(service, function, name))
            transaction.strike(keys.triggers(service, function), name)
            transaction.route(trigger_field(service, function, name), None)

        await self._change(plan)

    async def list_triggers(self, service: str, function: str, query: Query) -> Page[Trigger]:
        await find_function(self._store, service, function)
        return await self._page(
            keys.triggers(service, function),
            query,
            lambda name: keys.trigger(service, function, name),
            lambda _, record: Trigger.model_validate_json(record),
        )


def _write(transaction: Transaction, service: str, function: str, trigger: Trigger) -> None:
    transaction.put(keys.trigger(service, function, trigger.trigger_name), dump(trigger))
    route = trigger_route(service, function, trigger)
    transaction.route(trigger_field(service, function, trigger.trigger_name), route.to_json())


async def _check(transaction: Transaction, service: str, function: str, trigger: Trigger) -> None:
    """Its qualifier exists, and no other trigger of the function has it: a request must find one of them."""
    qualifier = trigger.qualifier or LATEST
    await find_version_id(transaction, service, qualifier)
    names = await transaction.names(keys.triggers(service, function))
    for record in await transaction.get(*(keys.trigger(service, function, name) for name in names)):
        other = Trigger.model_validate_json(record) if record is not None else trigger
        if other.trigger_name != trigger.trigger_name and (other.qualifier or LATEST) == qualifier:
            raise AlreadyExists(
                "Trigger",
                f"function '{function}' has the http trigger '{other.trigger_name}' for qualifier '{qualifier}': "
                "there can be one for each qualifier",
            )
