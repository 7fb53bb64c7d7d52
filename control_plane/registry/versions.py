"""Versions of a service: a snapshot of it with all its functions, which nothing changes afterwards."""

from __future__ import annotations

from control_plane.errors import InUse
from control_plane.listing import Page, Query
from control_plane.model import Alias, Function, Service, Version
from control_plane.registry import keys
from control_plane.registry.base import RegistryBase, check_unchanged, dump, find_service, find_version
from control_plane.registry.dropping import drop_version
from control_plane.registry.transaction import Span, Transaction
from runtime.contract import LATEST


class Versions(RegistryBase):
    async def publish_version(
        self, service: str, description: str | None, *, based_on: Service | None = None
    ) -> Version:
        async def plan(transaction: Transaction) -> Version:
            snapshot = await find_service(transaction, service)
            check_unchanged(f"service '{service}'", snapshot, based_on)
            (last,) = await transaction.get(keys.version_counter(service))
            version_id = str(int(last or "0") + 1)
            new = self._stamped(Version(version_id=version_id, description=description))
            transaction.put(keys.version_counter(service), version_id)
            transaction.put(keys.version(service, version_id), dump(new))
            transaction.enlist(keys.versions(service), keys.version_member(version_id))
            transaction.put(keys.service(service, version_id), dump(snapshot))
            await self._copy_functions(transaction, snapshot, version_id)
            return new

        return await self._change(plan)

    async def delete_version(self, service: str, version_id: str) -> None:
        async def plan(transaction: Transaction) -> None:
            await find_version(transaction, service, version_id)
            await _check_no_alias_names(transaction, service, version_id)
            await drop_version(transaction, service, version_id)

        await self._change(plan)

    async def list_versions(self, service: str, query: Query, *, backward: bool = True) -> Page[Version]:
        """Newest first unless `backward` is False; `start_key` and `next_token` are version ids."""
        await find_service(self._store, service)
        members = await self._store.names(keys.versions(service), _span(query, backward=backward))
        page = await self._page_of(
            members,
            query.limit,
            lambda member: keys.version(service, keys.version_id(member)),
            lambda _, record: Version.model_validate_json(record),
        )
        return Page(page.items, keys.version_id(page.next_token))

    async def _copy_functions(self, transaction: Transaction, snapshot: Service, version_id: str) -> None:
        service = snapshot.service_name
        names = await transaction.names(keys.functions(service, LATEST))
        records = await transaction.get(*(keys.function(service, LATEST, name) for name in names))
        for name, record in zip(names, records, strict=True):
            if record is None:  # deleted between the two reads: the index has changed too, so this attempt fails
                continue
            transaction.put(keys.function(service, version_id, name), record)
            transaction.enlist(keys.functions(service, version_id), name)
            self._write_function_route(transaction, Function.model_validate_json(record), version_id, snapshot)


async def _check_no_alias_names(transaction: Transaction, service: str, version_id: str) -> None:
    names = await transaction.names(keys.aliases(service))
    for record in await transaction.get(*(keys.alias(service, name) for name in names)):
        if record is None:
            continue
        alias = Alias.model_validate_json(record)
        if version_id == alias.version_id or version_id in (alias.additional_version_weight or {}):
            user = f"alias '{alias.alias_name}'"
            raise InUse("Version", f"version '{version_id}' of service '{service}' is used by {user}")


def _span(query: Query, *, backward: bool) -> Span:
    """Ids in the order asked for, from the one named; a token is always nearer to the end than the start key."""
    start = query.next_token or query.start_key
    member = keys.version_member(start) if start else ""
    limit = query.limit + 1
    return Span(high=member, limit=limit, backward=True) if backward else Span(low=member, limit=limit)
