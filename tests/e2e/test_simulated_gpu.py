"""Scaling by GPU load on a machine without a GPU: by the simulated device, which says what it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stoke import Load, Stoke, eventually

# Keeps a processor busy while a request is inside, which is what the simulated device takes for work.
BUSY = """
import time

def handler(environ, start_response):
    until = time.monotonic() + 0.1
    while time.monotonic() < until:
        pass
    start_response("200 OK", [])
    return [b"done"]
"""
POLICY = {
    "name": "sm", "metricType": "GPUSmUtilization", "metricTarget": 0.2, "minCapacity": 1, "maxCapacity": 2,
    "stableWindowSeconds": 10, "panicWindowSeconds": 2,
}  # fmt: skip


@pytest.fixture
def stoke(tmp_path: Path) -> Iterator[Stoke]:
    running = Stoke(tmp_path / "data", "--listen", "127.0.0.1:0", "--simulated-gpu", "1:16384").up()
    try:
        yield running
    finally:
        running.down()


def test_gpu_load_scales_out_and_every_figure_is_marked_as_simulated(stoke: Stoke) -> None:
    stoke.deploy("g", {"app.py": BUSY}, instanceType="fc.gpu.tesla.1", gpuMemorySize=4096)
    stoke.provision("g", 1, POLICY)
    stoke.await_current("g", 1)
    assert [card["simulated"] for card in stoke.call("GET", "/stoke/v1/status")["node"]["gpus"]] == [True]
    with Load(stoke.trigger_url("g"), users=3).running() as load:
        status = eventually(lambda: (s := stoke.status("g"))["target"] == 2 and s, "the target follows the load")
    assert load.failures == {}
    assert status["in_force"] == ["sm"]
    samples = [row["sample"] for row in stoke.ready("g") if row["sample"]]
    assert samples
    assert all(sample["simulated"] and sample["gpu_sm_utilization"] is not None for sample in samples)


def test_more_gpu_memory_than_the_cards_have_is_said(stoke: Stoke) -> None:
    stoke.deploy("g", {"app.py": BUSY}, instanceType="fc.gpu.tesla.1", gpuMemorySize=8192)
    stoke.provision("g", 3)
    stoke.await_current("g", 2)
    error = eventually(lambda: stoke.status("g")["currentError"], "a currentError")
    assert error == (
        "no room for 1 more instances: 8192 MiB of GPU memory asked for; device 0 (simulated): 0 of 16384 MiB left"
    )
