"""The loop: observe, step, apply. Each second, and at once when requests wait or the registry changed.

What to want is decided in `provision.decide`, what to do about it in `fleet.plan`; here values are fetched for the one
and handed on to the other. A tick reads the clock once, and looks only at what is not at rest: see `fleet.attention`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from control_plane import world as worlds
from control_plane.asking import Asked, Step, decided, find_places, target
from control_plane.errors import StokeError, Unavailable
from control_plane.explain import Explained
from control_plane.fleet.attention import Attention
from control_plane.fleet.capacity import Capacity
from control_plane.fleet.gauges import metric_samples
from control_plane.fleet.keeper import FleetKeeper
from control_plane.fleet.memories import MemoryBook, MemoryStore
from control_plane.fleet.placement import Placed, Rule
from control_plane.fleet.plan import Want
from control_plane.fleet.usage import Observation, UsageBook
from control_plane.model import Function, QualifiedFunction, Service
from control_plane.ports import Backend, Clock, Readings, Registry
from control_plane.registry.routes import on_demand_instances_max
from control_plane.trouble import TroubleOf
from control_plane.world import World
from provision.config import ProvisionConfig
from provision.decide import Decision, Reading, Seen
from provision.quiet import Silence, quiet_until
from runtime.contract import VersionKey
from runtime.node_contract import InstanceSample, LaunchSpec

log = logging.getLogger(__name__)

DEFAULT_RULE = Rule()

NODE_INFO_EVERY_S = 30.0  # and with every tick where there are devices: one may have failed
TIMER_RESOLUTION_S = 1e-3  # a timer may fire this much early

MakeSpec = Callable[[Function, Service, str, str], LaunchSpec]  # function, its service, version, instance id


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things are done, in seconds."""

    tick_s: float = 1.0
    memory_saved_every_s: float = 5.0
    on_demand_idle_s: float = 180.0


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
        on_change: Callable[[QualifiedFunction, Explained], None] = lambda _name, _explained: None,
        rule: Rule = DEFAULT_RULE,
    ) -> None:
        self._registry = registry
        self._keeper = keeper
        self._usage = usage
        self._backend = backend
        self._clock = clock
        self._make_spec = make_spec
        self._pace = pace
        self._readings = readings  # None: nothing is read from elsewhere
        self._on_change = on_change
        self._world = World()
        self._attention = Attention()
        self._silence = Silence()
        self.capacity = Capacity(rule, keeper.table)
        self._memories: MemoryBook[QualifiedFunction] = MemoryBook(memories, pace.memory_saved_every_s, pace.tick_s)
        self._stale: worlds.Services = None  # what is to be read of the registry; at first all
        self._urgent: set[VersionKey] = set()
        self._alarm = asyncio.Event()
        self._node_read_at_s = float("-inf")
        self.samples: dict[str, InstanceSample] = {}
        registry.subscribe(self.registry_changed)

    # -- being told -------------------------------------------------------------------------------------------------

    def registry_changed(self, services: frozenset[str]) -> None:
        """Read of the registry what has changed, and look at it at once."""
        if services and self._stale is not None:
            self._stale |= services
        self._alarm.set()

    def read_everything(self) -> None:
        """What has changed in the registry is not known."""
        self._stale = None
        self._alarm.set()

    def hurry(self, keys: Iterable[VersionKey]) -> None:
        """Look at these function versions at once."""
        urgent = set(keys)
        self._wake(urgent)
        self._urgent |= urgent
        if urgent:
            self._alarm.set()

    # -- the loop ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tick for ever. An error in one tick is logged and the next one tries again."""
        next_s = self._clock.monotonic_s()
        while True:
            wait_s = next_s - self._clock.monotonic_s()
            if wait_s > 0.0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._alarm.wait(), wait_s)
            self._alarm.clear()
            whole = self._stale is None or bool(self._stale) or self._clock.monotonic_s() >= next_s - TIMER_RESOLUTION_S
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
        self._wake({*self._usage.touched(), *(only or ())})
        if only is None:
            self._wake_rested(self._attention.wake_due(now))
            self._silence.passed(now, self._usage.pass_time())
            self._usage.forget_silent(now)
        if self._stale is None or self._stale:
            await self._read_registry()
        if only is None:
            await self._keeper.repair()
            await self._read_node(now)
        elif self._keeper.holdings.doubted:
            await self._read_info(now)
        changed: set[QualifiedFunction] = set()
        keys = sorted(self._attention.awake if only is None else only, key=self.capacity.turn)
        # Where there are devices, all is asked for before any of it gets a place: what is known beforehand fits better.
        for turn in [keys] if self.capacity.has_devices else [[key] for key in keys]:
            changed |= await self._take_turn(turn, now, whole=only is None)
        await self._memories.save(now, changed, lambda name: self._world.provisioned[name].memory.to_json())

    async def _take_turn(self, keys: Iterable[VersionKey], now: float, *, whole: bool) -> set[QualifiedFunction]:
        """Decide for some function versions, then settle them; gives those whose decision changed."""
        asked: list[Asked] = []
        for key in keys:
            with TroubleOf(key):
                await self._ask(key, now, asked)
        find_places(asked, self.capacity, self._keeper.launches)
        changed: set[QualifiedFunction] = set()
        for one in asked:
            with TroubleOf(one.key):
                changed |= self._hold_true(one)
                await self._settle(one, whole=whole)
        return changed

    async def _ask(self, key: VersionKey, now: float, asked: list[Asked]) -> None:
        found = await self._function(key)
        if found is None:
            await self._keeper.settle(key, Want(now=now, revision=""), _never)
            if not self._keeper.records(key):
                self._attention.forget(key)
            return
        function, service = found
        observation = self._usage.observe(key)
        left = self.capacity.left(key)
        steps = self._decide(key, now, function, observation, left)
        want = Want(
            now=now,
            revision=self._world.revision(key, function, service),
            slots=function.instance_concurrency,
            provisioned=target(steps),
            queued=observation.queued,
            on_demand_max=on_demand_instances_max(function, self._world.on_demand_max.get(key)),
            on_demand_idle_s=self._pace.on_demand_idle_s,
            launches_max=left,
        )
        asked.append(Asked(key, function, service, observation, steps, want))

    async def _settle(self, one: Asked, *, whole: bool) -> None:
        idle_mode = self._world.idle_mode(one.key)

        def make_spec(new_id: str) -> LaunchSpec:
            spec = self._make_spec(one.function, one.service, one.key[1], new_id)
            return replace(spec, idle_mode=True) if idle_mode else spec

        def places(count: int) -> list[Placed]:
            if one.places is None:
                return self.capacity.places(one.key, count)
            return self.capacity.still(one.key, one.places[:count])

        done = await self._keeper.settle(one.key, one.want, make_spec, places)
        if whole and not done and not done.held:
            self._rest(one.key, one.want, one.observation)

    # -- who is looked at -------------------------------------------------------------------------------------------

    def _wake(self, keys: Iterable[VersionKey]) -> None:
        self._wake_rested(self._attention.wake(keys))

    def _wake_rested(self, keys: Iterable[VersionKey]) -> None:
        """As if each of them had been looked at in every tick since its rest began."""
        for key in keys:
            self._usage.resume(key)
            for name in self._world.by_version.get(key, ()):
                one = self._world.provisioned[name]
                one.memory = self._silence.make_up(one.config, one.memory, one.slots)

    def _rest(self, key: VersionKey, want: Want, observation: Observation) -> None:
        """Leave a function version alone while nothing can come of looking: nothing was asked of it, and what there
        is is what should be."""
        if observation.demand_peak or observation.demand or observation.queued or observation.in_flight:
            return
        there = self._keeper.table.census(key)
        names = self._world.by_version.get(key, ())
        if not names and not self._keeper.records(key):
            self._attention.forget(key)
            return
        if there.starting or there.on_demand_starting or there.provisioned != want.provisioned:
            return
        if self._keeper.is_off_pools(key, want):
            return
        if not there.revisions <= {want.revision} or not self._usage.is_even(key):
            return
        until = self._keeper.idle_until(key, want) if there.on_demand else math.inf
        for name in names:
            one = self._world.provisioned[name]
            quiet = None if one.decision is None else quiet_until(one.config, one.memory, one.decision)
            if quiet is None:
                return
            until = min(until, quiet)
        self._attention.rest(key, until)

    def _decide(self, key: VersionKey, now: float, function: Function, asked: Observation, left: int) -> list[Step]:
        """What each of a function version's configs comes to, with room for `left` more instances."""
        steps = []
        for name in self._world.by_version.get(key, ()):
            provisioned = self._world.provisioned[name]
            seen = self._seen(key, now, function, asked, left)
            if readings := self._read(provisioned.config):
                seen = replace(seen, readings=readings)
            steps.append(decided(name, provisioned, seen))
        return steps

    def _hold_true(self, one: Asked) -> set[QualifiedFunction]:
        """Whose decision changed."""
        changed = set()
        for step in one.steps:
            before = step.provisioned.decision
            if before is None or before.target != step.decision.target:
                changed.add(step.name)
                log.info(
                    "autoscale.target function=%s target=%d was=%s reasons=%s", step.name, step.decision.target,
                    before.target if before else "-", "; ".join(step.decision.reasons),
                )  # fmt: skip
            self._memories.changed(step.name, one.want.now)
            if (change := step.hold_true(one.key[1])) is not None:
                self._on_change(step.name, change)
        return changed

    def _seen(self, key: VersionKey, now: float, function: Function, observation: Observation, left: int) -> Seen:
        there = self._keeper.table.census(key)
        return Seen(
            now=now,
            current=there.ready,
            starting=there.starting,
            slots_per_instance=function.instance_concurrency,
            demand=observation.demand,
            demand_peak=observation.demand_peak,
            interval_s=observation.interval_s,
            provisioned_in_flight=observation.provisioned_in_flight,
            arrived=observation.arrived,
            finished=observation.finished,
            queue_wait_s_sum=observation.queue_wait_s_sum,
            waiting=observation.queued,
            pressed=observation.pressed,
            samples=tuple(metric_samples(self._keeper.records(key), self.samples, function.memory_size))
            if key in self._world.sampled
            else (),
            newest_ready_at=there.newest_ready_at,
            capacity_limit=left + there.live if self.capacity.info else None,
            in_flight=observation.in_flight,
            on_demand=there.on_demand - there.on_demand_starting,
            starting_at=there.starting_at,
            launch_s=self._keeper.launch_times.seconds_of(key),
        )

    # -- looking at the machine ---------------------------------------------------------------------------------------

    async def _read_node(self, now: float) -> None:
        if not self._keeper.connected.is_set():
            return
        try:
            if self.capacity.has_devices or now - self._node_read_at_s >= NODE_INFO_EVERY_S:
                await self._read_info(now)
            if self._keeper.table:
                self._sampled(await self._backend.samples())
        except Unavailable:
            log.debug("autoscale.node_away")

    async def _read_info(self, now: float) -> None:
        self._keeper.holdings.doubted = False
        with contextlib.suppress(Unavailable):
            self.capacity.read(await self._backend.info())
            self._node_read_at_s = now

    def _sampled(self, samples: Iterable[InstanceSample]) -> None:
        before, self.samples = self.samples, {sample.instance_id: sample for sample in samples}
        if not self._world.sampled:
            return
        for instance_id, sample in self.samples.items():
            if (old := before.get(instance_id)) is None or old.at_s != sample.at_s:
                key = self._keeper.table.version_of(instance_id)
                if key is not None and key in self._world.sampled:
                    self._wake([key])

    # -- reading the registry -----------------------------------------------------------------------------------------

    async def _read_registry(self) -> None:
        await self._memories.load()
        stale, self._stale = self._stale, frozenset()  # a change that comes while we read makes it stale again
        try:
            found = await worlds.read(self._registry, stale, self._keeper.table.versions())
        except BaseException:
            self._stale = None if stale is None else stale | self._stale
            raise
        changed = worlds.changed(self._world, found, stale)
        self._wake(changed)  # by what was known so far
        self._memories.forget(worlds.gone(self._world, found, stale))
        self._world = worlds.renewed(self._world, found, stale, self._memories.take(found.configs))
        self._know(changed)
        for runtime in {found[0].runtime for found in self._world.functions.values() if found is not None}:
            await self._prepare(runtime)

    async def _function(self, key: VersionKey) -> tuple[Function, Service] | None:
        world = self._world
        if key not in world.functions:
            world.functions[key], world.on_demand_max[key] = await worlds.read_function(self._registry, key)
            self._know([key])
        return world.functions[key]

    def _know(self, keys: Iterable[VersionKey]) -> None:
        for key in keys:
            found = self._world.functions.get(key)
            self.capacity.know(key, found and found[0])

    async def _prepare(self, runtime: str) -> None:
        try:
            await self._backend.prepare(runtime)
        except StokeError as error:
            log.debug("autoscale.not_prepared runtime=%s error=%s", runtime, error)

    # -- being asked ------------------------------------------------------------------------------------------------

    def decision(self, name: QualifiedFunction, config: ProvisionConfig) -> Decision | None:
        """The newest decision under `config`; None until there was one."""
        provisioned = self._world.provisioned.get(name)
        if provisioned is not None and provisioned.config == config:
            return provisioned.decision
        return None

    def reading_error(self, config: ProvisionConfig) -> str:
        """Why what a config's policies read from elsewhere is not there; "" if it is."""
        return next((reading.error for reading in self._read(config) if reading.error), "")

    def _read(self, config: ProvisionConfig) -> tuple[Reading, ...]:
        return () if self._readings is None else self._readings.of(config)

    def explained(self, name: QualifiedFunction) -> tuple[Explained, ...]:
        """The newest decision and those that differed from the one before them, newest first."""
        provisioned = self._world.provisioned.get(name)
        return provisioned.history.newest_first() if provisioned is not None else ()

    def key_of(self, name: QualifiedFunction) -> VersionKey:
        """The function version that a provision config is about, as last read."""
        provisioned = self._world.provisioned.get(name)
        return provisioned.key if provisioned else (name.service_name, name.qualifier, name.function_name)


def _never(_instance_id: str) -> LaunchSpec:
    raise AssertionError("a function that is gone is never launched")
