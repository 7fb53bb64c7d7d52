"""How long a container takes from its order to READY, against what its engine and the function take by themselves.

Bare is: create and start by the engine's API with the very same body, then a connect every millisecond until the server
in the container listens. Rounds are interleaved, so that what the machine does besides weighs on both alike.

    python -m loadtests.bench.containers [--rounds 20] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from loadtests.engine import IMAGE, running_engine, why_not
from runtime.contract import InstanceState
from runtime.node.client import NodeClient, NodeUnavailable
from runtime.node.docker.asked import Containment, address_of, container_name, create_body
from runtime.node_contract import LaunchSpec

TIMEOUT_S: Final = 60.0
CONNECT_EVERY_S: Final = 0.001
SERVER: Final = """
import http.server, os
address = ("0.0.0.0", int(os.environ["FC_SERVER_PORT"]))
http.server.ThreadingHTTPServer(address, http.server.BaseHTTPRequestHandler).serve_forever()
"""


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds, a round each."""

    node_s: list[float]
    bare_s: list[float]

    @property
    def ratio(self) -> float:
        return statistics.median(self.node_s) / statistics.median(self.bare_s)

    def to_dict(self) -> dict[str, Any]:
        medians = {"node_median_s": statistics.median(self.node_s), "bare_median_s": statistics.median(self.bare_s)}
        return {**medians, "ratio": self.ratio, "rounds": len(self.node_s)}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.containers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the result here as well")
    options = parser.parse_args(arguments)
    if why := why_not():
        print(f"no engine: {why}", file=sys.stderr)
        return 2
    with running_engine() as engine, engine.network():
        result = asyncio.run(measure(engine.socket, options.rounds))
    print(
        f"launch to READY: {statistics.median(result.node_s) * 1000:.0f} ms by the node, "
        f"{statistics.median(result.bare_s) * 1000:.0f} ms by the engine and the function alone: "
        f"{result.ratio:.2f} x (medians of {len(result.node_s)} rounds)"
    )
    if options.json:
        options.json.write_text(json.dumps(result.to_dict(), indent=2))
    return 0


async def measure(socket: Path, rounds: int) -> Result:
    """Each round one of both kinds, one after the other; the first round warms up and does not count."""
    with tempfile.TemporaryDirectory(prefix="stoke-bench-") as folder:
        node_socket = Path(folder) / "node.sock"
        command = [sys.executable, "-m", "runtime.node", "--data", folder, "--socket", str(node_socket)]
        node = await asyncio.create_subprocess_exec(
            *command, "--engine", f"unix://{socket}", stderr=asyncio.subprocess.DEVNULL
        )
        client = NodeClient(node_socket)
        try:
            await _until_up(client)
            await client.prepare("custom-container")
            transport = httpx.AsyncHTTPTransport(uds=str(socket))
            async with httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=TIMEOUT_S) as engine:
                image = (await engine.get(f"/images/{IMAGE}/json")).raise_for_status().json()
                node_s, bare_s = [], []
                for _ in range(rounds + 1):
                    node_s.append(await by_node(client))
                    bare_s.append(await by_hand(engine, image))
        finally:
            await client.close()
            node.terminate()
            await node.wait()
    return Result(node_s[1:], bare_s[1:])


def server() -> LaunchSpec:
    return LaunchSpec(
        f"c-{uuid.uuid4().hex[:12]}", "bench", "server", "LATEST", "1", "custom-container",
        image=IMAGE, command=["python3", "-c", SERVER], memory_mib=128,
    )  # fmt: skip


async def by_node(client: NodeClient) -> float:
    spec = server()
    began_s = time.monotonic()
    await client.launch(spec)
    took_s = 0.0
    async with asyncio.timeout(TIMEOUT_S):
        async for status in client.watch():
            if status.instance_id != spec.instance_id:
                continue
            if status.state is InstanceState.READY:
                took_s = time.monotonic() - began_s
                await client.stop(spec.instance_id, 0.0)
            if status.state.is_final:
                if not took_s:
                    raise RuntimeError(status.reason)
                break
    return took_s


async def by_hand(engine: httpx.AsyncClient, image: dict[str, Any]) -> float:
    spec = server()
    name = container_name(spec.instance_id)
    body = create_body(spec, "bench", Containment(), image=image)
    began_s = time.monotonic()
    (await engine.post("/containers/create", params={"name": name}, json=body)).raise_for_status()
    (await engine.post(f"/containers/{name}/start")).raise_for_status()
    found = (await engine.get(f"/containers/{name}/json")).raise_for_status().json()
    host, _, port = address_of(found, "bridge", spec.ca_port).removeprefix("tcp:").rpartition(":")
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
                break
            except OSError:
                await asyncio.sleep(CONNECT_EVERY_S)
    took_s = time.monotonic() - began_s
    writer.close()
    (await engine.delete(f"/containers/{name}", params={"force": 1})).raise_for_status()
    return took_s


async def _until_up(client: NodeClient) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                await client.hello()
            except NodeUnavailable:
                await asyncio.sleep(0.02)
            else:
                return


if __name__ == "__main__":
    sys.exit(main())
