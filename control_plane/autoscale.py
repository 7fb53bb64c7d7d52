"""The loop: observe, step, apply. Each second, and at once when requests wait or the registry changed.

What to want is decided in `provision.decide`, what to do about it in `fleet.plan`; here values are fetched for the one
and handed on to the other. A tick reads the clock once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from control_plane.errors import NotFound, StokeError, Unavailable
from control_plane.explain import Explained, History
from control_plane.fleet.keeper import FleetKeeper
from control_plane.fleet.memories import MemoryStore
from control_plane.fleet.placement import Need, Room, room
from control_plane.fleet.plan import Want
from control_plane.fleet.usage import Observation, UsageBook, VersionKey
from control_plane.model import Function, QualifiedFunction, Service
from control_plane.ports import Backend, Clock, Query, Readings, Registry
from control_plane.registry.launching import gpu_memory_mib
from control_plane.registry.routes import on_demand_instances_max
from provision.config import ProvisionConfig
from provision.decide import Decision, Memory, MetricSample, Reading, Seen, step
from provision.together import together
from runtime.contract import InstanceRecord, InstanceSample, InstanceState, Kind, LaunchSpec, NodeInfo

log = logging.getLogger(__name__)

PAGE = 100
NODE_INFO_EVERY_S = 30.0
TIMER_RESOLUTION_S = 1e-3  # a timer may fire this much early

MakeSpec = Callable[[Function, Service, str, str], LaunchSpec]  # function, its service, version, instance id

# What an instance's sample says about which metric of FC's.
SAMPLED = {
    "CPUUtilization": "cpu_utilization",
    "GPUSmUtilization": "gpu_sm_utilization",
    "GPUMemUtilization": "gpu_memory_utilization",
    "GPUEncoderUtilization": "gpu_encoder_utilization",
    "GPUDecoderUtilization": "gpu_decoder_utilization",
}


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things are done, in seconds."""

    tick_s: float = 1.0
    memory_saved_every_s: float = 5.0
    on_demand_idle_s: float = 180.0


@dataclass(slots=True)
class Provisioned:
    """One provision config at work."""

    config: ProvisionConfig
    key: VersionKey
    memory: Memory
    decision: Decision | None = None
    history: History = field(default_factory=History)


@dataclass(slots=True)
class World:
    """The registry as the loop last read it. `functions` is filled as function versions are looked at."""

    provisioned: dict[QualifiedFunction, Provisioned] = field(default_factory=dict)
    by_version: dict[VersionKey, list[QualifiedFunction]] = field(default_factory=dict)
    functions: dict[VersionKey, tuple[Function, Service] | None] = field(default_factory=dict)
    on_demand_max: dict[VersionKey, int | None] = field(default_factory=dict)  # filled with `functions`


