"""What is particular to containers on a node, on a real engine: images, how they are shut in, and who is adopted."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from loadtests.engine import IMAGE, PrivateEngine
from runtime.contract import InstanceState
from runtime.node import records
from runtime.node.client import NodeError
from runtime.node.docker.launcher import DockerLauncher
from runtime.node.errors import Failure
from runtime.node.gpu_share import GpuShare
from runtime.node.ready import ReadyPipe
from runtime.node.settings import NodeSettings
from runtime.node_contract import LaunchSpec
from runtime.shell import ShellOrder
from tests.conformance.backend_beds import SERVER
from tests.support.container_engine import engine
from tests.support.node import NodeProcess, http, running_node, spec
from tests.support.registry_server import PASSWORD, USER, RegistryServer, running_registry

NET_RAW, SYS_ADMIN, MKNOD = 13, 21, 27  # linux/capability.h
FAILED, LAUNCHING, READY = InstanceState.FAILED, InstanceState.LAUNCHING, InstanceState.READY

__all__ = ["engine"]


@pytest.fixture(scope="module")
def registry(engine: PrivateEngine) -> Iterator[RegistryServer]:
    with running_registry() as registry:
        yield registry


@pytest.fixture(scope="module")
def process(
    engine: PrivateEngine, registry: RegistryServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeProcess]:
    credentials = tmp_path_factory.mktemp("credentials") / "config.json"
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    credentials.write_text(json.dumps({"auths": {registry.host: {"auth": auth}}}))
    with ExitStack() as entered:
        options = ["--engine", f"unix://{engine.socket}", "--registry-credentials", str(credentials)]
        yield entered.enter_context(running_node(*options, "--container-tmp-mib", "8"))


def server(*does: str, **more: Any) -> LaunchSpec:
    values = {"image": IMAGE, "command": ["python3", "-c", SERVER], "args": [*does], "memory_mib": 128, **more}
    return spec(runtime="custom-container", **values)


def runs(source: str, **more: Any) -> LaunchSpec:
    """A container that does this and exits: what it prints is in the reason."""
    return server(**{"command": ["python3", "-c", source], **more})


# -- images -----------------------------------------------------------------------------------------------------------


async def test_a_pull_shows_how_far_it_is_and_is_no_part_of_the_launch(
    node: NodeProcess, registry: RegistryServer, engine: PrivateEngine
) -> None:
    function = server(image=registry.image, launch_timeout_s=0.5, command=[])
    await node.client.launch(function)
    seen: list[str] = []
    async with asyncio.timeout(20.0):
        async for status in node.client.watch():
            if status.instance_id == function.instance_id:
                seen.append(status.reason)
                if " of 4.0 MiB" in status.reason:
                    break
    assert f"pulling image '{registry.image}'" in seen
    await asyncio.sleep(0.6)  # longer than a launch may take
    waiting = await node.status(function.instance_id)
    assert waiting is not None
    assert waiting.state is LAUNCHING
    assert " of 4.0 MiB" in waiting.reason
    registry.go_on.set()
    await node.until(function.instance_id, FAILED)  # there is nothing to run in it
    with engine.http() as client:
        assert client.get(f"/images/{registry.image}/json").status_code == 200


async def test_a_function_pulls_with_its_own_credentials_where_the_node_has_none(
    node: NodeProcess, engine: PrivateEngine
) -> None:
    """From registries that nobody has pulled from yet; the node's file knows another one."""
    for user, password, said in ((USER, PASSWORD, "/nothing"), (USER, "guessed", "could not be pulled")):
        with running_registry() as registry:
            registry.go_on.set()
            function = server(
                image=registry.image, registry_user=user, registry_password=password, command=["/nothing"]
            )
            status = await node.launched(function, FAILED)
            assert said in status.reason
            assert password not in status.reason
            with engine.http() as client:
                is_here = client.get(f"/images/{registry.image}/json").status_code == 200
            assert is_here is (password == PASSWORD)


