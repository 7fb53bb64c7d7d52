"""The environments of one node, in a folder: made once for each content, shared, removed when no code needs them.

ENVIRONMENTS/<id>/                   complete, as it is renamed into place last; its time is when it was last asked for
ENVIRONMENTS/<id>/environment.json   the distributions in it
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import Final

from packaging.utils import canonicalize_name

from runtime.node.packages import content
from runtime.node.packages import install as installer
from runtime.node.packages.content import Installed
from runtime.node.packages.install import InstallFailed
from runtime.node_contract import CodeEnvironment

log = logging.getLogger(__name__)

_RECORD: Final = "environment.json"
_SCRATCH: Final = ".new-"
_REQUIREMENTS_BYTES_MAX: Final = 256 * 1024

Install = Callable[[Path, Path, Mapping[str, Installed], float, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Limits:
    build_timeout_s: float = 900.0
    builds_at_once_max: int = 2
    installer: str = "auto"  # uv where there is one, else pip
    grace_s: float = 3600.0  # an environment that no code needs is kept this long after it was last asked for


class Environments:
    """`ready` is what a launch waits for; `look` tells how far it is, and begins it if asked to."""

    def __init__(self, folder: Path, code: Path, limits: Limits, install: Install = installer.install) -> None:
        self._folder = folder
        self._code = code
        self._limits = limits
        self._install = install
        self._building: dict[str, asyncio.Task[None]] = {}
        self._failed: dict[str, str] = {}
        self._ids: dict[str, str] = {}  # by the code's sha256, "" = it needs none
        self._turns = asyncio.Semaphore(limits.builds_at_once_max)

    def id_of(self, code_sha256: str) -> str:
        """The environment that this code needs, "" if none. Raises InstallFailed: its requirements cannot be read."""
        known = self._ids.get(code_sha256)
        if known is None:
            known = self._ids[code_sha256] = self._find_id(code_sha256)
        return known

    def site(self, environment: str) -> Path | None:
        """Where the packages of an environment lie; None for none."""
        return installer.site_of(self._folder / environment) if environment else None

    def programs(self, environment: str) -> Path | None:
        return self._folder / environment / "bin" if environment else None

    async def ready(self, code_sha256: str) -> str:
        """Returns the id when it is there, made now if it has to be. Raises InstallFailed."""
        environment = self.id_of(code_sha256)
        if environment and not await asyncio.to_thread(self._touch, environment):
            await asyncio.shield(self._begin(environment, code_sha256))
        return environment

    async def look(self, code_sha256: str, *, build: bool, wait_s: float) -> CodeEnvironment:
        """As it is now, or when that has changed, within `wait_s`. A failed one is tried again if `build`."""
        try:
            environment = self.id_of(code_sha256)
        except InstallFailed as error:
            return CodeEnvironment(code_sha256, "failed", reason=str(error))
        if not environment:
            return CodeEnvironment(code_sha256, "none")
        if not await asyncio.to_thread(self._touch, environment):
            task = self._begin(environment, code_sha256) if build else self._building.get(environment)
            if task is not None:
                await asyncio.wait((task,), timeout=wait_s)
        return self._seen(code_sha256, environment)

    def sweep(self, code_in_use: Collection[str], now_s: float) -> list[str]:
        """Remove what none of these needs, nor was asked for within the grace; gives what was removed."""
        needed = {self._ids.get(sha256) or self._id_or_none(sha256) for sha256 in code_in_use} | self._building.keys()
        removed = []
        for folder in self._folder.glob("*") if self._folder.is_dir() else ():
            if folder.name in needed or now_s - folder.stat().st_mtime <= self._limits.grace_s:
                continue
            if _is_scratch(folder) and self._building:
                continue
            gone = folder.with_name(f"{_SCRATCH}gone-{folder.name[:16]}") if not _is_scratch(folder) else folder
            folder.rename(gone)  # whole or not there, whenever this ends
            shutil.rmtree(gone, ignore_errors=True)
            removed.append(folder.name)
        return removed

    async def close(self) -> None:
        """Give up what is being made."""
        for task in list(self._building.values()):
            task.cancel()
        await asyncio.gather(*self._building.values(), return_exceptions=True)

    # -- small steps --------------------------------------------------------------------------------------------------

    def _seen(self, code_sha256: str, environment: str) -> CodeEnvironment:
        if environment in self._building:
            return CodeEnvironment(code_sha256, "building", environment)
        record = self._folder / environment / _RECORD
        if record.is_file():
            return CodeEnvironment(code_sha256, "ready", environment, json.loads(record.read_text())["packages"])
        if environment in self._failed:
            return CodeEnvironment(code_sha256, "failed", environment, reason=self._failed[environment])
        return CodeEnvironment(code_sha256, "missing", environment)

    def _find_id(self, code_sha256: str) -> str:
        file = self._code / code_sha256 / content.FILE
        try:
            if file.stat().st_size > _REQUIREMENTS_BYTES_MAX:
                raise InstallFailed(
                    f"{content.FILE} has {file.stat().st_size} bytes: {_REQUIREMENTS_BYTES_MAX} at most"
                )
            requirements = file.read_text("utf-8-sig")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return ""
        except UnicodeDecodeError as error:
            raise InstallFailed(f"{content.FILE} is not UTF-8: {error}") from error
        if content.is_satisfied(requirements, beside()):
            return ""
        return content.environment_id(
            requirements,
            python=python_version(),
            machine=installer.machine(),
            beside=beside(),
            code_sha256=code_sha256,
        )

    def _id_or_none(self, code_sha256: str) -> str:
        try:
            return self._find_id(code_sha256)
        except InstallFailed:
            return ""

    def _touch(self, environment: str) -> bool:
        """Is it there? Then it was asked for now."""
        try:
            os.utime(self._folder / environment)
        except FileNotFoundError:
            return False
        return True

    def _begin(self, environment: str, code_sha256: str) -> asyncio.Task[None]:
        task = self._building.get(environment)
        if task is None:
            task = self._building[environment] = asyncio.create_task(self._build(environment, code_sha256))
            task.add_done_callback(lambda done: self._on_end(environment, done))
        return task

    def _on_end(self, environment: str, task: asyncio.Task[None]) -> None:
        del self._building[environment]
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._failed.pop(environment, None)
        else:
            self._failed[environment] = str(error) if isinstance(error, InstallFailed) else repr(error)
            log.warning("environment.failed id=%s reason=%r", environment[:16], self._failed[environment])

    async def _build(self, environment: str, code_sha256: str) -> None:
        async with self._turns:
            began_s = time.monotonic()
            self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=self._folder))
            try:
                made = scratch / "environment"
                requirements = self._code / code_sha256 / content.FILE
                await self._install(requirements, made, beside(), self._limits.build_timeout_s, self._limits.installer)
                await asyncio.to_thread(_publish, made, self._folder / environment)
            except OSError as error:
                raise InstallFailed(f"the environment cannot be made: {error}") from error
            finally:
                await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
            log.info("environment.made id=%s seconds=%.1f", environment[:16], time.monotonic() - began_s)


def _publish(made: Path, place: Path) -> None:
    """Complete and on the disk before it has its name."""
    (made / _RECORD).write_text(json.dumps({"packages": installer.installed(made)}))
    installer.relocate(made, place)
    os.sync()
    try:
        os.rename(made, place)
    except OSError:
        if not (place / _RECORD).is_file():
            raise


def _is_scratch(folder: Path) -> bool:
    return folder.name.startswith(_SCRATCH)


@cache
def beside() -> dict[str, Installed]:
    """What is installed beside Stoke, by canonical name. It does not change while the node lives."""
    found = {
        str(canonicalize_name(one.name)): Installed(one.version, tuple(one.requires or ()))
        for one in metadata.distributions(path=installer.platform_sites())
        if one.name
    }
    for name, same in installer.SAME_AS.items():
        if name not in found and same in found:
            found[name] = Installed(found[same].version, found[same].requires, is_named=False)
    return found