class Autoscaler:
    """One loop over all function versions that have a provision config, instances, or requests waiting."""

    def __init__(
        self,
        registry: Registry,
        keeper: FleetKeeper,
        usage: UsageBook,
        backend: Backend,
        memories: MemoryStore,
        clock: Clock,
        make_spec: MakeSpec,
        pace: Pace,
        readings: Readings | None = None,
    ) -> None:
        self._registry = registry
        self._keeper = keeper
        self._usage = usage
        self._backend = backend
        self._memories = memories
        self._clock = clock
        self._make_spec = make_spec
        self._pace = pace
        self._readings = readings or NoReadings()
        self._world = World()
        self._saved: dict[str, str] | None = None  # memories from before a restart, until the first reading
        self._saved_at_s = 0.0
        self._stale = True
        self._urgent: set[VersionKey] = set()
        self._wake = asyncio.Event()
        self.node: NodeInfo | None = None
        self._node_read_at_s = float("-inf")
        self.samples: dict[str, InstanceSample] = {}
        registry.subscribe(self.registry_changed)

    # -- being told -------------------------------------------------------------------------------------------------

    def registry_changed(self) -> None:
        """Read the registry again and look at everything at once."""
        self._stale = True
        self._wake.set()

    def hurry(self, keys: Iterable[VersionKey]) -> None:
        """Look at these function versions at once."""
        self._urgent.update(keys)
        if self._urgent:
            self._wake.set()

    # -- the loop ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tick for ever. An error in one tick is logged and the next one tries again."""
        next_s = self._clock.monotonic_s()
        while True:
            wait_s = next_s - self._clock.monotonic_s()
            if wait_s > 0.0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), wait_s)
            self._wake.clear()
            whole = self._stale or self._clock.monotonic_s() >= next_s - TIMER_RESOLUTION_S
            if whole:
                next_s = self._clock.monotonic_s() + self._pace.tick_s
            urgent, self._urgent = self._urgent, set()
            try:
                await self.tick(None if whole else urgent)
            except Unavailable as error:
                log.warning("autoscale.tick_skipped error=%s", error)
            except Exception:
                log.exception("autoscale.tick_failed")

    async def tick(self, only: set[VersionKey] | None = None) -> None:
        """Decide and settle once: for all function versions, or `only` some. Raises Unavailable."""
        now = self._clock.utc_s()
        if self._stale:
            await self._read_registry()
        if only is None:
            self._usage.forget_silent(now)
            await self._keeper.repair()
            await self._read_node(now)
            keys = {*self._world.by_version, *self._keeper.versions(), *self._usage.waiting()}
        else:
            keys = only
        changed = False
        for key in sorted(keys):
            try:
                changed |= await self._tick_one(key, now)
            except Unavailable:
                raise
            except StokeError as error:  # one function's trouble is not another's
                log.warning("autoscale.function_skipped function=%s error=%s", "/".join(key), error)
        if changed or now - self._saved_at_s >= self._pace.memory_saved_every_s:
            await self._save(now)

    async def _tick_one(self, key: VersionKey, now: float) -> bool:
        found = await self._function(key)
        if found is None:
            await self._keeper.settle(key, Want(now=now, revision=""), _never)
            return False
        function, service = found
        observation = self._usage.observe(key)
        left = self._room(function)
        target, changed = self._decide(key, now, function, observation, left)
        want = Want(
            now=now,
            revision=function.revision,
            slots=function.instance_concurrency,
            provisioned=target,
            queued=observation.queued,
            on_demand_max=on_demand_instances_max(function, self._world.on_demand_max.get(key)),
            on_demand_idle_s=self._pace.on_demand_idle_s,
            launches_max=left.instances,
        )
        await self._keeper.settle(key, want, lambda new_id: self._make_spec(function, service, key[1], new_id))
        return changed

    def _decide(
        self, key: VersionKey, now: float, function: Function, observation: Observation, left: Room
    ) -> tuple[int, bool]:
        """The provisioned target of a function version, and whether a decision changed."""
        decisions, changed = [], False
        for name in self._world.by_version.get(key, ()):
            provisioned = self._world.provisioned[name]
            seen = self._seen(key, now, function, observation, left)
            if readings := self._readings.of(provisioned.config):
                seen = replace(seen, readings=readings)
            provisioned.memory, decision = step(provisioned.config, provisioned.memory, seen)
            before = provisioned.decision
            if before is None or before.target != decision.target:
                changed = True
                log.info(
                    "autoscale.target function=%s target=%d was=%s reasons=%s",
                    name, decision.target, before.target if before else "-", "; ".join(decision.reasons),
                )  # fmt: skip
            provisioned.decision = decision
            provisioned.history.note(provisioned.memory.now, key[1], seen, decision)
            decisions.append(decision)
        return together(decisions), changed

    def _seen(self, key: VersionKey, now: float, function: Function, observation: Observation, left: Room) -> Seen:
        every = self._keeper.records(key)
        records = [r for r in every if r.kind is Kind.PROVISIONED]
        ready = [r for r in records if r.state is InstanceState.READY]
        starting = [r for r in records if r.state in (InstanceState.LAUNCHING, InstanceState.INITIALIZING)]
        return Seen(
            now=now,
            current=len(ready),
            starting=len(starting),
            slots_per_instance=function.instance_concurrency,
            demand=observation.demand,
            demand_peak=observation.demand_peak,
            interval_s=observation.interval_s,
            provisioned_in_flight=observation.provisioned_in_flight,
            arrived=observation.arrived,
            finished=observation.finished,
            queue_wait_s_sum=observation.queue_wait_s_sum,
            waiting=observation.queued,
            samples=tuple(self._metric_samples(ready, function.memory_size)),
            newest_ready_at=max((r.ready_at_s for r in ready), default=None),
            capacity_limit=left.instances + len(self._keeper.units(key)) if self.node else None,
            in_flight=observation.in_flight,
            on_demand=sum(r.kind is Kind.ON_DEMAND and r.state is InstanceState.READY for r in every),
            starting_at=tuple(r.launched_at_s for r in starting),
            launch_s=self._keeper.launch_times.seconds_of(key),
        )

    def _metric_samples(self, records: Iterable[InstanceRecord], memory_mib: int) -> Iterable[MetricSample]:
        for record in records:
            sample = self.samples.get(record.instance_id)
            if sample is None:
                continue
            for metric_type, attribute in SAMPLED.items():
                value = getattr(sample, attribute)
                if value is not None:
                    yield MetricSample(metric_type, record.instance_id, value, sample.at_s)
            if sample.memory_mib is not None and memory_mib > 0:
                used = sample.memory_mib / memory_mib
                yield MetricSample("MemoryUtilization", record.instance_id, used, sample.at_s)

    # -- looking at the machine ---------------------------------------------------------------------------------------

    async def _read_node(self, now: float) -> None:
        if not self._keeper.connected.is_set():
            return
        try:
            if self.node is None or now - self._node_read_at_s >= NODE_INFO_EVERY_S:
                self.node, self._node_read_at_s = await self._backend.info(), now
            if self._keeper.versions():
                self.samples = {sample.instance_id: sample for sample in await self._backend.samples()}
        except Unavailable:
            log.debug("autoscale.node_away")

    def _room(self, function: Function) -> Room:
        if self.node is None:
            return Room(0, "the node cannot be reached")
        taken = []
        for other in self._keeper.versions():
            found = self._world.functions.get(other)
            if found is not None:
                taken += [_need(found[0])] * len(self._keeper.units(other))
        return room(self.node, taken, _need(function))

    def room_error(self, key: VersionKey, target: int) -> str:
        """Why the machine cannot hold `target` instances of a function version; "" if it can."""
        found = self._world.functions.get(key)
        if found is None or self.node is None:
            return ""
        left = self._room(found[0])
        missing = target - len(self._keeper.units(key))
        return (
            f"no room for {missing - left.instances} more instances: {left.limit}" if missing > left.instances else ""
        )

    # -- reading the registry -----------------------------------------------------------------------------------------

    async def _read_registry(self) -> None:
        if self._saved is None:
            self._saved = await self._memories.load()
        self._stale = False  # a change that comes while we read makes it stale again
        try:
            self._world = await self._new_world()
        except BaseException:
            self._stale = True
            raise
        for runtime in {found[0].runtime for found in self._world.functions.values() if found is not None}:
            await self._prepare(runtime)

    async def _new_world(self) -> World:
        world = World()
        by_version: defaultdict[VersionKey, list[QualifiedFunction]] = defaultdict(list)
        token = ""
        while True:
            page = await self._registry.list_provision(Query(limit=PAGE, next_token=token))
            for name, config in page.items:
                try:
                    version = await self._registry.resolve_version(name.service_name, name.qualifier)
                except NotFound:
                    continue
                key = (name.service_name, version, name.function_name)
                world.provisioned[name] = self._provisioned(name, config, key)
                by_version[key].append(name)
            if not (token := page.next_token):
                break
        world.by_version = dict(by_version)
        for key in {*world.by_version, *self._keeper.versions()}:
            await self._read_function(world, key)
        return world

    def _provisioned(self, name: QualifiedFunction, config: ProvisionConfig, key: VersionKey) -> Provisioned:
        before = self._world.provisioned.get(name)
        if before is not None:
            return Provisioned(config, key, before.memory, before.decision, before.history)
        saved = (self._saved or {}).get(str(name))
        return Provisioned(config, key, Memory.from_json(saved) if saved else Memory())

    async def _function(self, key: VersionKey) -> tuple[Function, Service] | None:
        if key not in self._world.functions:
            await self._read_function(self._world, key)
        return self._world.functions[key]

    async def _read_function(self, world: World, key: VersionKey) -> None:
        service, version, name = key
        try:
            function = await self._registry.get_function(service, name, version)
            owner = await self._registry.get_service(service, version)
        except NotFound:
            world.functions[key] = None
            return
        world.on_demand_max[key] = await self._registry.on_demand_max(service, version, name)
        world.functions[key] = function, owner

    async def _prepare(self, runtime: str) -> None:
        try:
            await self._backend.prepare(runtime)
        except StokeError as error:
            log.debug("autoscale.not_prepared runtime=%s error=%s", runtime, error)

    async def _save(self, now: float) -> None:
        self._saved_at_s = now
        await self._memories.save({str(name): p.memory.to_json() for name, p in self._world.provisioned.items()})

    # -- being asked ------------------------------------------------------------------------------------------------

    def decision(self, name: QualifiedFunction, config: ProvisionConfig) -> Decision | None:
        """The newest decision under `config`; None until there was one."""
        provisioned = self._world.provisioned.get(name)
        if provisioned is not None and provisioned.config == config:
            return provisioned.decision
        return None

    def reading_error(self, config: ProvisionConfig) -> str:
        """Why what a config's policies read from elsewhere is not there; "" if it is."""
        return next((reading.error for reading in self._readings.of(config) if reading.error), "")

    def explained(self, name: QualifiedFunction) -> tuple[Explained, ...]:
        """The newest decision and those that differed from the one before them, newest first."""
        provisioned = self._world.provisioned.get(name)
        return provisioned.history.newest_first() if provisioned is not None else ()

    def key_of(self, name: QualifiedFunction) -> VersionKey:
        """The function version that a provision config is about, as last read."""
        provisioned = self._world.provisioned.get(name)
        return provisioned.key if provisioned else (name.service_name, name.qualifier, name.function_name)


class NoReadings:
    """Where nothing is read from elsewhere."""

    def of(self, config: ProvisionConfig) -> tuple[Reading, ...]:  # noqa: ARG002 - whatever it asks for
        return ()


def _need(function: Function) -> Need:
    return Need(function.memory_size, gpu_memory_mib(function))


def _never(_instance_id: str) -> LaunchSpec:
    raise AssertionError("a function that is gone is never launched")
