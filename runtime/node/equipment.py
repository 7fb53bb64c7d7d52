"""What an instance's code needs beside itself: its environment, waited for at launch, asked for at deployment.

What makes environments is imported when the first code has a requirements.txt: a node without one stays small.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from runtime.node import launch
from runtime.node.errors import Failure
from runtime.node.launch import Place
from runtime.node.settings import NodeSettings
from runtime.node_contract import CodeEnvironment, LaunchSpec

if TYPE_CHECKING:
    from runtime.node.packages.store import Environments

_REQUIREMENTS: Final = "requirements.txt"


class CodeEnvironments:
    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._made: Environments | None = None

    async def equip(self, spec: LaunchSpec, place: Place) -> Place:
        """The place with the environment of the spec's code, which is made now if it must be.

        Raises:
            Failure: it cannot be made; the installer's words.
        """
        if not launch.is_python(spec.runtime) or not self._has_requirements(spec.code_sha256):
            return place
        from runtime.node.packages.install import InstallFailed

        environments = self._environments()
        try:
            environment = await environments.ready(spec.code_sha256)
        except InstallFailed as error:
            raise Failure(f"Function instance could not be started: requirements.txt: {error}") from error
        site, programs = environments.site(environment), environments.programs(environment)
        if site is None:
            return place
        return replace(place, site=str(site), path=os.pathsep.join([str(programs), place.path]))

    async def look(self, code_sha256: str, *, build: bool, wait_s: float) -> CodeEnvironment:
        if not self._has_requirements(code_sha256):
            return CodeEnvironment(code_sha256, "none")
        return await self._environments().look(code_sha256, build=build, wait_s=wait_s)

    async def sweep(self, code_in_use: Collection[str]) -> list[str]:
        """Remove what none of these needs, after its grace; gives the ids."""
        if self._made is None and not self._settings.environments.is_dir():
            return []
        return await asyncio.to_thread(self._environments().sweep, code_in_use, time.time())

    async def close(self) -> None:
        if self._made is not None:
            await self._made.close()

    def _has_requirements(self, code_sha256: str) -> bool:
        return bool(code_sha256) and (self._settings.code / code_sha256 / _REQUIREMENTS).is_file()

    def _environments(self) -> Environments:
        if self._made is None:
            from runtime.node.packages.store import Environments, Limits

            settings = self._settings
            limits = Limits(
                settings.environment_build_timeout_s,
                settings.environment_builds_at_once_max,
                settings.environment_installer,
                settings.environment_grace_s,
            )
            self._made = Environments(settings.environments, settings.code, limits)
        return self._made


async def is_done_first(task: asyncio.Future[Any], event: asyncio.Event) -> bool:
    """Wait for either; a task that came second, or failed, is at its end when this returns. Raises what it raised."""
    happened = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((task, happened), return_when=asyncio.FIRST_COMPLETED)
        if happened.done():
            return False
        await task
        return True
    finally:
        for waiting in (task, happened):
            waiting.cancel()
        await asyncio.gather(task, happened, return_exceptions=True)
