"""Devices under a real node: whose variables say what, a card that is lost, and the daemons of MPS (a written one)."""

from __future__ import annotations

import asyncio
import os
import signal
import textwrap
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from runtime.contract import InstanceState
from runtime.node.client import NodeError
from runtime.node.devices import GpuUse, ProcessReading, SimulatedDevices
from runtime.node.instances import Instances
from runtime.node.mps import PROGRAM, Mps, MpsError
from runtime.node.settings import NodeSettings
from tests.support.node import NodeProcess, eventually, http, running_node, spec

VARIABLES = """
import json, os
def handler(event, context):
    return json.dumps({name: value for name, value in os.environ.items() if "CUDA" in name or "GPU" in name})
"""

# Does as NVIDIA's does as far as the node can tell: -d leaves a daemon with its pid in the pipe folder; a quit ends it.
CONTROL = """
    #!/bin/sh
    pid="$CUDA_MPS_PIPE_DIRECTORY/nvidia-cuda-mps-control.pid"
    case "$1" in
      -d) [ ! -e "$CUDA_MPS_PIPE_DIRECTORY/../broken" ] || exit 1
          echo "$CUDA_VISIBLE_DEVICES" >"$CUDA_MPS_LOG_DIRECTORY/card"
          rm -f "$pid"
          "$0" -f </dev/null >/dev/null 2>&1 &
          while [ ! -s "$pid" ]; do sleep 0.01; done ;;
      -f) echo $$ >"$pid"  # itself, as a process that is just becoming another program has no name
          while [ -e "$CUDA_MPS_PIPE_DIRECTORY" ]; do sleep 0.05; done ;;
      *) read -r said && [ "$said" = quit ] && kill "$(cat "$pid")" && rm "$pid" ;;
    esac
"""


@pytest.fixture(scope="module")
def process() -> Iterator[NodeProcess]:
    with running_node("--simulated-gpu", "2:1000") as node:
        yield node


@pytest.fixture
def control(tmp_path: Path) -> str:
    """A PATH with the written daemon."""
    program = tmp_path / "bin" / PROGRAM
    program.parent.mkdir()
    program.write_text(textwrap.dedent(CONTROL).lstrip())
    program.chmod(0o755)
    return f"{program.parent}:{os.defpath}"


async def test_an_instance_knows_its_device_and_its_limit(process: NodeProcess) -> None:
    async with process.session() as node:
        function = node.python(
            VARIABLES,
            gpu_memory_mib=400,
            gpu_device="simulated-1",
            environment={"CUDA_VISIBLE_DEVICES": "0", "STOKE_GPU_MEMORY_LIMIT_BYTES": "9"},
        )
        status = await node.launched(function)
        async with http(status.address) as client:
            seen = (await client.post("/invoke")).json()
        assert seen == {
            "CUDA_VISIBLE_DEVICES": "",
            "STOKE_GPU_DEVICE": "simulated-1",
            "STOKE_GPU_MEMORY_MIB": "400",
            "STOKE_GPU_MEMORY_LIMIT_BYTES": str(200 * 2**20),
        }


async def test_a_card_that_is_lost_ends_its_instances_refuses_new_ones_and_comes_back(process: NodeProcess) -> None:
    async with process.session() as node:
        on_first, on_second = (
            node.python(VARIABLES, gpu_memory_mib=400, gpu_device=f"simulated-{number}") for number in (0, 1)
        )
        await node.launched(on_first)
        await node.launched(on_second)
        fault = node.data / "simulated-gpu-0.lost"
        fault.touch()
        try:
            failed = await node.until(on_first.instance_id, InstanceState.FAILED)
            assert failed.reason == (
                "Function instance lost its GPU simulated-0: it has fallen off the bus (simulated)"
            )
            assert [gpu["is_healthy"] for gpu in (await node.client.hello()).gpus] == [False, True]
            with pytest.raises(NodeError, match="gpu_device 'simulated-0' is not healthy"):
                await node.client.launch(node.python(VARIABLES, gpu_memory_mib=400, gpu_device="simulated-0"))
            other = await node.status(on_second.instance_id)
            assert other is not None
            assert other.state is InstanceState.READY
        finally:
            fault.unlink()


