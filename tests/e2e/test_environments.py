"""A function's requirements.txt: installed once by the node, shared, first in the function's imports."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import os
import threading
from collections.abc import AsyncIterator, Iterator
from http import server as http_server
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import InstanceState
from runtime.node.packages.install import find_uv
from runtime.node_contract import LaunchSpec
from tests.support.node import DEADLINE_S, NodeProcess, http, running_node
from tests.support.wheels import put_wheel

READY, FAILED = InstanceState.READY, InstanceState.FAILED

SHOWS = """
    import importlib, json, shutil
    def handler(event, context):
        module = importlib.import_module(event.decode())
        return {"file": module.__file__, "version": getattr(module, "__version__", ""), "tool": shutil.which("greet")}
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    put_wheel(folder, "greeting", "1.0", {"greeting.py": "__version__ = '1.0'\n"}, ["words>=1"])
    put_wheel(folder, "words", "1.2", {"words/__init__.py": "__version__ = '1.2'\n"})
    return folder


@pytest.fixture(scope="module")
def process() -> Iterator[NodeProcess]:
    with running_node("--installer", "pip") as node:
        yield node


@pytest.fixture
async def uv_node() -> AsyncIterator[NodeProcess]:
    if find_uv() is None:
        pytest.skip("uv is not installed here")
    node = await NodeProcess("--installer", "uv").start()
    try:
        yield node
    finally:
        await node.close()


def wanting(node: NodeProcess, requirements: str, source: str = SHOWS) -> LaunchSpec:
    return node.python({"app.py": source, "requirements.txt": requirements})


async def imported(address: str, module: str) -> dict[str, Any]:
    async with http(address) as client:
        answer = (await client.post("/invoke", content=module.encode())).json()
    assert isinstance(answer, dict)
    return answer


def environments(node: NodeProcess) -> set[str]:
    folder = node.data / "environments"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


async def test_a_function_imports_what_its_requirements_ask_for_and_finds_the_rest_beside_stoke(
    node: NodeProcess, wheels: Path
) -> None:
    ready = await node.launched(wanting(node, f"--no-index\n--find-links {wheels}\ngreeting\nnumpy\n"))
    made = environments(node)
    assert len(made) == 1
    for module, version in (("greeting", "1.0"), ("words", "1.2")):
        found = await imported(ready.address, module)
        assert (found["version"], str(node.data / "environments" / made.copy().pop()) in found["file"]) == (
            version,
            True,
        )
    assert str(node.data) not in (await imported(ready.address, "numpy"))["file"]


async def test_one_content_is_installed_once_for_all_versions_and_instances(node: NodeProcess, wheels: Path) -> None:
    asked = f"--no-index\n--find-links {wheels}\nwords\n"
    before = environments(node)
    specs = [wanting(node, asked), wanting(node, asked), wanting(node, asked, SHOWS + "\n    # another version\n")]
    await asyncio.gather(*(node.launched(spec) for spec in specs))
    assert len(environments(node) - before) == 1
    assert node.log.read_text().count("environment.made") == len(environments(node))


async def test_a_package_that_stoke_has_imported_already_is_the_functions_own_and_wheels_may_be_in_the_code(
    node: NodeProcess,
) -> None:
    spec = wanting(node, "--no-index\n--find-links wheels\nstarlette==99.0\n")
    version = {"starlette/__init__.py": "__version__ = '99.0'\n"}
    put_wheel(node.data / "code" / spec.code_sha256 / "wheels", "starlette", "99.0", version)
    ready = await node.launched(spec)
    assert (await imported(ready.address, "starlette"))["version"] == "99.0"


async def test_what_is_there_already_is_not_installed_again(node: NodeProcess) -> None:
    before = environments(node)
    spec = wanting(node, "numpy\nonnxruntime >= 1.20\nstarlette\n")
    assert (await node.client.environment(spec.code_sha256, build=True, wait_s=20.0)).state == "none"
    await node.launched(spec)
    assert environments(node) == before


async def test_requirements_that_cannot_be_resolved_fail_with_the_resolvers_words(node: NodeProcess) -> None:
    before = environments(node)
    spec = wanting(node, "--no-index\nno-such-package-at-all==9\n")
    failed = await node.launched(spec, FAILED)
    assert "requirements.txt: ERROR: " in failed.reason
    assert "No matching distribution found for no-such-package-at-all==9" in failed.reason
    told = await node.client.environment(spec.code_sha256)
    assert (told.state, told.reason in failed.reason) == ("failed", True)
    assert environments(node) == before


def never_built(node: NodeProcess, begun: Path) -> LaunchSpec:
    """A function that wants a package whose build makes the file `begun`, and never ends."""
    spec = wanting(node, "./slow\n")
    folder = node.data / "code" / spec.code_sha256 / "slow"
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["."]\n')
    (folder / "b.py").write_text(f"import time\nopen({str(begun)!r}, 'w').close()\ntime.sleep(3600)\n")
    return spec


