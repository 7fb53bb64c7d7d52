"""What fits on a machine."""

from __future__ import annotations

from control_plane.fleet.backoff import WAIT_MAX_S, Backoff
from control_plane.fleet.placement import Need, room
from runtime.contract import NodeInfo

CPU_NODE = NodeInfo("n", 1, memory_mib=4096, cpu=2.0)
GPU_NODE = NodeInfo("n", 1, 65536, 8.0, gpus=[{"index": 0, "name": "card", "memory_mib": 16384, "simulated": True}])


def test_memory_is_promised_in_full() -> None:
    left = room(CPU_NODE, [Need(1024)], Need(1024))
    assert left.instances == 3
    assert left.limit == "1024 MiB of memory asked for, 3072 of 4096 MiB left"


def test_gpu_memory_counts_where_there_are_devices() -> None:
    left = room(GPU_NODE, [Need(512, 8192)], Need(512, 8192))
    assert left.instances == 1
    assert "GPU memory" in left.limit


def test_gpu_memory_is_not_asked_of_a_machine_without_devices() -> None:
    assert room(CPU_NODE, [], Need(1024, 8192)).instances == 4


def test_backoff_doubles_up_to_a_limit() -> None:
    backoff, waits, now = Backoff(), [], 0.0
    for _ in range(12):
        backoff = backoff.failed(now, "no")
        waits.append(backoff.until_s - now)
        now = backoff.until_s
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == WAIT_MAX_S


def test_launches_that_fail_together_count_once() -> None:
    first = Backoff().failed(10.0, "a")
    assert first.failed(10.5, "b") == Backoff(1, 11.0, "b")
    assert not first.allows(10.9)
    assert first.allows(11.0)
    assert first.launches_max == 1
