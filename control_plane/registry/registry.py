"""What users asked for, kept in a store: the resources put together, and the registry over Redis."""

from __future__ import annotations

import time
from collections.abc import Callable

from redis.asyncio import Redis

from control_plane.registry.aliases import Aliases
from control_plane.registry.base import ACCOUNT_ID, REGION, new_id
from control_plane.registry.domains import Domains
from control_plane.registry.indexes import Indexes
from control_plane.registry.own_services import OwnServices
from control_plane.registry.provisions import Provisions
from control_plane.registry.redis_store import RedisStore
from control_plane.registry.settings import Settings
from control_plane.registry.triggers import Triggers
from control_plane.registry.versions import Versions


class StoredRegistry(OwnServices, Versions, Aliases, Triggers, Provisions, Settings, Domains, Indexes):
    """Fills `ports.Registry` over any store."""


class RedisRegistry(StoredRegistry):
    """Fills `ports.Registry` in Redis or Valkey. The client is the caller's to close."""

    def __init__(
        self,
        redis: Redis,
        *,
        region: str = REGION,
        account_id: str = ACCOUNT_ID,
        utc_s: Callable[[], float] = time.time,
        new_id: Callable[[], str] = new_id,
    ) -> None:
        super().__init__(RedisStore(redis), region=region, account_id=account_id, utc_s=utc_s, new_id=new_id)
