"""The environments of functions: asked for when one is deployed, shown while they are made, removed when nothing needs
them."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from typing import Final

from control_plane.errors import InvalidArgument, NotFound, StokeError
from control_plane.listing import Page, Query, all_items
from control_plane.model import Function, Version
from control_plane.ports import Clock, CodeEnvironments, Registry
from runtime.contract import LATEST
from runtime.node_contract import CodeEnvironment

log = logging.getLogger(__name__)

_KNOWN_MAX: Final = 10_000
_PAGE: Final = 100
_SETTLED: Final = ("none", "ready")


class EnvironmentBook:
    """What the API asks. Without a place that makes environments every function is taken to need none."""

    def __init__(self, made_by: CodeEnvironments | None = None, wait_s: float = 0.0) -> None:
        self._made_by = made_by
        self._wait_s = wait_s
        self._known: dict[str, CodeEnvironment] = {}

    async def prepare(self, code_sha256: str) -> CodeEnvironment:
        """Have the environment of this code made; returns when it is, or when that takes longer than a client waits.

        A node that is away does not refuse a deployment: the environment is made at the first launch.

        Raises:
            InvalidArgument: it cannot be made; the installer's words.
        """
        seen = await self._look(code_sha256, build=True, wait_s=self._wait_s)
        if seen.state == "failed":
            raise InvalidArgument(f"code has a requirements.txt that cannot be installed: {seen.reason}")
        return seen

    async def of(self, function: Function, wait_s: float = 0.0) -> CodeEnvironment:
        """As it is now."""
        if not needs_one(function):
            return CodeEnvironment(function.code_sha256, "none")
        known = self._known.get(function.code_sha256)
        return known or await self._look(function.code_sha256, build=False, wait_s=wait_s)

    async def look(self, code_sha256: str, wait_s: float) -> CodeEnvironment:
        """As it is now, or has become within `wait_s`."""
        return await self._look(code_sha256, build=False, wait_s=wait_s)

    async def _look(self, code_sha256: str, *, build: bool, wait_s: float) -> CodeEnvironment:
        if self._made_by is None:
            return CodeEnvironment(code_sha256, "none")
        try:
            seen = await self._made_by.look(code_sha256, build=build, wait_s=wait_s)
        except StokeError as error:
            log.warning("environment.unknown code=%s error=%s", code_sha256[:16], error)
            return CodeEnvironment(code_sha256, "missing")
        self._known.pop(code_sha256, None)
        if seen.state in _SETTLED:
            if len(self._known) >= _KNOWN_MAX:
                del self._known[next(iter(self._known))]
            self._known[code_sha256] = seen
        return seen


def needs_one(function: Function) -> bool:
    """Environments are for the built-in server; a custom one brings its own."""
    return function.runtime.startswith("python") and bool(function.code_sha256)


async def sweep_for_ever(registry: Registry, environments: CodeEnvironments, clock: Clock, every_s: float) -> None:
    """Now and then have removed what no version of any function needs."""
    while True:
        await clock.sleep(every_s)
        try:
            removed = await environments.sweep(await code_in_use(registry))
        except StokeError as error:  # the store or the node is away: what is known of use may not be all
            log.warning("environments.not_swept error=%s", error)
            continue
        if removed:
            log.info("environments.swept count=%d", len(removed))


async def code_in_use(registry: Registry) -> set[str]:
    """The code of every version of every function. Raises Unavailable."""
    found: set[str] = set()
    async for service in all_items(registry.list_services, _PAGE):
        with suppress(NotFound):  # it went away meanwhile
            found |= await _code_of(registry, service.service_name)
    return found - {""}


async def _code_of(registry: Registry, service: str) -> set[str]:
    async def versions(query: Query) -> Page[Version]:
        return await registry.list_versions(service, query)

    async def functions(version: str, query: Query) -> Page[Function]:
        return await registry.list_functions(service, query, version)

    ids = [LATEST, *[version.version_id async for version in all_items(versions, _PAGE)]]
    return {function.code_sha256 for one in ids async for function in all_items(partial(functions, one), _PAGE)}
