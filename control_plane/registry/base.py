"""What the resources of the registry have in common: finding records, paging, stamping times, telling listeners."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, TypeVar

from control_plane.errors import ConcurrentUpdate, NotFound
from control_plane.listing import Page, Query
from control_plane.model import Alias, Function, Noun, Service, Trigger, Version
from control_plane.ports import RegistryListener
from control_plane.registry import keys, routes
from control_plane.registry.transaction import Reader, Span, Store, Transaction
from runtime.contract import LATEST, function_field

T = TypeVar("T")
N = TypeVar("N", bound=Noun)

REGION: Final = "cn-local"
ACCOUNT_ID: Final = "1000000000000000"
AFTER_ALL: Final = "\U0010ffff"  # sorts behind every character that a name may have


def new_id() -> str:
    return secrets.token_hex(16)


class RegistryBase:
    """The store, and what every resource does with it. The resources' classes are put together in `registry.py`."""

    def __init__(
        self,
        store: Store,
        *,
        region: str = REGION,
        account_id: str = ACCOUNT_ID,
        utc_s: Callable[[], float] = time.time,
        new_id: Callable[[], str] = new_id,
    ) -> None:
        self._store = store
        self._region = region
        self._account_id = account_id
        self._utc_s = utc_s
        self._new_id = new_id
        self._listeners: list[RegistryListener] = []

    def subscribe(self, listener: RegistryListener) -> None:
        self._listeners.append(listener)

    async def resolve_version(self, service: str, qualifier: str) -> str:
        return await find_version_id(self._store, service, qualifier)

    async def _change(self, plan: Callable[[Transaction], Awaitable[T]]) -> T:
        services: set[str] = set()

        async def noted(transaction: Transaction) -> T:
            result = await plan(transaction)
            services.clear()  # of an attempt that was outrun
            services.update(keys.services_of(transaction.writes.records))
            return result

        result = await self._store.change(noted)
        for listener in self._listeners:
            told = listener(frozenset(services))
            if told is not None:
                await told
        return result

    def _now(self) -> str:
        return datetime.fromtimestamp(self._utc_s(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _stamped(self, noun: N, stored: N | None = None, **values: str) -> N:
        """`noun` with its times: the creation time of the stored record, if there is one."""
        now = self._now()
        created = now if stored is None else getattr(stored, "created_time", now)
        return noun.model_copy(update={"created_time": created, "last_modified_time": now, **values})

    def _write_function_route(
        self, transaction: Transaction, function: Function, version: str, of: Service, on_demand_max: int | None = None
    ) -> None:
        """`on_demand_max`: what on-demand configs say of this version; None where there is none."""
        route = routes.function_route(
            function,
            version,
            of,
            region=self._region,
            account_id=self._account_id,
            on_demand_max=on_demand_max,
        )
        transaction.route(function_field(function.service_name, version, function.function_name), route.to_json())

    async def _page(
        self, index: str, query: Query, key: Callable[[str], str], load: Callable[[str, str], T], *, prefix: str = ""
    ) -> Page[T]:
        """The records named in `index`; `load` gets each name with its JSON."""
        names = await self._store.names(index, span(query, prefix))
        return await self._page_of(names, query.limit, key, load)

    async def _page_of(
        self, names: list[str], limit: int, key: Callable[[str], str], load: Callable[[str, str], T]
    ) -> Page[T]:
        """`names` has one more than `limit` if there is another page, which begins with it."""
        shown = names[:limit]
        records = await self._store.get(*map(key, shown))
        # A record that went away between the two reads is left out, as if it had gone before.
        items = tuple(load(name, record) for name, record in zip(shown, records, strict=True) if record is not None)
        return Page(items, names[limit] if len(names) > limit else "")


def span(query: Query, prefix: str = "") -> Span:
    """The names that a page may show, and one more to know whether there is another page."""
    prefix = prefix + query.prefix
    low = max(prefix, query.start_key, query.next_token)
    return Span(low, prefix + AFTER_ALL if prefix else "", query.limit + 1)


def dump(noun: Noun) -> str:
    return noun.model_dump_json(by_alias=True)


def check_unchanged(what: str, stored: Noun, based_on: Noun | None) -> None:
    if based_on is not None and stored != based_on:
        raise ConcurrentUpdate(f"{what} has changed since it was read: read it again")


# -- finding: the record, or NotFound with FC's message ---------------------------------------------------------------


async def find_service(reader: Reader, name: str, version: str = LATEST) -> Service:
    latest, record = await reader.get(keys.service(name, LATEST), keys.service(name, version))
    if latest is None:
        raise NotFound("Service", f"service '{name}' does not exist")
    if record is None:
        raise no_version(name, version)
    return Service.model_validate_json(record)


async def find_with_service(reader: Reader, service: str, version: str, name: str) -> tuple[Function, Service] | None:
    """A function version with its service as it was then; None if either is gone."""
    owner, record = await reader.get(keys.service(service, version), keys.function(service, version, name))
    if owner is None or record is None:
        return None
    return Function.model_validate_json(record), Service.model_validate_json(owner)


async def find_function(reader: Reader, service: str, name: str, version: str = LATEST) -> Function:
    owner, record = await reader.get(keys.service(service, version), keys.function(service, version, name))
    if record is not None:
        return Function.model_validate_json(record)
    if owner is None:
        await find_service(reader, service, version)
    where = "" if version == LATEST else f", version {version}"
    raise NotFound("Function", f"function '{name}' does not exist in service '{service}'{where}")


async def find_version(reader: Reader, service: str, version_id: str) -> Version:
    (record,) = await reader.get(keys.version(service, version_id))
    if record is None:
        await find_service(reader, service)
        raise no_version(service, version_id)
    return Version.model_validate_json(record)


async def find_alias(reader: Reader, service: str, name: str) -> Alias:
    (record,) = await reader.get(keys.alias(service, name))
    if record is None:
        await find_service(reader, service)
        raise NotFound("Alias", f"alias '{name}' does not exist in service '{service}'")
    return Alias.model_validate_json(record)


async def find_trigger(reader: Reader, service: str, function: str, name: str) -> Trigger:
    (record,) = await reader.get(keys.trigger(service, function, name))
    if record is None:
        await find_function(reader, service, function)
        raise NotFound("Trigger", f"trigger '{name}' does not exist in function '{function}' of service '{service}'")
    return Trigger.model_validate_json(record)


async def find_version_id(reader: Reader, service: str, qualifier: str) -> str:
    """LATEST, a version or an alias → LATEST or a version id."""
    if qualifier == LATEST:
        await find_service(reader, service)
        return LATEST
    if is_version(qualifier):
        return (await find_version(reader, service, qualifier)).version_id
    return (await find_alias(reader, service, qualifier)).version_id


def is_version(qualifier: str) -> bool:
    """A bare version number; aliases begin with a letter."""
    return qualifier.isdecimal()


def no_version(service: str, version_id: str) -> NotFound:
    return NotFound("Version", f"version '{version_id}' does not exist in service '{service}'")
