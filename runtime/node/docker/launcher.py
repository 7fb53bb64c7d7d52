"""Instances as containers: one each, on the engine of this machine, in its process namespace but for their own view.

The engine makes and removes them; what lives and what has died the kernel tells, by the container's first process. So
an engine that is away stops nothing: what runs goes on, is served and watched, and only what is to start has to wait.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from signal import SIGTERM
from typing import Any, Final

from runtime.mounts import Mount
from runtime.node import cgroups, launch, mounted, process, processes, reasons
from runtime.node.docker import asked
from runtime.node.docker.engine import Engine, EngineAway, EngineError
from runtime.node.docker.images import FILE_NAME, FILE_PREFIX, Images
from runtime.node.docker.logs import ContainerLog
from runtime.node.docker.pulls import auth_header
from runtime.node.docker.tidy import Tidy
from runtime.node.errors import Failure, LaunchRefused
from runtime.node.launch import Place
from runtime.node.launcher import Started
from runtime.node.process import Process
from runtime.node.processes import Member
from runtime.node.ready import ReadyPipe
from runtime.node.settings import NodeSettings
from runtime.node_contract import LaunchSpec

log = logging.getLogger(__name__)

_END_S: Final = 5.0  # from the death of a container's process to its engine's knowing
_LOG_END_S: Final = 2.0  # and to the last of what it printed


class DockerLauncher:
    """Fills `launcher.Launcher`. `lives` tells of an instance id whether its life goes on here."""

    def __init__(self, settings: NodeSettings, lives: Callable[[str], bool]) -> None:
        self._settings = settings
        self._engine = Engine(settings.engine)
        self._images = Images(self._engine, settings.images, settings.image_pull, settings.registry_credentials)
        self._containment = asked.Containment(
            frozenset(settings.container_loosened),
            settings.container_pids_max,
            settings.container_network,
            settings.container_user,
            settings.container_tmp_mib,
            settings.container_gpus,
        )
        self._owner = hashlib.sha256(os.fsencode(settings.data)).hexdigest()[:16]
        self._logs: dict[str, ContainerLog] = {}
        self._images_seen: dict[str, dict[str, Any]] = {}
        self._starting: dict[str, asyncio.Task[Started]] = {}
        self._out_of_memory: set[str] = set()
        self._has_tidied = False
        self._tidy = Tidy(self._engine, self._owner, lives)

    # -- before -------------------------------------------------------------------------------------------------------

    def check(self, spec: LaunchSpec) -> None:
        launch.check_limits(spec)
        self._check_engine()
        if not spec.image:
            raise LaunchRefused("runtime 'custom-container' needs an image, and there is none")
        name = spec.image.removeprefix(FILE_PREFIX)
        if spec.image.startswith(FILE_PREFIX) and not FILE_NAME.fullmatch(name):
            raise LaunchRefused(
                f"image '{spec.image}' must be {FILE_PREFIX} and a file's name in {self._settings.images}"
            )
        self._mounts(spec)
        try:
            asked.shm_size_bytes(spec.environment)
        except asked.ShmSizeError as error:
            raise LaunchRefused(f"environment variable {error}") from error

    def _mounts(self, spec: LaunchSpec) -> list[Mount]:
        user = self._containment.user.partition(":")[0]
        return mounted.of_container(spec, self._settings.allowed_mounts, may_be_root=user in ("", "0", "root"))

    def _check_engine(self) -> None:
        if self._settings.backend == "process":
            why = "as its backend is 'process'"
        elif not self._engine.socket.exists():
            why = f"as there is no socket {self._engine.socket}"
        else:
            return
        raise LaunchRefused(
            f"runtime 'custom-container' cannot be launched: this node has no container engine, {why}; "
            "runtime 'custom' with a command runs the same server without a container"
        )

    async def prepare(self, runtime: str) -> None:  # noqa: ARG002 - the port's
        self._check_engine()
        with suppress(Failure):
            await self._engine.call("GET", "/version")  # and with it what speaks to the engine is imported

    def make_place(self, spec: LaunchSpec, folder: Path) -> Place:
        return Place(folder, folder, "", self._settings.path, spec.ca_port)

    def place_again(self, spec: LaunchSpec, folder: Path, address: str, group: str, *, is_over: bool) -> Place:  # noqa: ARG002 - the port's
        self._tidy.ask()
        return Place(folder, folder, address, self._settings.path, spec.ca_port)

    async def fetch(self, spec: LaunchSpec, place: Place, say: Callable[[str], None]) -> Place:
        auth = auth_header(spec.image, spec.registry_user, spec.registry_password) if spec.registry_user else ""
        self._images_seen[spec.instance_id] = await self._images.ensure(spec.image, say, auth)
        return place

    # -- the start ----------------------------------------------------------------------------------------------------

    async def start(self, spec: LaunchSpec, place: Place, ready: ReadyPipe) -> Started:  # noqa: ARG002 - the port's
        # One that is given up while the engine works on it still gets its container, which `clear` waits for.
        starting = self._starting[spec.instance_id] = asyncio.create_task(self._start(spec, place))
        return await asyncio.shield(starting)

    async def _start(self, spec: LaunchSpec, place: Place) -> Started:
        name = asked.container_name(spec.instance_id)
        if not self._has_tidied:
            self._has_tidied = True
            self._tidy.ask()
        try:
            found = await self._started_before(name)
            if found is None:
                await self._create(spec, place, name)
                await self._engine.call("POST", f"/containers/{name}/start")
                found = await self._engine.call("GET", f"/containers/{name}/json")
        except EngineError as error:
            raise Failure(f"Function instance could not be started: {error}") from error
        self._follow_log(spec.instance_id, place)
        pid = int(found["State"]["Pid"])
        opened = _watched(pid, found["Id"], self._exit_status(spec.instance_id)) if pid else None
        if opened is None:
            raise Failure(await self._why_not_there(spec, place, pid))
        self._watch_memory(spec.instance_id, opened)
        if place.share is not None and not place.share.simulated and not _has_card(found, pid):
            opened.close()
            raise Failure(reasons.card_not_given(place.share.uuid))
        address = asked.address_of(found, self._containment.network, spec.ca_port)
        if not address:
            opened.close()
            raise Failure(f"the container has no address in network '{self._containment.network}' of its engine")
        return Started(opened, address)

    async def _started_before(self, name: str) -> dict[str, Any] | None:
        """The container, if a node that died meanwhile has started it. One that it only created is removed."""
        try:
            found: dict[str, Any] = await self._engine.call("GET", f"/containers/{name}/json")
        except EngineError as error:
            if error.status == 404:
                return None
            raise
        if found["State"]["Running"]:
            return found
        await self._engine.call("DELETE", f"/containers/{name}", force=1, v=1)
        return None

    async def _create(self, spec: LaunchSpec, place: Place, name: str) -> None:
        image = self._images_seen.pop(spec.instance_id, {})
        try:
            mounts = self._mounts(spec)
        except LaunchRefused as error:  # by now: a folder of the machine may have gone since it was checked
            raise Failure(str(error)) from error
        body = asked.create_body(spec, self._owner, self._containment, place.share, image, mounts)
        body["Image"] = image.get("Id") or spec.image  # what was looked at, even if the name has moved on since
        await self._engine.call("POST", "/containers/create", body, name=name)

    def _follow_log(self, instance_id: str, place: Place) -> ContainerLog:
        if instance_id not in self._logs:
            name = asked.container_name(instance_id)
            self._logs[instance_id] = ContainerLog(self._engine, name, place.folder)
        return self._logs[instance_id]

    async def _why_not_there(self, spec: LaunchSpec, place: Place, pid: int) -> str:
        """It ended at once, or lives where this node does not see it."""
        status = await self._exit_status(spec.instance_id)()
        if pid and status is None:
            return (
                f"the container's process {pid} is none that this node can see: "
                "the node must run in the process namespace of its engine"
            )
        if await self.ran_out_of_memory(place):
            return reasons.out_of_memory(spec.memory_mib, launch.log_end(place))
        return reasons.exited(status, launch.start_command(spec), launch.log_end(place))

    def lost(self, place: Place) -> Member | None:  # noqa: ARG002 - the port's
        """None: a container is known by its name, and `start` finds it again."""
        return None

    def attach(self, spec: LaunchSpec, place: Place, pid: int, start_ticks: int) -> Process | None:
        if not pid:
            return None
        found = process.found_again(pid, start_ticks, self._exit_status(spec.instance_id))
        if found is not None:
            self._follow_log(spec.instance_id, place).begin_anew()
            self._watch_memory(spec.instance_id, found)
        return found

    def _watch_memory(self, instance_id: str, watched: Process) -> None:
        """Podman does not say that a container ran out of memory. Its control group does, and is looked at as soon as
        its process has ended: it is removed some tenths of a second later."""
        events_file = _memory_events_file(watched.pid)

        def look(_: object) -> None:
            if events_file is not None and cgroups.kills_in(events_file):
                self._out_of_memory.add(instance_id)

        watched.died.add_done_callback(look)

    def _exit_status(self, instance_id: str) -> process.ExitStatus:
        known: list[int] = []

        async def exit_status() -> int | None:
            """As the engine knows it, with all that was printed on the disk by then."""
            if not known:
                name = asked.container_name(instance_id)
                with suppress(Failure, TimeoutError):
                    async with asyncio.timeout(_END_S):
                        await self._engine.call("POST", f"/containers/{name}/wait", condition="not-running")
                        state = (await self._engine.call("GET", f"/containers/{name}/json"))["State"]
                        known.append(int(state["ExitCode"]))
                        if state.get("OOMKilled"):
                            self._out_of_memory.add(instance_id)
                if instance_id in self._logs:
                    await self._logs[instance_id].read_to_end(_LOG_END_S)
            return known[0] if known else None

        return exit_status

    def became_ready(self, spec: LaunchSpec, place: Place) -> None:
        """Nothing: an engine starts every container alike."""

    # -- while it lasts -----------------------------------------------------------------------------------------------

    def members(self, place: Place) -> set[int]:  # noqa: ARG002 - the port's
        return set()

    def watches_memory(self, place: Place) -> bool:  # noqa: ARG002 - the port's
        return True

    async def ran_out_of_memory(self, place: Place) -> bool:
        return place.folder.name in self._out_of_memory

    # -- the end ------------------------------------------------------------------------------------------------------

    async def ask_to_end(self, place: Place, family: set[Member], grace_s: float) -> None:
        name = asked.container_name(place.folder.name)
        try:
            await self._engine.call(
                "POST", f"/containers/{name}/stop", timeout_s=grace_s + _END_S, t=max(1, round(grace_s))
            )
        except EngineAway:
            processes.signal_each(family, SIGTERM)
        except EngineError as error:
            log.warning("container.not_stopped name=%s error=%s", name, error)

    async def clear(self, place: Place) -> None:
        instance_id = place.folder.name
        starting = self._starting.pop(instance_id, None)
        if starting is not None:
            await asyncio.wait((starting,))
            if not starting.cancelled() and starting.exception() is None:
                starting.result().process.close()
        container_log = self._logs.pop(instance_id, None)
        if container_log is not None:
            await container_log.read_to_end(_LOG_END_S)
            await container_log.close()
        self._images_seen.pop(instance_id, None)
        self._out_of_memory.discard(instance_id)
        try:
            name = asked.container_name(instance_id)
            await self._engine.call("DELETE", f"/containers/{name}", force=1, v=1)
        except EngineError as error:
            if error.status not in (404, 409):  # it is gone, or going
                log.warning("container.not_removed instance=%s error=%s", instance_id, error)
                self._tidy.ask()
        except EngineAway as error:
            log.warning("container.not_removed instance=%s error=%s", instance_id, error)
            self._tidy.ask()

    def give_back(self, place: Place) -> None:
        """Nothing: what a container took goes with it."""

    def isolation(self) -> str:
        if self._settings.backend == "process":
            return "none: the backend is 'process'"
        if not self._engine.socket.exists():
            return f"none: there is no container engine at {self._engine.socket}"
        held = {
            "writable-root": "read-only root",
            "new-privileges": "no new privileges",
            "capabilities": "fewer capabilities",
            asked.HOST_IPC: "shared memory of its own",
        }
        names = [text for name, text in held.items() if name not in self._containment.loosened]
        return ", ".join(["container", *names, "limits of memory, cpu and processes"])

    async def close(self) -> None:
        for starting in self._starting.values():
            starting.cancel()
        await asyncio.gather(*self._starting.values(), return_exceptions=True)
        await self._tidy.close()
        for container_log in self._logs.values():
            await container_log.close()
        await self._engine.close()


def _watched(pid: int, container_id: str, exit_status: process.ExitStatus) -> Process | None:
    """The container's first process; None if it is gone, or if this pid is another's where this node looks."""
    try:
        pidfd = os.pidfd_open(pid)
    except (ProcessLookupError, PermissionError):
        return None
    stat = processes.read_stat(pid)
    if stat is None or stat.is_dead or not _is_of(pid, container_id):
        os.close(pidfd)
        return None
    return Process(pid, pidfd, stat.start_ticks, exit_status)


def _memory_events_file(pid: int) -> Path | None:
    try:
        texts = Path(f"/proc/{pid}/cgroup").read_text(), Path("/proc/self/mounts").read_text()
    except OSError:
        return None
    return cgroups.memory_events_file(*texts)


def _has_card(container: dict[str, Any], pid: int) -> bool:
    """Podman 4 takes what asks for cards and does nothing about it. An engine that repeats it has done so; of another
    the devices in the container tell."""
    if asked.repeats_cards(container):
        return True
    with suppress(OSError):
        return any(asked.is_card_device(name) for name in os.listdir(f"/proc/{pid}/root/dev"))
    return False


def _is_of(pid: int, container_id: str) -> bool:
    """Every engine names a container's control groups after its id."""
    with suppress(OSError):
        return container_id in Path(f"/proc/{pid}/cgroup").read_text()
    return False
