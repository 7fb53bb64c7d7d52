"""Access keys: create, list, enable, disable, remove. Their secrets are sealed before they reach the store."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from control_plane.errors import AlreadyExists, InvalidArgument, NotFound, PlatformError
from control_plane.listing import Page, Query
from control_plane.ports import NewAccessKey
from control_plane.registry import keys
from control_plane.registry.base import span
from control_plane.registry.transaction import Reader, Store, Transaction
from runtime.access.local import LocalKey
from runtime.access.records import AccessKey, KeyRecord, key_field, seal, unsealed
from runtime.access.sealing import Box, SealBroken

ID_PREFIX: Final = "LTAI"  # as Alibaba Cloud's begin, which some tools look at


def new_key_id() -> str:
    return ID_PREFIX + secrets.token_hex(8)


def new_secret() -> str:
    return secrets.token_urlsafe(30)


class StoredAccessKeys:
    """Fills `ports.AccessKeys` over any store. `local` is this machine's own key, which is no record in the store."""

    def __init__(
        self, store: Store, box: Box, local: LocalKey | None = None, utc_s: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._box = box
        self._local = local
        self._utc_s = utc_s

    async def find(self, access_key_id: str) -> AccessKey | None:
        local = self._local.find(access_key_id) if self._local is not None else None
        if local is not None:
            return local
        (stored,) = await self._store.get(keys.access_key(access_key_id))
        if stored is None:
            return None
        try:
            return unsealed(self._box, KeyRecord.from_json(stored))
        except (SealBroken, ValueError, TypeError) as error:
            raise PlatformError(f"access key '{access_key_id}' cannot be read: {error}") from error

    async def create(self, new: NewAccessKey) -> tuple[KeyRecord, str, str]:
        key_id, secret = new_key_id(), new_secret()
        token = secrets.token_urlsafe(48) if new.with_token else ""
        record = KeyRecord(
            access_key_id=key_id,
            sealed=seal(self._box, key_id, secret, token),
            role=new.role.value,
            services=list(new.services),
            description=new.description,
            created_time=datetime.fromtimestamp(self._utc_s(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )

        async def plan(transaction: Transaction) -> None:
            (there,) = await transaction.get(keys.access_key(key_id))
            if there is not None:
                raise AlreadyExists("AccessKey", f"access key '{key_id}' already exists")
            _write(transaction, record)
            transaction.enlist(keys.ACCESS_KEYS, key_id)

        await self._store.change(plan)
        return record, secret, token

    async def list(self, query: Query) -> Page[KeyRecord]:
        names = await self._store.names(keys.ACCESS_KEYS, span(query))
        shown = names[: query.limit]
        found = await self._store.get(*map(keys.access_key, shown))
        records = tuple(KeyRecord.from_json(each) for each in found if each is not None)
        return Page(records, names[query.limit] if len(names) > query.limit else "")

    async def set_enabled(self, access_key_id: str, *, enabled: bool) -> KeyRecord:
        self._check_not_local(access_key_id)

        async def plan(transaction: Transaction) -> KeyRecord:
            record = dataclasses.replace(await _stored(transaction, access_key_id), enabled=enabled)
            _write(transaction, record)
            return record

        return await self._store.change(plan)

    async def remove(self, access_key_id: str) -> None:
        self._check_not_local(access_key_id)

        async def plan(transaction: Transaction) -> None:
            await _stored(transaction, access_key_id)
            transaction.remove(keys.access_key(access_key_id))
            transaction.strike(keys.ACCESS_KEYS, access_key_id)
            transaction.route(key_field(access_key_id), None)

        await self._store.change(plan)

    def _check_not_local(self, access_key_id: str) -> None:
        if self._local is not None and self._local.find(access_key_id) is not None:
            raise InvalidArgument(
                f"access key '{access_key_id}' is this machine's own: it is changed in DATA/credentials.json, not here"
            )


def _write(transaction: Transaction, record: KeyRecord) -> None:
    text = record.to_json()
    transaction.put(keys.access_key(record.access_key_id), text)
    transaction.route(key_field(record.access_key_id), text)


async def _stored(reader: Reader, access_key_id: str) -> KeyRecord:
    (stored,) = await reader.get(keys.access_key(access_key_id))
    if stored is None:
        raise NotFound("AccessKey", f"access key '{access_key_id}' does not exist")
    return KeyRecord.from_json(stored)