async def test_an_image_by_its_digest_is_the_same_image(node: NodeProcess, registry: RegistryServer) -> None:
    registry.go_on.set()
    status = await node.launched(server(image=f"{registry.host}/shop/server@{registry.digest}", command=[]), FAILED)
    assert "/nothing" in status.reason


async def test_an_image_that_nobody_has_is_the_reason(node: NodeProcess, registry: RegistryServer) -> None:
    image = "127.0.0.1:1/nobody/nothing:1"
    status = await node.launched(server(image=image), FAILED)
    assert status.reason.startswith(f"image '{image}' could not be pulled: ")


async def test_a_file_of_the_data_folder_is_an_image(node: NodeProcess, engine: PrivateEngine) -> None:
    images = node.data / "images"
    images.mkdir(exist_ok=True)
    with engine.http() as client:
        (images / "server.tar").write_bytes(client.get(f"/images/{IMAGE}/get").content)
    for _ in range(2):
        status = await node.launched(server(image="file:server.tar"))
        async with http(status.address) as client:
            assert (await client.get("/")).status_code == 200
    missing = await node.launched(server(image="file:other.tar"), FAILED)
    assert "file:other.tar" in missing.reason
    assert "No such file" in missing.reason


# -- how it is shut in ------------------------------------------------------------------------------------------------


async def test_the_root_is_read_only_and_tmp_is_not(node: NodeProcess) -> None:
    status = await node.launched(runs("open('/x', 'w')"), FAILED)
    assert "Read-only file system" in status.reason
    status = await node.launched(runs("open('/tmp/x', 'w').write('y'); print(open('/tmp/x').read() * 3)"), FAILED)
    assert "yyy" in status.reason


async def test_it_cannot_gain_privileges_and_has_few(node: NodeProcess) -> None:
    source = (
        "print([l for l in open('/proc/self/status').read().split('\\n') if l[:9] in ('NoNewPriv', 'CapEff:\\t0')])"
    )
    status = await node.launched(runs(source), FAILED)
    assert "NoNewPrivs:\\t1" in status.reason


async def test_shared_memory_has_the_size_that_was_asked_for(node: NodeProcess) -> None:
    source = "import os; s = os.statvfs('/dev/shm'); print('shm', s.f_blocks * s.f_frsize)"
    environment = {"FCGPU_RUNTIME_SHMSIZE": str(96 * 2**20)}
    status = await node.launched(runs(source, environment=environment), FAILED)
    assert f"shm {96 * 2**20}" in status.reason


async def test_a_wrong_size_of_shared_memory_is_refused(node: NodeProcess) -> None:
    with pytest.raises(NodeError, match="environment variable FCGPU_RUNTIME_SHMSIZE is '1g': must be"):
        await node.client.launch(server(environment={"FCGPU_RUNTIME_SHMSIZE": "1g"}))


async def test_a_program_that_the_image_has_not_is_the_reason(node: NodeProcess) -> None:
    status = await node.launched(server(command=["no-such-program"]), FAILED)
    assert "exec no-such-program failed: No such file or directory" in status.reason


async def test_a_card_that_the_engine_cannot_give_is_the_reason(engine: PrivateEngine, tmp_path: Path) -> None:
    launcher = DockerLauncher(NodeSettings(data=tmp_path, socket=tmp_path / "s", engine=engine.socket), lambda _: True)
    function = server(gpu_memory_mib=1024)
    folder = tmp_path / function.instance_id
    folder.mkdir()
    place = replace(launcher.make_place(function, folder), share=GpuShare("GPU-nobody", 1024, 25))
    ready = ReadyPipe()
    try:
        await launcher.fetch(function, place, lambda _: None)
        with pytest.raises(Failure, match=r"device driver|took no notice of the GPU GPU-nobody"):
            await launcher.start(function, place, ready)
    finally:
        ready.close()
        await launcher.clear(place)
        await launcher.close()
    assert function.instance_id not in _instances(engine)


