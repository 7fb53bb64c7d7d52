"""Metering between records, reports and a store that is away, or answers and is not heard."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from control_plane.errors import Unavailable
from control_plane.fleet.records import MemoryRecordStore
from control_plane.metering.book import UsageAccounts
from control_plane.metering.meter import Amounts, Batch, Size
from control_plane.metering.records import MeteredRecords
from control_plane.metering.store import By, Counted, Kept
from control_plane.model import Function, Service
from control_plane.registry.memory import MemoryRegistry
from runtime.contract import InstanceRecord, InstanceState, Kind, UsageReport, VersionKey
from runtime.node_contract import LaunchSpec
from tests.support.virtual_time import VirtualClock, in_virtual_time

KEY = ("svc", "LATEST", "f")


class FakeStore:
    """What the script in Redis does, in memory. `away`: not reached; `deaf`: it writes, and its answer is lost."""

    def __init__(self) -> None:
        self.kept = Kept()
        self.away = self.deaf = False
        self.until_ms: dict[int, int] = {}
        self.sizes: dict[tuple[VersionKey, str], Size] = {}
        self.counted = Counted()
        self.entries: list[bytes] = []

    async def load(self) -> tuple[dict[int, int], dict[tuple[VersionKey, str], Size]]:
        return dict(self.until_ms), dict(self.sizes)

    async def write(self, shard: int, batch: Batch) -> int | None:
        if self.away:
            raise Unavailable("the store is away")
        if batch.until_ms != (until_ms := self.until_ms.get(shard)):
            if batch.from_ms != until_ms:
                return until_ms
            self.until_ms[shard] = batch.until_ms
            for line, used in batch.lines.items():
                self.counted.lines[line] = self.counted.lines.get(line, Amounts()).plus(used)
            for at, most in batch.peaks.items():
                self.counted.peaks[at] = max(most, self.counted.peaks.get(at, 0))
            for at, first_ms in batch.firsts_ms.items():
                self.counted.firsts_ms.setdefault(at, first_ms)
            self.sizes |= batch.sizes
            self.entries += [text.encode() for text in batch.entries.values()]
        if self.deaf:
            raise Unavailable("no answer in time")
        return None

    async def read(self, by: By, since_s: float, until_s: float, wanted: VersionKey) -> Counted:
        return self.counted

    async def recorded(self, key: VersionKey, since_s: float) -> list[bytes]:
        return self.entries


class Scene:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.store = FakeStore()
        self.registry = MemoryRegistry(utc_s=self.clock.utc_s)
        self.records = MemoryRecordStore()

    async def begin(self) -> None:
        """A control plane that has just started, on what is there."""
        self.accounts = UsageAccounts(self.store, self.registry, self.clock, None, 5.0)  # type: ignore[arg-type]
        await self.accounts.load()
        self.metered = MeteredRecords(self.records, self.accounts, self.clock.utc_s)
        await self.metered.load()

    async def launch(self, instance_id: str) -> None:
        now_s = self.clock.utc_s()
        await self.metered.put(
            [
                InstanceRecord(
                    instance_id, "svc", "f", "LATEST", "r", Kind.PROVISIONED, InstanceState.LAUNCHING, 1, "local",
                    launched_at_s=now_s,
                )
            ]
        )  # fmt: skip
        self.accounts.launching(
            LaunchSpec(instance_id, "svc", "f", "LATEST", "r", "custom", memory_mib=512, gpu_memory_mib=2048)
        )

    def served(self, requests: int) -> None:
        usage = {"service": "svc", "function": "f", "version": "LATEST", "in_flight": 0, "in_flight_on_demand": 0}
        usage |= {"queued": 0, "demand_request_seconds": 0.0, "provisioned_request_seconds": 0.0, "demand_peak": 0}
        usage |= {"served_provisioned": requests, "service_s_sum": 0.5 * requests}
        self.accounts.heard(UsageReport("g", 1, self.clock.utc_s(), 1.0, [usage]))

    async def total(self) -> dict[str, Any]:
        now_s = self.clock.utc_s()
        total: dict[str, Any] = (await self.accounts.usage("hour", now_s - 60.0, now_s, ("", "", "")))["total"]
        return total


@in_virtual_time
async def test_what_was_used_is_told_up_to_this_moment() -> None:
    scene = Scene()
    await scene.begin()
    await scene.launch("i1")
    await scene.clock.sleep(12.5)
    scene.served(3)
    total = await scene.total()
    assert (total["instance_seconds"], total["requests"]) == (pytest.approx(12.5, abs=0.01), 3)
    assert total["gpu_memory_mb_seconds"] == pytest.approx(total["instance_seconds"] * 2048)


@in_virtual_time
async def test_a_write_whose_answer_was_lost_counts_once() -> None:
    scene = Scene()
    await scene.begin()
    scene.served(2)
    scene.store.deaf = True
    with pytest.raises(Unavailable):
        await scene.accounts.flush()
    await scene.clock.sleep(1.0)
    scene.served(5)
    scene.store.deaf = False
    assert (await scene.total())["requests"] == 7


@in_virtual_time
async def test_while_the_store_is_away_everything_is_kept() -> None:
    scene = Scene()
    await scene.begin()
    scene.store.away = True
    for _ in range(3):
        await scene.clock.sleep(1.0)
        scene.served(1)
        with pytest.raises(Unavailable):
            await scene.accounts.flush()
    await scene.clock.sleep(1.0)
    scene.store.away = False
    assert (await scene.total())["requests"] == 3


@in_virtual_time
async def test_a_new_control_plane_counts_on_with_the_size_that_was_noted() -> None:
    scene = Scene()
    await scene.begin()
    await scene.launch("i1")
    await scene.clock.sleep(5.0)
    await scene.accounts.flush()
    await scene.clock.sleep(30.0)
    await scene.begin()
    total = await scene.total()
    assert total["instance_seconds"] == pytest.approx(35.0, abs=0.01)
    assert total["memory_mb_seconds"] == pytest.approx(35.0 * 512, abs=10.0)


@in_virtual_time
async def test_a_size_that_nobody_noted_is_looked_up() -> None:
    scene = Scene()
    await scene.registry.create_service(Service(service_name="svc"))
    function = {"serviceName": "svc", "functionName": "f", "runtime": "custom", "memorySize": 1024, "cpu": 0.5}
    await scene.registry.create_function(Function.model_validate(function))
    await scene.begin()
    await scene.launch("i1")
    await scene.begin()
    await scene.clock.sleep(10.0)
    total = await scene.total()
    assert total["vcpu_seconds"] == pytest.approx(5.0, abs=0.01)
    assert total["memory_mb_seconds"] == pytest.approx(10_240.0, abs=10.0)


@in_virtual_time
async def test_of_two_control_planes_one_counts_a_moment() -> None:
    scene = Scene()
    await scene.begin()
    await scene.launch("i1")
    first = scene.accounts
    await scene.begin()
    for _ in range(4):
        await scene.clock.sleep(5.0)
        await first.flush()
        await scene.accounts.flush()
    counted = scene.store.counted.lines
    assert sum(used.instance_ms for used in counted.values()) == pytest.approx(20_000, abs=5100)


@in_virtual_time
async def test_recorded_usage_has_arrivals_service_and_launch_times() -> None:
    scene = Scene()
    await scene.begin()
    await scene.launch("i1")
    await scene.clock.sleep(0.5)
    launched = scene.records.records["i1"]
    ready = replace(launched, state=InstanceState.READY, ready_at_s=scene.clock.utc_s())
    await scene.metered.put([ready])
    await scene.metered.put([ready])
    scene.served(2)
    now_s = scene.clock.utc_s()
    found = await scene.accounts.recorded(KEY, now_s - 10.0, now_s)
    assert found.launch_s == pytest.approx(0.5)
    assert [row.service_s for row in found.rows if row.service_s] == [pytest.approx(0.5)]
    assert sum(row.launch_s is not None for row in found.rows) == 1


@in_virtual_time
async def test_a_static_peak_lasts_as_long_as_the_whole_hours_that_are_told_of() -> None:
    """Half an hour is asked for and its whole hour is told, so the static peak beside it has the whole hour, too."""
    scene = Scene()
    await scene.begin()
    await scene.launch("i1")
    launched_s = scene.clock.utc_s()
    hour_ends_s = launched_s // 3600.0 * 3600.0 + 3600.0
    await scene.clock.sleep(hour_ends_s - launched_s)
    await scene.metered.remove(["i1"])
    await scene.clock.sleep(5.0)
    await scene.accounts.flush()
    found = await scene.accounts.usage("hour", launched_s, launched_s + 1.0, ("", "", ""))
    static = found["functions"][0]["static_peak"]
    assert (static["instances"], static["span_s"]) == (1, pytest.approx(hour_ends_s - launched_s, abs=0.01))
    assert found["until_s"] == launched_s + 1.0


@in_virtual_time
async def test_a_static_peak_of_what_is_deleted_ends_with_the_last_hour_in_which_it_was_used() -> None:
    scene = Scene()
    await scene.begin()
    await scene.registry.create_service(Service(service_name="svc"))
    function = {"serviceName": "svc", "functionName": "f", "runtime": "custom"}
    await scene.registry.create_function(Function.model_validate(function))
    await scene.launch("i1")
    launched_s = scene.clock.utc_s()
    await scene.clock.sleep(10.0)
    await scene.metered.remove(["i1"])
    await scene.clock.sleep(3 * 3600.0)
    now_s = scene.clock.utc_s()

    async def span_s() -> float:
        found = await scene.accounts.usage("hour", launched_s, now_s, ("", "", ""))
        return float(found["functions"][0]["static_peak"]["span_s"])

    assert await span_s() == pytest.approx(now_s - launched_s, abs=0.01)
    await scene.registry.delete_function("svc", "f")
    assert await span_s() == pytest.approx(launched_s // 3600.0 * 3600.0 + 3600.0 - launched_s, abs=0.01)
