"""On a real card: what it tells, and that two functions on it cannot take each other's memory."""

from __future__ import annotations

import asyncio
import ctypes
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest

from runtime.contract import InstanceState
from runtime.models.session import SessionOptions, open_session
from runtime.node.devices import NoDevices, find_devices
from runtime.node_contract import InstanceStatus, LaunchSpec
from tests.support import models
from tests.support.node import DEADLINE_S, NodeProcess, http, spec


def why_not() -> str:
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return f"there is no NVIDIA card here: {error}"
    return "the driver tells of no card" if isinstance(find_devices(0, 0), NoDevices) else ""


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(why_not()), reason=why_not() or "a card is there")]

HTTP = {"x-fc-control-path": "/http-invoke"}

# Takes as many MiB of the only device it sees as the request says, by the driver itself, and keeps them.
TAKES = """
import ctypes

cuda, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p()

def handler(event, context_of_request):
    if not context.value:
        device = ctypes.c_int()
        for code in (cuda.cuInit(0), cuda.cuDeviceGet(ctypes.byref(device), 0),
                     cuda.cuCtxCreate_v2(ctypes.byref(context), 0, device)):
            assert code == 0, f"CUDA error {code}"
    cuda.cuCtxSetCurrent(context)
    return str(cuda.cuMemAlloc_v2(ctypes.byref(ctypes.c_uint64()), ctypes.c_size_t(int(event) << 20)))
"""


async def take(status: InstanceStatus, mib: int) -> str:
    """CUDA's answer, "0" if it was given; "" if the instance was ended over it."""
    try:
        async with http(status.address) as client:
            return (await client.post("/invoke", content=str(mib))).text
    except httpx.HTTPError:
        return ""


async def test_cards_are_told_with_their_driver_their_memory_and_their_family(process: NodeProcess) -> None:
    async with process.session() as node:
        gpus = (await node.client.hello()).gpus
    assert gpus
    for gpu in gpus:
        assert gpu["uuid"].startswith(("GPU-", "MIG-"))
        assert gpu["driver"]
        assert gpu["compute_capability"]
        assert gpu["is_healthy"], gpu["reason"]
        assert not gpu["simulated"]


async def test_two_functions_on_one_card_cannot_take_more_than_their_gpu_memory_size(process: NodeProcess) -> None:
    async with process.session() as node:
        gpu = next(g for g in (await node.client.hello()).gpus if not g["is_divided"])
        specs = [node.python(TAKES, gpu_memory_mib=mib, gpu_device=gpu["uuid"]) for mib in (2048, 4096)]
        statuses = [await node.launched(function) for function in specs]
        for status in statuses:
            assert await take(status, 1024) == "0", "both have what they asked for"
        refused = await take(statuses[0], 2048)
        if gpu["sharing"] == "mps":
            assert refused not in ("", "0"), "the driver says no, and the instance goes on"
        else:
            await ended(node, specs[0])
        other = await node.status(specs[1].instance_id)
        assert other is not None
        assert other.state is InstanceState.READY
        assert await take(statuses[1], 1024) == "0"


async def test_a_model_is_run_on_the_card_and_gives_what_the_cpu_gives(process: NodeProcess, tmp_path: Path) -> None:
    opened = open_session(models.write_mlp(tmp_path / "mlp.onnx", 64, 2), SessionOptions())
    row = np.random.default_rng(1).random((1, 64), np.float32)
    [expected] = opened.runner.run([opened.outputs[0].name], {opened.inputs[0].name: row})
    async with process.session() as node:
        gpu = next(g for g in (await node.client.hello()).gpus if not g["is_divided"])
        digest = node.put_code({"which.txt": "on the card"})
        shutil.copy(tmp_path / "mlp.onnx", node.data / "code" / digest)
        more = {"gpu_memory_mib": 2048, "gpu_device": gpu["uuid"]}
        function = spec(runtime="python3.11", handler="mlp.onnx", code_sha256=digest, **more)
        status = await node.launched(function)
        async with http(status.address) as client:
            answer = await client.post(
                "/", json={"inputs": row.tolist()}, headers={"x-fc-control-path": "/http-invoke"}
            )
            config = (await client.get("/v2/models/mlp/config")).json()
        assert "runs on the CPU" not in await node.output(function.instance_id), "CUDA's libraries: scripts/gpu.py"
    [found] = answer.json()["outputs"].values()
    assert np.allclose(found, expected, atol=1e-2)
    assert config["instance_group"][0]["kind"] == "KIND_GPU"


async def ended(node: NodeProcess, function: LaunchSpec) -> None:
    async with asyncio.timeout(DEADLINE_S):
        status = await node.until(function.instance_id, InstanceState.FAILED)
    assert "ran out of GPU memory" in status.reason
