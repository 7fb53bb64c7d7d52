"""The keeper over a fake backend, in virtual time: launches, failures, drains, crashes and returns."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from control_plane.backends.fake import Behaviour, FakeBackend
from control_plane.errors import PlatformError, Unavailable
from control_plane.fleet.keeper import FleetKeeper, Limits
from control_plane.fleet.plan import Want
from control_plane.fleet.records import MemoryRecordStore
from control_plane.fleet.usage import UsageBook
from runtime.contract import InstanceRecord, InstanceState, UsageReport
from runtime.node_contract import InstanceStatus, LaunchSpec
from tests.support.virtual_time import VirtualClock, in_virtual_time

KEY = ("svc", "LATEST", "f")


def spec(instance_id: str) -> LaunchSpec:
    return LaunchSpec(instance_id, "svc", "f", "LATEST", "r1", "custom")


class BrokenStore(MemoryRecordStore):
    away = False

    async def put(self, records: Iterable[InstanceRecord]) -> None:
        if self.away:
            raise Unavailable("the store is away")
        await super().put(records)


class FullBackend(FakeBackend):
    """One whose disk may be full: it answers, and cannot do what it is asked."""

    is_full = False

    def _check(self) -> None:
        if self.is_full:
            raise PlatformError("the node answered InternalError: the disk is full")

    async def launch(self, spec: LaunchSpec) -> None:
        self._check()
        await super().launch(spec)

    async def stop(self, instance_id: str, grace_s: float) -> None:
        self._check()
        await super().stop(instance_id, grace_s)

    async def list(self) -> Sequence[InstanceStatus]:
        self._check()
        return await super().list()


class Stage:
    """A keeper with everything around it, and words for what happens to it."""

    def __init__(self, backend: FakeBackend | None = None, store: BrokenStore | None = None) -> None:
        self.backend = backend or FakeBackend()
        self.store = store or BrokenStore()
        self.usage = UsageBook()
        self.clock = VirtualClock()
        numbers = itertools.count(1)
        self.keeper = FleetKeeper(
            self.backend, self.store, self.usage, self.clock, lambda: f"i{next(numbers)}", Limits(30.0, 10.0, 16)
        )
        self.following: asyncio.Task[None] | None = None

    async def begin(self) -> Stage:
        await self.keeper.adopt()
        self.following = asyncio.create_task(self.keeper.follow())
        await self.keeper.connected.wait()
        return self

    async def crash(self) -> None:
        """The control plane dies: nothing is told to anybody."""
        assert self.following is not None
        self.following.cancel()
        with suppress(asyncio.CancelledError):
            await self.following
        await self.keeper.close()

    async def settle(self, provisioned: int, *, revision: str = "r1", queued: int = 0) -> None:
        want = Want(now=self.clock.utc_s(), revision=revision, provisioned=provisioned, queued=queued)
        await self.keeper.settle(KEY, want, spec)

    def hear(self, *, drained: Iterable[str] = (), in_flight: dict[str, int] | None = None) -> None:
        self.usage.absorb(UsageReport("g", 1, self.clock.utc_s(), 1.0, [], in_flight or {}, drained=list(drained)))

    def states(self) -> dict[str, str]:
        return {record.instance_id: record.state.value for record in self.keeper.records()}


async def until(condition: Callable[[], bool], timeout_s: float = 1000.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


@in_virtual_time
async def test_launched_instances_become_ready_and_are_recorded_for_the_gateways() -> None:
    stage = await Stage(FakeBackend(behaviour=Behaviour(launch_s=0.1))).begin()
    await stage.settle(2)
    assert stage.states() == {"i1": "LAUNCHING", "i2": "LAUNCHING"}
    await until(lambda: stage.states() == {"i1": "READY", "i2": "READY"})
    assert stage.store.records["i1"].address == "unix:/fake/i1"
    await stage.settle(2)
    assert stage.backend.launched_total == 2


@in_virtual_time
async def test_a_record_is_durable_before_the_backend_hears_of_the_instance() -> None:
    stage = await Stage().begin()
    stage.store.away = True
    with pytest.raises(Unavailable):
        await stage.settle(1)
    await asyncio.sleep(1.0)
    assert stage.backend.launched_total == 0
    assert stage.states() == {}


@in_virtual_time
async def test_failing_launches_back_off_and_say_why_until_one_succeeds() -> None:
    stage = await Stage(FakeBackend(behaviour=Behaviour(fail="exited with 1"))).begin()
    for _ in range(100):  # 10 s of settling, ten times a second
        await stage.settle(3)
        await asyncio.sleep(0.1)
    assert stage.keeper.current_error(KEY) == "exited with 1"
    # Three at once, then one alone after 1 s, 2 s and 4 s.
    assert stage.backend.launched_total == 6
    stage.backend.behaviour = Behaviour()
    await asyncio.sleep(8.0)
    await stage.settle(3)
    await until(lambda: list(stage.states().values()) == ["READY"])
    assert stage.keeper.current_error(KEY) == ""
    await stage.settle(3)
    await until(lambda: len(stage.states()) == 3)


@in_virtual_time
async def test_what_a_launching_instance_waits_for_is_known_and_is_no_error() -> None:
    stage = await Stage(FakeBackend(behaviour=Behaviour(launch_s=10.0))).begin()
    await stage.settle(1)
    await until(lambda: "i1" in stage.backend.statuses)
    for progress in ("pulling image 'i'", "pulling image 'i': 1.0 of 2.0 MiB", ""):
        stage.backend.become("i1", InstanceState.LAUNCHING, progress)
        await until(lambda: stage.keeper.records(KEY)[0].reason == progress)  # noqa: B023 - asked before it changes
        assert stage.keeper.current_error(KEY) == ""
    stage.backend.become("i1", InstanceState.LAUNCHING, "pulling image 'i'")
    await until(lambda: stage.states() == {"i1": "READY"})
    assert stage.keeper.records(KEY)[0].reason == ""


@in_virtual_time
async def test_a_refused_launch_says_why() -> None:
    stage = await Stage(FakeBackend(behaviour=Behaviour(refuse="no container engine"))).begin()
    await stage.settle(1)
    await until(lambda: stage.keeper.current_error(KEY) == "no container engine")
    assert stage.states() == {}


@pytest.mark.parametrize("behaviour", [Behaviour(refuse="it cannot be"), Behaviour(launch_s=0.1, fail="exited")])
def test_a_revision_that_cannot_be_launched_leaves_the_older_one_serving(behaviour: Behaviour) -> None:
    @in_virtual_time
    async def story() -> None:
        stage = await Stage().begin()
        await stage.settle(3)
        await until(lambda: list(stage.states().values()) == ["READY"] * 3)
        stage.backend.behaviour = behaviour
        for _ in range(100):
            await stage.keeper.settle(KEY, Want(now=stage.clock.utc_s(), revision="r2", provisioned=3), newer)
            await asyncio.sleep(0.1)
            ready = [record for record in stage.keeper.records(KEY) if record.state is InstanceState.READY]
            assert [record.revision for record in ready] == ["r1"] * 3
        assert stage.keeper.current_error(KEY) in (behaviour.refuse, behaviour.fail)

    story()


def newer(instance_id: str) -> LaunchSpec:
    return replace(spec(instance_id), revision="r2")


@in_virtual_time
async def test_a_healthy_instance_that_dies_is_replaced_at_once() -> None:
    stage = await Stage().begin()
    await stage.settle(1)
    await until(lambda: stage.states() == {"i1": "READY"})
    await asyncio.sleep(60.0)
    stage.backend.become("i1", InstanceState.FAILED, "killed by SIGKILL")
    await until(lambda: stage.states() == {})
    await stage.settle(1)
    await until(lambda: stage.states() == {"i2": "READY"})
    assert "i1" not in stage.backend.statuses, "what has ended is forgotten"


@in_virtual_time
async def test_a_draining_instance_is_stopped_only_when_the_gateways_have_let_go() -> None:
    stage = await Stage().begin()
    await stage.settle(1)
    await until(lambda: stage.states() == {"i1": "READY"})
    stage.hear(in_flight={"i1": 1})
    await stage.settle(0)
    await asyncio.sleep(5.0)
    assert stage.states() == {"i1": "DRAINING"}
    assert stage.store.records["i1"].state is InstanceState.DRAINING
    stage.hear(drained=["i1"])
    await until(lambda: stage.states() == {}, timeout_s=1.0)


@in_virtual_time
async def test_a_drain_ends_after_its_timeout_even_if_a_request_never_does() -> None:
    stage = await Stage().begin()
    await stage.settle(1)
    await until(lambda: stage.states() == {"i1": "READY"})
    stage.hear(in_flight={"i1": 1})
    await stage.settle(0)
    await asyncio.sleep(29.0)
    assert stage.states() == {"i1": "DRAINING"}
    await until(lambda: stage.states() == {}, timeout_s=2.0)


@in_virtual_time
async def test_a_new_control_plane_adopts_what_lives_and_relaunches_nothing() -> None:
    first = await Stage().begin()
    await first.settle(3)
    await until(lambda: list(first.states().values()) == ["READY"] * 3)
    await first.crash()
    second = await Stage(first.backend, first.store).begin()
    await second.settle(3)
    assert second.states() == {"i1": "READY", "i2": "READY", "i3": "READY"}
    assert second.backend.launched_total == 3


@in_virtual_time
async def test_what_died_while_no_control_plane_ran_is_found_on_return() -> None:
    first = await Stage().begin()
    await first.settle(2)
    await until(lambda: list(first.states().values()) == ["READY"] * 2)
    await first.crash()
    first.backend.become("i1", InstanceState.FAILED, "killed")
    del first.backend.statuses["i2"]
    second = await Stage(first.backend, first.store).begin()
    assert second.states() == {}
    assert second.store.records == {}


@in_virtual_time
async def test_an_instance_without_a_record_is_stopped() -> None:
    backend = FakeBackend()
    await backend.launch(spec("stray"))
    await Stage(backend).begin()
    await until(lambda: backend.statuses == {})


@in_virtual_time
async def test_a_drain_that_a_crash_cut_short_is_finished_by_the_next_control_plane() -> None:
    first = await Stage().begin()
    await first.settle(1)
    await until(lambda: first.states() == {"i1": "READY"})
    first.hear(in_flight={"i1": 1})
    await first.settle(0)
    await first.crash()
    second = await Stage(first.backend, first.store).begin()
    assert second.states() == {"i1": "DRAINING"}
    second.hear(drained=["i1"])
    await until(lambda: second.states() == {}, timeout_s=1.0)


@in_virtual_time
async def test_a_backend_that_goes_and_comes_back_changes_nothing() -> None:
    stage = await Stage().begin()
    await stage.settle(2)
    await until(lambda: list(stage.states().values()) == ["READY"] * 2)
    stage.backend.go_away()
    await until(lambda: not stage.keeper.connected.is_set())
    await stage.settle(5)
    assert len(stage.states()) == 2, "nothing is launched towards a backend that is away"
    stage.backend.come_back()
    await stage.keeper.connected.wait()
    assert stage.states() == {"i1": "READY", "i2": "READY"}


@in_virtual_time
async def test_a_label_changed_while_an_instance_starts_survives_its_readiness() -> None:
    stage = await Stage(FakeBackend(behaviour=Behaviour(launch_s=1.0))).begin()
    await stage.settle(0, queued=1)
    assert stage.keeper.records()[0].kind.value == "on-demand"
    await stage.settle(1, queued=1)
    await until(lambda: stage.states() == {"i1": "READY"})
    assert stage.store.records["i1"].kind.value == "provisioned"


@in_virtual_time
async def test_the_launch_time_is_measured_and_known_again_after_a_restart() -> None:
    first = await Stage(FakeBackend(behaviour=Behaviour(launch_s=2.5))).begin()
    assert first.keeper.launch_times.seconds_of(KEY) is None
    await first.settle(3)
    await until(lambda: list(first.states().values()) == ["READY"] * 3)
    assert first.keeper.launch_times.seconds_of(KEY) == pytest.approx(2.5, abs=0.1)
    await first.crash()
    second = await Stage(first.backend, first.store).begin()
    assert second.keeper.launch_times.seconds_of(KEY) == pytest.approx(2.5, abs=0.1)


@in_virtual_time
async def test_a_launch_that_the_backend_could_not_carry_out_has_failed_and_is_tried_again() -> None:
    backend = FullBackend()
    stage = await Stage(backend).begin()
    backend.is_full = True
    await stage.settle(1)
    await until(lambda: not stage.states())
    assert "the disk is full" in stage.keeper.current_error(KEY)
    backend.is_full = False
    while "READY" not in stage.states().values():
        await stage.settle(1)
        await asyncio.sleep(0.1)


@in_virtual_time
async def test_a_drain_and_the_following_go_on_after_the_backend_could_not_do_what_was_asked() -> None:
    backend = FullBackend()
    stage = await Stage(backend).begin()
    await stage.settle(1)
    await until(lambda: stage.states() == {"i1": "READY"})
    backend.is_full = True
    await stage.settle(0)
    stage.hear(drained=["i1"])
    await asyncio.sleep(5.0)
    assert stage.states() == {"i1": "DRAINING"}
    backend.is_full = False
    await until(lambda: not stage.states())
    assert stage.following is not None
    assert not stage.following.done()
    stage.following.cancel()
    backend.is_full = True
    stage.following = asyncio.create_task(stage.keeper.follow())
    await asyncio.sleep(5.0)
    backend.is_full = False
    assert not stage.following.done()
