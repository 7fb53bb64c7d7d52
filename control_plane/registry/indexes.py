"""Indexes that were added after there were stores: built once from the records, when a control plane starts."""

from __future__ import annotations

import logging
from typing import Final

from control_plane.registry import keys
from control_plane.registry.base import RegistryBase
from control_plane.registry.transaction import Transaction
from runtime.contract import LATEST

log = logging.getLogger(__name__)

# Counts up whenever an index is added that the records of older stores are missing from.
INDEX_VERSION: Final = 1


class Indexes(RegistryBase):
    async def build_indexes(self) -> bool:
        """Put every function into the index of FC 3.0's names; True if that was still to do.

        All of it and the marker that says so are one transaction: a crash leaves nothing half built, and a second
        call, or another control plane's, finds the marker and does nothing.
        """

        async def plan(transaction: Transaction) -> int:
            (marker,) = await transaction.get(keys.INDEX_VERSION)
            if int(marker or "0") >= INDEX_VERSION:
                return -1
            count = 0
            for service in await transaction.names(keys.SERVICES):
                for name in await transaction.names(keys.functions(service, LATEST)):
                    transaction.enlist(keys.FC3_FUNCTIONS, keys.fc3_name(service, name))
                    count += 1
            transaction.put(keys.INDEX_VERSION, str(INDEX_VERSION))
            return count

        count = await self._store.change(plan)  # nobody needs to hear of it: no record has changed
        if count > 0:
            log.info("registry.indexed functions=%d version=%d", count, INDEX_VERSION)
        return count >= 0