async def test_an_installer_that_is_cut_off_leaves_nothing_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, begun = tmp_path / "temporary", tmp_path / "begun"
    temporary.mkdir()
    node = NodeProcess("--installer", "pip")
    monkeypatch.setenv("TMPDIR", str(temporary))
    try:
        await node.start()
        await node.client.launch(never_built(node, begun))
        async with asyncio.timeout(DEADLINE_S):
            while "begun" not in os.listdir(tmp_path):
                await asyncio.sleep(0.01)
    finally:
        await node.close()
    assert os.listdir(temporary) == []


async def test_an_instance_whose_environment_is_being_made_can_be_stopped(node: NodeProcess, tmp_path: Path) -> None:
    spec = never_built(node, tmp_path / "begun")
    await node.client.launch(spec)
    while (await node.client.environment(spec.code_sha256)).state != "building":
        await asyncio.sleep(0.01)
    await node.client.stop(spec.instance_id, 0.0)
    assert (await node.until(spec.instance_id, InstanceState.STOPPED)).reason == ""


async def test_environments_that_no_code_needs_go_after_their_grace(node: NodeProcess, wheels: Path) -> None:
    kept = wanting(node, f"--no-index\n--find-links {wheels}\nwords\n")  # made by a test before, or now
    left = wanting(node, f"--no-index\n--find-links {wheels}\nwords >= 1.1\n")
    made = [await node.client.environment(spec.code_sha256, build=True, wait_s=20.0) for spec in (kept, left)]
    assert [one.state for one in made] == ["ready", "ready"]
    assert made[0].packages == ["words==1.2"]
    assert await node.client.sweep_environments([kept.code_sha256]) == []
    for one in made:
        os.utime(node.data / "environments" / one.environment, (0, 0))
    running = await node.launched(left)
    assert made[1].environment not in await node.client.sweep_environments([kept.code_sha256])
    assert left.code_sha256 in await node.client.code_in_use()
    await node.client.stop(running.instance_id, 0.0)
    await node.until(running.instance_id, InstanceState.STOPPED)
    await node.client.forget(running.instance_id)
    for one in made:
        os.utime(node.data / "environments" / one.environment, (0, 0))
    assert left.code_sha256 not in await node.client.code_in_use()
    swept = await node.client.sweep_environments([kept.code_sha256])
    assert made[1].environment in swept
    assert made[0].environment in environments(node)
    assert json.loads((node.data / "environments" / made[0].environment / "environment.json").read_text())


async def test_uv_installs_what_is_not_there_and_gives_its_own_words(uv_node: NodeProcess, wheels: Path) -> None:
    ready = await uv_node.launched(wanting(uv_node, f"--no-index\n--find-links {wheels}\ngreeting\nnumpy\n"))
    for module, version in (("greeting", "1.0"), ("words", "1.2")):
        assert (await imported(ready.address, module))["version"] == version
    spec = wanting(uv_node, "--no-index\n--find-links more\nextra\n")
    put_wheel(uv_node.data / "code" / spec.code_sha256 / "more", "extra", "2.0", {"extra.py": "__version__ = '2.0'\n"})
    assert (await imported((await uv_node.launched(spec)).address, "extra"))["version"] == "2.0"
    assert str(uv_node.data) not in (await imported(ready.address, "numpy"))["file"]
    failed = await uv_node.launched(wanting(uv_node, "--no-index\nno-such-package-at-all==9\n"), FAILED)
    assert "No solution found" in failed.reason


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """A package index of its own, with the one package `rare`."""
    wheel = put_wheel(tmp_path / "simple" / "rare", "rare", "3.0", {"rare.py": "__version__ = '3.0'\n"})
    (wheel.parent / "index.html").write_text(f'<html><body><a href="{wheel.name}">{wheel.name}</a></body></html>')
    serve = functools.partial(QuietFiles, directory=str(tmp_path))
    with http_server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple/"
        server.shutdown()


class QuietFiles(http_server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


async def test_uv_installs_from_the_index_that_the_requirements_name(uv_node: NodeProcess, index: str) -> None:
    ready = await uv_node.launched(wanting(uv_node, f"--index-url {index}\nrare\n"))
    assert (await imported(ready.address, "rare"))["version"] == "3.0"
    (environment,) = (uv_node.data / "environments").iterdir()
    assert index not in "".join(path.read_text() for path in environment.glob("*.txt")), "it may have a password in it"


@pytest.mark.parametrize("included", [False, True])
async def test_uv_refuses_what_has_another_hash_than_the_requirements_say(
    uv_node: NodeProcess, wheels: Path, included: bool
) -> None:
    wheel = wheels / "words-1.2-py3-none-any.whl"

    def pinned(digest: str) -> LaunchSpec:
        text = f"--no-index\n--find-links {wheels}\nwords==1.2 \\\n    --hash=sha256:{digest}\n"
        files = {"requirements.txt": "-r pins.txt\n", "pins.txt": text} if included else {"requirements.txt": text}
        return uv_node.python({"app.py": SHOWS, **files})

    failed = await uv_node.launched(pinned("0" * 64), FAILED)
    assert "Hash mismatch for `words==1.2`" in failed.reason
    ready = await uv_node.launched(pinned(hashlib.sha256(wheel.read_bytes()).hexdigest()))
    assert (await imported(ready.address, "words"))["version"] == "1.2"
