"""All instances of one node: launches, finds again, stops and forgets them, and tells those who watch."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import AsyncIterator, Collection, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from runtime import short_folder
from runtime.contract import InstanceState
from runtime.node import cgroups, launch, output, processes, reasons, records
from runtime.node.cards import Cards
from runtime.node.devices import Devices, NoDevices
from runtime.node.docker.launcher import DockerLauncher
from runtime.node.equipment import CodeEnvironments
from runtime.node.errors import CallError, InvalidArgument, LaunchRefused, NotFound
from runtime.node.gpu_share import GpuShare, is_over
from runtime.node.launch import Place
from runtime.node.launcher import Launcher
from runtime.node.life import Instance
from runtime.node.mps import Mps
from runtime.node.process_launcher import ProcessLauncher
from runtime.node.records import Record
from runtime.node.samples import Sampler, Subject
from runtime.node.settings import NodeSettings
from runtime.node.zygotes import Limits as ZygoteLimits
from runtime.node.zygotes import Zygotes
from runtime.node_contract import CodeEnvironment, InstanceSample, InstanceStatus, LaunchSpec

log = logging.getLogger(__name__)

# A watcher that is so far behind is not reading; its connection is closed, and it begins again with the current states.
WATCH_BACKLOG_MAX: Final = 10_000
CONTAINER: Final = "custom-container"


class Instances:
    """Made, `adopt`ed once, then used from the server's tasks; all in one event loop."""

    def __init__(self, settings: NodeSettings, devices: Devices) -> None:
        self._settings = settings
        groups = cgroups.find() if settings.memory_limits == "auto" else None
        self._environments = CodeEnvironments(settings)
        limits = ZygoteLimits(
            settings.function_zygotes_max,
            settings.function_zygote_idle_s,
            settings.zygote_start_timeout_s,
            settings.fork_timeout_s,
            settings.forks_ahead,
        )
        self.zygotes = Zygotes(limits, groups)
        self._processes = ProcessLauncher(settings, groups, self._environments, self.zygotes)
        self._containers = DockerLauncher(settings, self._lives_here)
        self.cards = Cards(devices, settings.gpu_sharing, Mps(self._mps_folder(), settings.path))
        self._boot = processes.boot_id()
        self._sampler = Sampler(devices)
        self._sampling: asyncio.Task[None] | None = None
        self._samples: list[InstanceSample] = []
        self._by_id: dict[str, Instance] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._watchers: set[asyncio.Queue[InstanceStatus | None]] = set()
        self._ending = False

    # -- what the server offers -----------------------------------------------------------------------------------

    async def prepare(self, runtime: str) -> None:
        """Raises LaunchRefused for a runtime that is not launched here, CallError when the zygote does not start."""
        await self._launcher(runtime).prepare(runtime)

    async def launch(self, spec: LaunchSpec) -> None:
        """Begin a life; it is on the disk when this returns. A known id does nothing. Raises LaunchRefused."""
        if spec.instance_id not in self._by_id:
            self._launch(spec)
        # The life goes on meanwhile: a node that is killed leaves what was saved, and a machine that is leaves no life.
        instance = self._by_id[spec.instance_id]
        try:
            await asyncio.to_thread(records.sync, instance.place.folder)
        except OSError as error:
            instance.ask_to_stop(0.0)
            raise CallError(f"the instance's record cannot be kept: {error}") from error

    def _launch(self, spec: LaunchSpec) -> None:
        if self._ending:
            raise LaunchRefused("the node is shutting down")
        launcher = self._launcher(spec.runtime)
        launcher.check(spec)
        share = self._share(spec)
        try:
            place = replace(self._make_place(spec, launcher), share=share)
            record = Record(spec, at_s=time.time(), address=place.address, boot=self._boot, group=place.group)
            records.save(place.folder, record)
        except OSError as error:
            raise CallError(f"the instance's folder cannot be made: {error}") from error
        instance = self._add(record, place)
        self._begin(instance, instance.run())
        self._tell(instance)

    def stop(self, instance_id: str, grace_s: float) -> None:
        """Begin to end a life. Unknown and ended ids do nothing."""
        instance = self._by_id.get(instance_id)
        if instance is not None:
            instance.ask_to_stop(grace_s)

    def forget(self, instance_id: str) -> None:
        """Drop the record of an ended instance; its output stays. Unknown ids and those that live do nothing."""
        instance = self._by_id.get(instance_id)
        if instance is None or not instance.record.state.is_final:
            return
        records.remove(instance.place.folder)
        del self._by_id[instance_id]
        (instance.place.folder / launch.PID_FILE).unlink(missing_ok=True)
        shutil.rmtree(instance.place.home, ignore_errors=True)
        output.sweep(self._settings.instances, self._settings.kept_outputs_max, set(self._by_id))

    def find(self, instance_id: str) -> Instance | None:
        return self._by_id.get(instance_id)

    def statuses(self) -> list[InstanceStatus]:
        return [instance.record.status for instance in self._by_id.values()]

    async def watch(self) -> AsyncIterator[InstanceStatus]:
        """Every known instance, then each change; ends when the reader is too slow."""
        queue: asyncio.Queue[InstanceStatus | None] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            for status in self.statuses():
                yield status
            while (changed := await queue.get()) is not None:
                yield changed
        finally:
            self._watchers.discard(queue)

    async def samples(self) -> list[InstanceSample]:
        """The newest; those of before, with their times, while the driver of a device does not answer."""
        if self._sampling is None or self._sampling.done():  # two at once would read the same counters twice
            self._sampling = asyncio.create_task(self._sample())
        done, _ = await asyncio.wait([self._sampling], timeout=self._settings.sample_timeout_s)
        for task in done:
            task.result()
        return self._samples

    async def _sample(self) -> None:
        subjects = [_subject(instance) for instance in self._by_id.values() if _is_running(instance)]
        self._samples = await asyncio.to_thread(self._sampler.sample, subjects)

    async def logs(self, instance_id: str, *, tail_bytes: int, follow: bool) -> AsyncIterator[bytes]:
        """Raises NotFound for an id that was never launched here, or so long ago that its output is gone."""
        folder = self._folder(instance_id)
        if instance_id not in self._by_id and not output.exists(folder):
            raise NotFound(f"instance '{instance_id}' has no output on this node")

        def goes_on() -> bool:
            instance = self._by_id.get(instance_id)
            return follow and instance is not None and not instance.record.state.is_final

        async for chunk in output.read(folder, tail_bytes=tail_bytes, follow=goes_on):
            yield chunk

    async def shutdown(self, grace_s: float) -> None:
        """Stop all; returns when all have ended. Nothing new begins any more."""
        self._ending = True
        for instance_id in list(self._by_id):
            self.stop(instance_id, grace_s)
        if self._lives:
            await asyncio.wait(list(self._lives.values()))
        await self._processes.close()
        await asyncio.to_thread(self.cards.stop)

    async def environment(self, code_sha256: str, *, build: bool, wait_s: float) -> CodeEnvironment:
        return await self._environments.look(code_sha256, build=build, wait_s=wait_s)

    async def sweep_environments(self, code_in_use: Collection[str]) -> list[str]:
        """Remove those that neither this code nor that of a known instance needs, after their grace."""
        return await self._environments.sweep(self.code_in_use().union(code_in_use))

    def code_in_use(self) -> set[str]:
        """The code of each known instance."""
        return {instance.spec.code_sha256 for instance in self._by_id.values()} - {""}

    # -- a node's own beginning, upkeep and end -----------------------------------------------------------------------

    def adopt(self) -> None:
        """Find again what an earlier node on this data folder launched."""
        self._settings.instances.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.zygotes.remove_spares()
        for record in records.load_all(self._settings.instances):
            place = self._place_again(record)
            if record.state.is_final:
                self._add(record, place)
            else:
                self._find_again(record, place)
        output.sweep(self._settings.instances, self._settings.kept_outputs_max, set(self._by_id))

    def _find_again(self, record: Record, place: Place) -> None:
        if record.boot != self._boot:
            record = replace(record, pid=0, state=InstanceState.FAILED, reason=reasons.MISSED, at_s=time.time())
            with suppress(OSError):  # a full disk keeps no node from beginning; the next one comes to the same end
                records.save(place.folder, record)
            self._add(record, place)
            return
        launcher = self._launcher(record.spec.runtime)
        if record.pid == 0 and (noted := launcher.lost(place)) is not None:
            record = replace(record, pid=noted[0], start_ticks=noted[1])
        found = launcher.attach(record.spec, place, record.pid, record.start_ticks)
        instance = self._add(record, place)
        log.info("instance.found instance=%s pid=%d alive=%s", instance.id, record.pid, found is not None)
        self._begin(instance, instance.run_on(found))

    def isolation(self) -> dict[str, str]:
        """What shuts instances in on this node, by kind."""
        return {"process": self._processes.isolation(), "container": self._containers.isolation()}

    async def upkeep(self) -> None:
        """Forever: outputs are kept small, and memory is watched where the kernel does not do it."""
        while True:
            await asyncio.sleep(self._settings.upkeep_period_s)
            self.zygotes.reap()
            for instance in list(self._by_id.values()):
                if _is_running(instance):
                    self._look_after(instance)

    def _look_after(self, instance: Instance) -> None:
        try:
            output.cut(instance.place.folder, self._settings.output_bytes_max)
        except OSError as error:
            log.error("output.not_cut instance=%s error=%r", instance.id, error)
        if not instance.launcher.watches_memory(instance.place):
            used_mib = sum(processes.memory_mib(pid) for pid, _ in instance.family())
            if used_mib > instance.spec.memory_mib:
                instance.blame(reasons.out_of_memory(instance.spec.memory_mib, instance.log_end()))

    async def watch_devices(self) -> None:
        """Forever: an instance whose device is gone, or that takes more of it than it asked for, becomes FAILED."""
        if isinstance(self.cards.devices, NoDevices):
            await asyncio.Event().wait()
        while True:
            await asyncio.sleep(self._settings.device_period_s)
            placed = [i for i in list(self._by_id.values()) if i.spec.gpu_device and not i.record.state.is_final]
            # In a thread: a driver whose card has just died may take its time.
            held_mib = await asyncio.to_thread(self._look_at_devices, bool(placed))
            gone = self.cards.gone([instance.spec.gpu_device for instance in placed])
            stats = processes.all_stats() if held_mib else []
            for instance in placed:
                if reason := self._fault(instance, gone, held_mib, stats):
                    instance.blame(reason)

    def _fault(
        self, instance: Instance, gone: Mapping[str, str], held_mib: Mapping[int, float], stats: list[processes.Stat]
    ) -> str:
        """Why it can go on no longer; "" if it can."""
        device, share = instance.spec.gpu_device, instance.place.share
        if device in gone:
            return reasons.device_gone(device, gone[device])
        if not held_mib or share is None or not _is_running(instance):
            return ""
        subject = _subject(instance)
        family = processes.family(subject.pid, subject.start_ticks, stats, subject.known_pids)
        used_mib = sum(held_mib.get(pid, 0.0) for pid, _ in family)
        over = is_over(used_mib, share)
        return reasons.out_of_gpu_memory(used_mib, share.memory_mib, instance.log_end()) if over else ""

    def _look_at_devices(self, is_used: bool) -> dict[int, float]:
        self.cards.look()
        return self.cards.devices.held_mib() if is_used else {}

    async def close(self) -> None:
        """Let go of everything: instances live on, and the next node finds them."""
        self._ending = True
        if not self._lives:  # one that lives may be about to listen there
            short_folder.remove(self._settings.data)
        for life in self._lives.values():
            life.cancel()
        await asyncio.gather(*self._lives.values(), return_exceptions=True)
        for instance in self._by_id.values():
            if instance.process is not None:
                instance.process.close()
        for launcher in (self._processes, self._containers):
            await launcher.close()

    # -- small steps --------------------------------------------------------------------------------------------------

    def _add(self, record: Record, place: Place) -> Instance:
        instance = Instance(record, place, self._launcher(record.spec.runtime), self._tell)
        self._by_id[record.spec.instance_id] = instance
        return instance

    def _begin(self, instance: Instance, life: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(life)
        self._lives[instance.id] = task
        task.add_done_callback(lambda _: self._on_end(instance))

    def _on_end(self, instance: Instance) -> None:
        task = self._lives.pop(instance.id)
        instance.launcher.give_back(instance.place)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("instance.life_broken instance=%s", instance.id, exc_info=error)

    def _tell(self, instance: Instance) -> None:
        for queue in self._watchers:
            behind = queue.qsize() >= WATCH_BACKLOG_MAX
            queue.put_nowait(None if behind else instance.record.status)

    def _folder(self, instance_id: str) -> Path:
        if not launch.INSTANCE_ID.fullmatch(instance_id):
            raise InvalidArgument(f"instance_id '{instance_id}' must match {launch.INSTANCE_ID.pattern}")
        return self._settings.instances / instance_id

    def _make_place(self, spec: LaunchSpec, launcher: Launcher) -> Place:
        folder = self._folder(spec.instance_id)
        (folder / "tmp").mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(output.open_for_writing(folder))
        return launcher.make_place(spec, folder)

    def _place_again(self, record: Record) -> Place:
        spec, is_over = record.spec, record.state.is_final
        folder = self._folder(spec.instance_id)
        launcher = self._launcher(spec.runtime)
        place = launcher.place_again(spec, folder, record.address, record.group, is_over=is_over)
        if not is_over:
            with suppress(LaunchRefused):  # `watch_devices` says what becomes of it
                return replace(place, share=self._share(spec))
        return place

    def _share(self, spec: LaunchSpec) -> GpuShare | None:
        """Raises LaunchRefused: nothing can be on that device."""
        return self.cards.share(spec.gpu_device, spec.gpu_memory_mib) if spec.gpu_device else None

    def _mps_folder(self) -> Path:
        folder = self._settings.data / "mps"
        # Below it come 14 bytes for a card's pipe folder, and in that sockets with names of up to 18.
        return folder if short_folder.fits(folder / ("x" * 32)) else short_folder.make(self._settings.data) / "mps"

    def _launcher(self, runtime: str) -> Launcher:
        return self._containers if runtime == CONTAINER else self._processes

    def _lives_here(self, instance_id: str) -> bool:
        instance = self._by_id.get(instance_id)
        return instance is not None and not instance.record.state.is_final


def _is_running(instance: Instance) -> bool:
    return instance.record.pid > 0 and not instance.record.state.is_final


def _subject(instance: Instance) -> Subject:
    spec, record = instance.spec, instance.record
    known = frozenset(instance.launcher.members(instance.place))
    return Subject(spec.instance_id, record.pid, record.start_ticks, spec.cpu, spec.gpu_memory_mib, known)
