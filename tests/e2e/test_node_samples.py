"""What a real node says that instances use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from runtime.node_contract import InstanceSample
from tests.support.node import NodeProcess, http, running_node

BUSY = """
    import threading
    def spin():
        while True:
            pass
    def handler(event, context):
        threading.Thread(target=spin, daemon=True).start()
        return "busy"
"""
CHILDREN = """
    import os, subprocess, sys
    held = bytearray(b"x") * (50 * 2**20)
    subprocess.Popen([sys.executable, "-c", "import time; held = bytearray(b'x') * (50 * 2**20); time.sleep(600)"])
    def handler(event, context): return event
"""


@pytest.fixture(scope="module")
def process() -> Iterator[NodeProcess]:
    with running_node("--simulated-gpu", "2:1000") as node:
        yield node


async def samples(node: NodeProcess) -> dict[str, InstanceSample]:
    return {sample.instance_id: sample for sample in await node.client.samples()}


async def busy_sample(node: NodeProcess, instance_id: str) -> InstanceSample:
    """A reading over some time of an instance that works; how long is of no matter, as utilization is a rate."""
    await samples(node)
    await asyncio.sleep(0.5)
    return (await samples(node))[instance_id]


async def test_cpu_utilization_is_of_the_cpu_asked_for_since_the_last_call(node: NodeProcess) -> None:
    status = await node.launched(node.python(BUSY, cpu=8.0))
    assert (await samples(node))[status.instance_id].cpu_utilization is None
    async with http(status.address) as client:
        await client.post("/invoke")
    sample = await busy_sample(node, status.instance_id)
    assert sample.cpu_utilization is not None
    assert (
        0.005 < sample.cpu_utilization < 0.2
    )  # a thread of Python is one core of the eight, counted in ticks of 10 ms
    assert abs(sample.at_s - time.time()) < 10.0
    assert sample.gpu_sm_utilization is None
    assert not sample.simulated


async def test_memory_is_that_of_all_processes_of_the_instance(node: NodeProcess) -> None:
    status = await node.launched(node.python(CHILDREN))
    deadline_s = time.monotonic() + 10.0
    while ((await samples(node))[status.instance_id].memory_mib or 0.0) < 100.0:
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.02)


async def test_an_idle_instance_takes_less_than_25_mib_of_its_own(node: NodeProcess) -> None:
    statuses = [await node.launched(node.python("def handler(event, context): return event")) for _ in range(4)]
    readings = await samples(node)
    assert max(readings[status.instance_id].memory_mib or 0.0 for status in statuses) < 25.0


async def test_simulated_cards_are_listed_and_marked(node: NodeProcess) -> None:
    gpus = (await node.client.hello()).gpus
    shown = [(gpu["index"], gpu["uuid"], gpu["name"], gpu["memory_mib"], gpu["simulated"]) for gpu in gpus]
    assert shown == [(0, "simulated-0", "simulated", 1000, True), (1, "simulated-1", "simulated", 1000, True)]
    assert {gpu["sharing"] for gpu in gpus} == {"time-slicing"}


async def test_simulated_gpu_use_follows_the_cpu_and_the_memory_of_the_instance_and_is_marked(
    node: NodeProcess,
) -> None:
    status = await node.launched(node.python(BUSY, gpu_memory_mib=200))
    async with http(status.address) as client:
        await client.post("/invoke")
    sample = await busy_sample(node, status.instance_id)
    assert sample.simulated
    assert sample.cpu_utilization is not None
    assert sample.memory_mib is not None
    assert sample.gpu_sm_utilization == pytest.approx(sample.cpu_utilization)
    assert sample.gpu_memory_utilization == pytest.approx(sample.memory_mib / 200)
    assert sample.gpu_encoder_utilization == sample.gpu_decoder_utilization == 0.0


async def test_a_function_without_gpu_memory_has_no_gpu_figures_and_sees_no_card(node: NodeProcess) -> None:
    source = "import os\ndef handler(event, context): return os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')"
    without, with_gpu = node.python(source), node.python(source, gpu_memory_mib=100)
    for function, expected in ((without, ""), (with_gpu, "unset")):
        status = await node.launched(function)
        async with http(status.address) as client:
            assert (await client.post("/invoke")).text == expected
    assert (await samples(node))[without.instance_id].gpu_memory_utilization is None
