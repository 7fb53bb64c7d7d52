"""A backend without processes: instances are rows in a table, and tests decide what becomes of them.

It keeps the same promises as the real ones and passes the same suite; simulations use it too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

from control_plane.backends.watchers import Watchers
from control_plane.errors import LaunchRefused, NoRoom, NotFound, Unavailable
from runtime.contract import InstanceState
from runtime.node_contract import InstanceSample, InstanceStatus, LaunchSpec, NodeInfo


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How launches go, in seconds of the running loop. `refuse` and `fail` are the reasons, "" = it goes well."""

    accept_s: float = 0.0  # until a launch has arrived; it does, even if the caller is gone by then
    launch_s: float = 0.0
    initialize_s: float = 0.0
    stop_s: float = 0.0
    refuse: str = ""
    fail: str = ""


class FakeBackend:
    """Fills `ports.Backend`. `behaviour` may be changed at any time; it counts for launches from then on."""

    def __init__(
        self,
        *,
        memory_mib: int = 64 * 1024,
        behaviour: Behaviour | None = None,
        gpus: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.memory_mib = memory_mib
        self.gpus = list(gpus)  # as in NodeInfo
        self.specs: dict[str, LaunchSpec] = {}
        self.statuses: dict[str, InstanceStatus] = {}
        self.readings: dict[str, InstanceSample] = {}
        self.away = False
        self.pools_out: set[str] = set()  # pools without room
        self.launched_total = 0
        self._watchers = Watchers()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- the port -----------------------------------------------------------------------------------------------------

    async def info(self) -> NodeInfo:
        self._reach()
        runtimes = ["python", "custom", "custom-container"]
        return NodeInfo("fake", 0, self.memory_mib, 64.0, gpus=list(self.gpus), runtimes=runtimes)

    async def prepare(self, runtime: str) -> None:
        self._reach()

    async def launch(self, spec: LaunchSpec) -> None:
        self._reach()
        if spec.instance_id in self.statuses:
            return
        if not spec.runtime.startswith(("python", "custom")):
            raise LaunchRefused(f"runtime '{spec.runtime}' is not known here; allowed: python3.<minor>, custom")
        if self.behaviour.refuse:
            raise LaunchRefused(self.behaviour.refuse)
        if spec.pool in self.pools_out:
            raise NoRoom(f"pool '{spec.pool}' has no machine")
        await asyncio.shield(self._spawn(self._accept(spec, self.behaviour)))

    async def _accept(self, spec: LaunchSpec, behaviour: Behaviour) -> None:
        await asyncio.sleep(behaviour.accept_s)
        self.launched_total += 1
        self.specs[spec.instance_id] = spec
        self.become(spec.instance_id, InstanceState.LAUNCHING)
        self._spawn(self._live(spec, behaviour))

    async def stop(self, instance_id: str, grace_s: float) -> None:
        self._reach()
        status = self.statuses.get(instance_id)
        if status is None or status.state.is_final:
            return
        await asyncio.sleep(self.behaviour.stop_s)
        self.become(instance_id, InstanceState.STOPPED)

    async def forget(self, instance_id: str) -> None:
        self._reach()
        if instance_id in self.statuses and self.statuses[instance_id].state.is_final:
            del self.statuses[instance_id]

    async def list(self) -> Sequence[InstanceStatus]:
        self._reach()
        return tuple(self.statuses.values())

    async def watch(self) -> AsyncIterator[InstanceStatus]:
        self._reach()
        with self._watchers.joined(self.statuses.values()) as told:
            while (status_or_end := await told.get()) is not None:
                yield status_or_end
        raise Unavailable("the fake backend is away")

    async def samples(self) -> Sequence[InstanceSample]:
        self._reach()
        return [reading for i, reading in self.readings.items() if i in self.statuses]

    async def logs(self, instance_id: str, *, tail_bytes: int, follow: bool) -> AsyncIterator[bytes]:
        if instance_id not in self.specs:
            raise NotFound("Instance", f"instance '{instance_id}' does not exist")
        yield b"fake output\n"

    # -- for tests ----------------------------------------------------------------------------------------------------

    def become(self, instance_id: str, state: InstanceState, reason: str = "") -> None:
        """Move an instance to a state, and tell who watches."""
        before = self.statuses.get(instance_id, InstanceStatus(instance_id, InstanceState.LAUNCHING))
        status = replace(
            before, state=state, reason=reason, is_unplaced=False, address=f"unix:/fake/{instance_id}", pid=1
        )
        self._tell(status)

    def give_notice(self, instance_id: str, at_s: float) -> None:
        """Say that an instance's machine will be taken away then, UTC seconds; the test does so."""
        self._tell(replace(self.statuses[instance_id], reclaim_at_s=at_s))

    def find_no_machine(self, instance_id: str, reason: str) -> None:
        """Say that an instance that is LAUNCHING waits for a machine."""
        self._tell(replace(self.statuses[instance_id], is_unplaced=True, reason=reason))

    def go_away(self) -> None:
        """Break every watch; calls raise Unavailable until `come_back`."""
        self.away = True
        self._watchers.cut_off()

    def come_back(self) -> None:
        self.away = False

    async def _live(self, spec: LaunchSpec, behaviour: Behaviour) -> None:
        await asyncio.sleep(behaviour.launch_s)
        if behaviour.fail:
            return self._advance(spec.instance_id, InstanceState.FAILED, behaviour.fail)
        if spec.initializer:
            self._advance(spec.instance_id, InstanceState.INITIALIZING)
            await asyncio.sleep(behaviour.initialize_s)
        return self._advance(spec.instance_id, InstanceState.READY)

    def _advance(self, instance_id: str, state: InstanceState, reason: str = "") -> None:
        status = self.statuses.get(instance_id)
        if status is not None and not status.state.is_final:
            self.become(instance_id, state, reason)

    def _tell(self, status: InstanceStatus) -> None:
        self.statuses[status.instance_id] = status
        self._watchers.tell(status)

    def _reach(self) -> None:
        if self.away:
            raise Unavailable("the fake backend is away")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
