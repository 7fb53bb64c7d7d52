"""Instances as processes of this machine: built-in servers forked from the zygote, and commands of the user's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from signal import SIGTERM
from typing import Final

from runtime.mounts import Mount
from runtime.node import cgroups, isolation, launch, mounted, output, process, processes
from runtime.node.cgroups import MemoryGroups
from runtime.node.equipment import CodeEnvironments
from runtime.node.errors import CallError
from runtime.node.forks import ForkError, ZygoteDied
from runtime.node.launch import Place
from runtime.node.launcher import Started
from runtime.node.local_ports import LocalPorts
from runtime.node.process import Process
from runtime.node.processes import Member
from runtime.node.ready import ReadyPipe
from runtime.node.settings import NodeSettings
from runtime.node.zygotes import Zygotes
from runtime.node_contract import LaunchSpec

_NEWS_S: Final = 0.05  # a fork may note its pid a moment after the zygote that made it has died


class ProcessLauncher:
    """Fills `launcher.Launcher`."""

    def __init__(
        self, settings: NodeSettings, groups: MemoryGroups | None, environments: CodeEnvironments, zygotes: Zygotes
    ) -> None:
        """Raises ValueError when the machine has not what `sandbox` asks for."""
        self._settings = settings
        self._isolation = isolation.find(settings.sandbox)
        self._environments = environments
        self._zygotes = zygotes
        self._groups = groups
        self._ports = LocalPorts()

    # -- before -------------------------------------------------------------------------------------------------------

    def check(self, spec: LaunchSpec) -> None:
        launch.check(spec, self._settings.code)
        self._mounts(spec)

    def _mounts(self, spec: LaunchSpec) -> list[Mount]:
        own_view = bool(self._isolation.bubblewrap) and not launch.is_python(spec.runtime)
        return mounted.of_process(spec, self._settings.allowed_mounts, has_own_view=own_view)

    async def prepare(self, runtime: str) -> None:
        launch.check_runtime(runtime)
        if launch.is_python(runtime):
            try:
                await self._zygotes.plain.prepare()
            except ForkError as error:
                raise CallError(str(error)) from error

    def make_place(self, spec: LaunchSpec, folder: Path) -> Place:
        (folder / launch.PID_FILE).unlink(missing_ok=True)
        group = str(self._groups.make(spec.instance_id, spec.memory_mib)) if self._groups is not None else ""
        if launch.is_python(spec.runtime):
            address, port = f"unix:{launch.socket_path(folder, self._settings.data)}", 0
        else:
            port = self._ports.take()
            address = f"tcp:127.0.0.1:{port}"
        return self._place(spec, folder, address, port, group, mounted.binds(self._mounts(spec)))

    def place_again(self, spec: LaunchSpec, folder: Path, address: str, group: str, *, is_over: bool) -> Place:
        port = int(address.rpartition(":")[2]) if address.startswith("tcp:") else 0
        if port and not is_over:
            self._ports.mark(port)
        return self._place(spec, folder, address, port, group)

    def _place(
        self, spec: LaunchSpec, folder: Path, address: str, port: int, group: str, binds: Sequence[str] = ()
    ) -> Place:
        code = self._settings.code / spec.code_sha256 if spec.code_sha256 else folder
        place = Place(folder, code, address, self._settings.path, port, group)
        shut_in = tuple(self._isolation.prefix(folder, code, place.home, binds))
        return replace(place, shut_in=shut_in, no_new_privileges=self._isolation.no_new_privileges)

    async def fetch(self, spec: LaunchSpec, place: Place, say: Callable[[str], None]) -> Place:  # noqa: ARG002 - the port's
        """The function's environment, which may have to be made first."""
        return await self._environments.equip(spec, place)

    # -- the start ----------------------------------------------------------------------------------------------------

    async def start(self, spec: LaunchSpec, place: Place, ready: ReadyPipe) -> Started:
        if not launch.is_python(spec.runtime):
            with _opened_output(place) as log:
                return Started(launch.start_command_line(spec, place, log))
        try:
            return await self._fork(spec, place, ready)
        except ZygoteDied:
            await asyncio.sleep(_NEWS_S)
            if self.lost(place) is not None:
                raise
            return await self._fork(spec, place, ready)

    async def _fork(self, spec: LaunchSpec, place: Place, ready: ReadyPipe) -> Started:
        with _opened_output(place) as log:
            born, group = await launch.start_python(spec, place, self._zygotes, log, ready.write_descriptor)
        if group != place.group:  # it was born in one with the same limit; the one that was made for it is not needed
            asyncio.get_running_loop().run_in_executor(None, cgroups.remove, Path(place.group))
        return Started(born, group=group)

    def lost(self, place: Place) -> Member | None:
        """A fork whose news was lost, as the zygote died, notes its pid first of all."""
        return launch.noted_process(place)

    def attach(self, spec: LaunchSpec, place: Place, pid: int, start_ticks: int) -> Process | None:  # noqa: ARG002 - the port's
        return process.found_again(pid, start_ticks) if pid else None

    def became_ready(self, spec: LaunchSpec, place: Place) -> None:
        if (template := launch.template(spec, place)) is not None:
            self._zygotes.warm(template)

    # -- while it lasts -----------------------------------------------------------------------------------------------

    def members(self, place: Place) -> set[int]:
        return cgroups.members(Path(place.group)) - self._zygotes.pids if place.group else set()

    def watches_memory(self, place: Place) -> bool:
        return bool(place.group)

    async def ran_out_of_memory(self, place: Place) -> bool:
        return bool(place.group and self._groups is not None and self._groups.kills(Path(place.group)))

    # -- the end ------------------------------------------------------------------------------------------------------

    async def ask_to_end(self, place: Place, family: set[Member], grace_s: float) -> None:  # noqa: ARG002 - the port's
        processes.signal_each(family, SIGTERM)

    async def clear(self, place: Place) -> None:
        if place.group:
            cgroups.remove(Path(place.group))
        with suppress(OSError):
            os.unlink(place.address.removeprefix("unix:"))

    def give_back(self, place: Place) -> None:
        self._ports.give(place.port)

    def isolation(self) -> str:
        memory = "control group of memory" if self._groups is not None else "memory looked at twice a second"
        return ", ".join(["process", memory, *self._isolation.words])

    async def close(self) -> None:
        await self._zygotes.close()
        await self._environments.close()


@contextmanager
def _opened_output(place: Place) -> Iterator[int]:
    descriptor = output.open_for_writing(place.folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
