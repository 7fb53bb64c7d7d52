"""The server of models on a socket of its own, with a stand-in for the session: in which thread runs are made, and that
each request gets its answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from runtime.instance.models import routes
from runtime.models import json_api
from runtime.models.model import Model
from runtime.models.oip import codec
from runtime.models.server import ModelServer
from runtime.models.session import Opened
from runtime.models.spec import parse_spec
from runtime.models.tensors import TensorSpec

WAIT_S: Final = 10.0
RUN_S: Final = 0.003  # more than a change of threads
WIDTH: Final = 30_000
ROW: Final = [[1.0] * WIDTH]
TENSOR: Final = {"name": "x", "shape": [1, WIDTH], "datatype": "FP32", "data": ROW}
BODIES: Final = {
    json_api: json.dumps({"inputs": {"x": ROW}}).encode(),
    codec: json.dumps({"inputs": [TENSOR]}).encode(),
}


class Doubling:
    """y = 2x, in some milliseconds."""

    def __init__(self) -> None:
        self.in_loop: list[bool] = []
        self.began = threading.Event()

    def run(self, outputs: Sequence[str], inputs: dict[str, Any]) -> list[Any]:
        self.in_loop.append(threading.current_thread() is threading.main_thread())
        self.began.set()
        time.sleep(RUN_S)
        return [2 * inputs["x"]]

    def close(self) -> None: ...


class Asking:
    """A client that stays connected."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, path: str, body: bytes, **headers: str) -> None:
        lines = [f"POST {path} HTTP/1.1", "host: x"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines += ["x-fc-request-id: 1", f"content-length: {len(body)}", "", ""]
        self._writer.write("\r\n".join(lines).encode() + body)

    async def answer(self) -> bytes:
        status, body = await self.reply()
        assert status == 200, body
        return body

    async def reply(self) -> tuple[int, bytes]:
        async with asyncio.timeout(WAIT_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
            return int(head.split(b" ")[1]), await self._reader.readexactly(length)

    async def plain(self, number: float) -> list[float]:
        self.send("/", json.dumps({"inputs": {"x": [[number] * WIDTH]}}).encode())
        found: list[float] = json.loads(await self.answer())["outputs"]["y"][0]
        return found

    async def binary(self, number: float) -> list[float]:
        data = np.full(WIDTH, number, np.float32).tobytes()
        tensor = {"name": "x", "shape": [1, WIDTH], "datatype": "FP32", "parameters": {"binary_data_size": len(data)}}
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        self.send("/v2/models/m/infer", head + data, inference_header_content_length=str(len(head)))
        found: list[float] = np.frombuffer((await self.answer())[-len(data) :], np.float32).tolist()
        return found


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Doubling, Asking, Asking]]:
    """With two clients."""
    session = Doubling()
    x, y = TensorSpec("x", "FP32", (-1, WIDTH)), TensorSpec("y", "FP32", (-1, WIDTH))
    opened = Opened(session, (x,), (y,), ("n",), "none")
    spec = parse_spec({"batching": {"maxBatchSize": 4}})
    model = Model(folder / "m.onnx", "m", spec=spec, concurrency=4, opens=lambda _, __: opened)
    ready = asyncio.Event()
    server = ModelServer(model, routes(model), str(folder / "s"), 1.0, ready.set, warms_up=True)
    task = asyncio.create_task(server.serve())
    await asyncio.wait_for(ready.wait(), WAIT_S)
    del session.in_loop[:]
    pairs = [await asyncio.open_unix_connection(folder / "s", limit=2**20) for _ in range(2)]
    try:
        yield session, Asking(*pairs[0]), Asking(*pairs[1])
    finally:
        for _, writer in pairs:
            writer.close()
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(task, WAIT_S)
        await model.unload()


async def test_small_and_large_bodies_of_both_protocols_are_answered_one_by_one_and_together(tmp_path: Path) -> None:
    async with serving(tmp_path) as (session, one, other):
        for number in range(2):
            assert await one.plain(number) == [2.0 * number] * WIDTH
            assert await one.binary(number) == [2.0 * number] * WIDTH
        found = list(await asyncio.gather(one.binary(7), other.plain(1)))
        assert found == [[14.0] * WIDTH, [2.0] * WIDTH]
        assert not any(session.in_loop), "runs of some milliseconds hold nobody up"


async def test_a_mistake_of_ours_fails_its_own_request_and_the_connection_serves_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a mistake")

    async with serving(tmp_path) as (_, one, _):
        for module, name in ((json_api, "write"), (json_api, "read"), (codec, "encode"), (codec, "decode")):
            with monkeypatch.context() as patch:
                patch.setattr(module, name, mistaken)
                one.send("/" if module is json_api else "/v2/models/m/infer", BODIES[module])
                assert (await one.reply())[0] == 500
        assert await one.plain(1) == [2.0] * WIDTH