async def test_a_process_beside_it_is_refused_saying_how_it_is_done(node: NodeProcess) -> None:
    function = server()
    await node.launched(function)
    with pytest.raises(NodeError, match=f"docker exec -it stoke-{function.instance_id}"):
        await node.client.exec(ShellOrder(function.instance_id, ["/bin/sh"]))


# -- who is adopted ---------------------------------------------------------------------------------------------------


async def test_a_container_that_was_started_by_a_node_that_died_before_it_knew_is_taken_on(
    node: NodeProcess, engine: PrivateEngine
) -> None:
    function = server(instance_id="c-taken-on")
    await node.launched(function)
    (before,) = engine.containers()
    node.end(signal.SIGKILL)
    # As it stood before the engine had answered: no process, no address.
    (known,) = (r for r in records.load_all(node.data / "instances") if r.spec.instance_id == function.instance_id)
    early = replace(known, state=LAUNCHING, pid=0, start_ticks=0, address="")
    file = node.data / "instances" / function.instance_id / records.NAME
    file.write_text(json.dumps(asdict(early)) + "\n")
    await node.start()
    status = await node.until(function.instance_id, READY)
    (after,) = engine.containers()
    assert after["Id"] == before["Id"]
    assert status.pid > 0


async def test_a_container_that_nobody_knows_is_removed_when_the_node_returns(
    node: NodeProcess, engine: PrivateEngine
) -> None:
    function = server()
    await node.launched(function)
    with engine.http() as client:
        (known,) = engine.containers()
        stray = {"Image": IMAGE, "Cmd": ["python3", "-c", "import time; time.sleep(600)"]}
        labels = {**known["Labels"], "stoke.instance": "c-nobody"}
        client.post("/containers/create", params={"name": "stoke-c-nobody"}, json={**stray, "Labels": labels})
        labels = {"stoke.instance": "c-another", "stoke.owner": "another data folder"}
        client.post("/containers/create", params={"name": "stoke-c-another"}, json={**stray, "Labels": labels})
        node.end(signal.SIGKILL)
        await node.start()
        async with asyncio.timeout(20.0):
            while "c-nobody" in _instances(engine):
                await asyncio.sleep(0.02)
        assert _instances(engine) == {function.instance_id, "c-another"}
        client.delete("/containers/stoke-c-another", params={"force": 1})


def _instances(engine: PrivateEngine) -> set[str]:
    return {row["Labels"]["stoke.instance"] for row in engine.containers()}


# -- an engine that goes ----------------------------------------------------------------------------------------------


async def test_containers_are_served_while_their_engine_is_dead_and_go_on_when_it_is_back(
    node: NodeProcess, engine: PrivateEngine
) -> None:
    if engine.process is None:
        pytest.skip("the engine is not the tests' own")
    running, ending = await node.launched(server("a")), await node.launched(server("b"))
    engine.kill()
    async with http(running.address) as client:
        assert (await client.get("/")).json()["does"] == ["a"]
    waiting = await node.launched(server(), FAILED)
    assert "cannot be reached" in waiting.reason
    await node.client.stop(ending.instance_id, 5.0)
    assert await node.until(ending.instance_id, InstanceState.STOPPED)
    engine.start()
    assert await node.status(running.instance_id) == running
    await node.launched(server())
    async with asyncio.timeout(20.0):
        while ending.instance_id in _instances(engine):  # what could not be removed then is now
            await asyncio.sleep(0.02)


async def test_without_an_engine_a_container_is_refused_saying_where_it_was_looked_for(tmp_path: Path) -> None:
    node = NodeProcess("--engine", f"unix://{tmp_path}/nothing.sock")
    await node.start()
    try:
        assert (await node.client.hello()).isolation["container"].startswith("none: there is no container engine")
        with pytest.raises(NodeError, match=f"no container engine, as there is no socket {tmp_path}/nothing.sock"):
            await node.client.launch(server())
    finally:
        await node.close()