def test_mps_has_a_daemon_for_each_card_that_a_later_node_finds_again(tmp_path: Path, control: str) -> None:
    first = Mps(tmp_path / "mps", control)
    try:
        pipes = {uuid: Path(first.serve(uuid)) for uuid in ("GPU-0", "GPU-1")}
        assert len({*pipes.values()}) == 2
        for uuid, pipe in pipes.items():
            assert (pipe.parent / "log" / "card").read_text().strip() == uuid
        pids = {uuid: (pipe / "nvidia-cuda-mps-control.pid").read_text() for uuid, pipe in pipes.items()}
        later = Mps(tmp_path / "mps", control)
        assert later.lives("GPU-0")
        assert {uuid: Path(later.serve(uuid)) for uuid in pipes} == pipes
        assert {uuid: (pipe / "nvidia-cuda-mps-control.pid").read_text() for uuid, pipe in pipes.items()} == pids
    finally:
        for uuid in ("GPU-0", "GPU-1"):
            first.stop(uuid)
    assert not first.lives("GPU-0")
    assert not (tmp_path / "mps").exists()


def test_mps_says_why_it_does_not_serve(tmp_path: Path, control: str) -> None:
    with pytest.raises(MpsError, match=f"{PROGRAM} is not in PATH"):
        Mps(tmp_path / "mps", os.devnull).serve("GPU-0")
    mps = Mps(tmp_path / "mps", control)
    (mps._folder_of("GPU-0")).mkdir(parents=True)
    (mps._folder_of("GPU-0") / "broken").touch()
    with pytest.raises(MpsError, match=f"{PROGRAM} ended with 1; its log is in "):
        mps.serve("GPU-0")


def test_a_daemon_whose_pid_is_another_programs_by_now_is_not_alive(tmp_path: Path, control: str) -> None:
    mps = Mps(tmp_path / "mps", control)
    pipe = Path(mps.serve("GPU-0"))
    pid = int((pipe / "nvidia-cuda-mps-control.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    (pipe / "nvidia-cuda-mps-control.pid").write_text(str(os.getpid()))
    assert not mps.lives("GPU-0")


class Hanging(SimulatedDevices):
    """A driver that does not answer, until it is let."""

    def __init__(self) -> None:
        super().__init__(1, 1000)
        self.answers = threading.Event()

    def samples(self, readings: Sequence[ProcessReading]) -> dict[int, GpuUse]:
        self.answers.wait()
        return super().samples(readings)


async def test_a_driver_that_does_not_answer_holds_up_nobody_who_asks_for_samples(tmp_path: Path) -> None:
    devices = Hanging()
    settings = NodeSettings(tmp_path, tmp_path / "s", path=os.environ["PATH"], sample_timeout_s=0.05)
    instances = Instances(settings, devices)
    instances.adopt()
    try:
        await instances.launch(spec(runtime="custom", command=["/bin/sleep", "60"], gpu_memory_mib=9))
        await eventually(lambda: all(status.pid for status in instances.statuses()), "it runs")
        for _ in range(3):
            assert await instances.samples() == [], "there was none before"
        devices.answers.set()
        async with asyncio.timeout(20.0):
            while not await instances.samples():
                await asyncio.sleep(0.01)
    finally:
        devices.answers.set()
        await instances.shutdown(0.0)


class HeldByAll(SimulatedDevices):
    """Every process of the machine holds as much of the card as this says, as a driver would tell."""

    held: float = 0.0

    def held_mib(self) -> dict[int, float]:
        return {int(name): self.held for name in os.listdir("/proc") if name.isdecimal()}


async def test_an_instance_that_takes_more_of_its_card_than_it_asked_for_is_ended_and_its_neighbour_is_not(
    tmp_path: Path,
) -> None:
    settings = NodeSettings(tmp_path, tmp_path / "s", path=os.environ["PATH"], device_period_s=0.02)
    devices = HeldByAll(1, 16_384)
    instances = Instances(settings, devices)
    instances.adopt()
    watching = asyncio.create_task(instances.watch_devices())
    try:
        command = ["/bin/sh", "-c", "sleep 60"]
        sizes = {"c-small": 1000, "c-large": 2000}
        for name, gpu_memory_mib in sizes.items():
            await instances.launch(
                spec(
                    instance_id=name,
                    runtime="custom",
                    command=command,
                    gpu_memory_mib=gpu_memory_mib,
                    gpu_device="simulated-0",
                )
            )
        await eventually(lambda: all(status.pid for status in instances.statuses()), "both run")
        devices.held = 1500.0 / 2  # a shell and its sleep
        async with asyncio.timeout(20.0):
            async for status in instances.watch():
                if status.state is InstanceState.FAILED:
                    break
        assert status.instance_id == "c-small"
        assert status.reason.startswith(
            "Function instance ran out of GPU memory: it holds 1500 MiB of the device, and its gpuMemorySize is 1000"
        )
        assert {s.instance_id for s in instances.statuses() if not s.state.is_final} == {"c-large"}
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await instances.shutdown(0.0)
