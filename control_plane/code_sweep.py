"""Code that nobody needs any more: looked for now and then, and taken away when it was not needed for an hour.

Needed is the code of each version of each function, and that of each instance that a node knows, as one of an older
revision may still finish what it has.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Protocol

from control_plane.environments import code_in_use
from control_plane.errors import StokeError
from control_plane.ports import Clock, Registry

log = logging.getLogger(__name__)


class SweptCode(Protocol):
    async def sweep(self, needed: Collection[str], now_s: float) -> Sequence[str]:
        """As `code_store.FolderCodeStore` has it."""


class CodeOfInstances(Protocol):
    async def code(self) -> Collection[str]:
        """The SHA-256 of the code of each instance that is known. Raises Unavailable."""


async def sweep_for_ever(
    registry: Registry, code: SweptCode, instances: CodeOfInstances | None, clock: Clock, every_s: float
) -> None:
    """`instances` None: none of them reads the folder."""
    while True:
        await clock.sleep(every_s)
        try:
            needed = await code_in_use(registry)
            if not needed:
                continue  # a store without a single function is more likely the wrong one than all code is waste
            if instances is not None:
                needed.update(await instances.code())
        except StokeError as error:  # the store or the node is away: what is known of use may not be all
            log.warning("code.not_swept error=%s", error)
            continue
        removed = await code.sweep(needed, clock.monotonic_s())
        if removed:
            log.info("code.swept count=%d first=%s", len(removed), removed[0][:16])
