"""What a function's `nasConfig` mounts, seen from inside: of containers on a real engine, and of a command."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane import nas
from loadtests.engine import IMAGE, PrivateEngine
from runtime.contract import InstanceState
from runtime.mounts import to_dicts
from runtime.node.client import NodeError
from runtime.node_contract import LaunchSpec
from tests.support.container_engine import engine
from tests.support.node import NodeProcess, running_node, spec

FAILED = InstanceState.FAILED

__all__ = ["engine"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What functions may read; beside it is what they may write."""
    folder = tmp_path_factory.mktemp("srv") / "models"
    (folder / "v1").mkdir(parents=True)
    (folder / "v1" / "weights").write_text("all the weights")
    (folder.parent / "scratch").mkdir()
    (folder.parent / "scratch").chmod(0o777)
    for path in (folder.parent, folder.parent.parent):
        path.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def process(engine: PrivateEngine, models: Path) -> Iterator[NodeProcess]:
    allowed = f"hostpath://{models},hostpath://{models.parent}/scratch=rw"
    with running_node("--engine", f"unix://{engine.socket}", "--allowed-mounts", allowed) as node:
        yield node


def mounted(*points: tuple[str, str, bool], ids: tuple[int, int] = (-1, -1)) -> dict[str, Any]:
    """Fields of a LaunchSpec, by the way that a service's own config takes."""
    said = [{"serverAddr": address, "mountDir": folder, "readOnly": reads} for address, folder, reads in points]
    read = nas.read({"userId": ids[0], "groupId": ids[1], "mountPoints": said})
    return {"mounts": to_dicts(read.mounts), "user_id": read.user_id, "group_id": read.group_id}


def runs(source: str, **more: Any) -> LaunchSpec:
    """A container that does this and exits: what it prints is in the reason."""
    return spec(runtime="custom-container", image=IMAGE, command=["python3", "-c", source], memory_mib=128, **more)


async def test_a_folder_of_models_is_read_and_not_written(node: NodeProcess, models: Path) -> None:
    fields = mounted((f"hostpath://{models}/v1", "/mnt/models", True))
    source = "print(open('/mnt/models/weights').read())"
    assert "all the weights" in (await node.launched(runs(source, **fields), FAILED)).reason
    source = "open('/mnt/models/new', 'w')"
    assert "Read-only file system" in (await node.launched(runs(source, **fields), FAILED)).reason
    assert sorted(path.name for path in (models / "v1").iterdir()) == ["weights"]


async def test_what_is_written_as_the_user_that_was_asked_for_stays_on_the_machine(
    node: NodeProcess, models: Path
) -> None:
    scratch = models.parent / "scratch"
    fields = mounted((f"hostpath://{scratch}", "/mnt/scratch", False), ids=(10003, 10004))
    await node.launched(runs("open('/mnt/scratch/out', 'w').write('written')", **fields), FAILED)
    out = scratch / "out"
    assert (out.read_text(), out.stat().st_uid, out.stat().st_gid) == ("written", 10003, 10004)


async def test_empty_folders_are_each_instances_own_and_go_with_it(node: NodeProcess, engine: PrivateEngine) -> None:
    fields = mounted(("emptydir://", "/mnt/disk", False), ("emptydir://?medium=memory&sizeMiB=8", "/mnt/memory", False))
    source = (
        "import os; s = os.statvfs('/mnt/memory'); print('size', s.f_blocks * s.f_frsize, os.listdir('/mnt/disk'));"
        "open('/mnt/disk/a', 'w').write('x'); open('/mnt/memory/a', 'w').write('x')"
    )
    for _ in range(2):
        assert f"size {8 * 2**20} []" in (await node.launched(runs(source, **fields), FAILED)).reason
    async with asyncio.timeout(20.0):
        while engine.containers():
            await asyncio.sleep(0.02)
    with engine.http() as client:
        assert not client.get("/volumes").json()["Volumes"]


async def test_what_the_operator_has_not_allowed_is_refused_and_leaves_no_container(
    node: NodeProcess, engine: PrivateEngine, models: Path
) -> None:
    for address, read_only in ((f"hostpath://{models}", False), ("hostpath:///etc", True), ("nas.local:/a", True)):
        with pytest.raises(NodeError, match="the operator's allowed_mounts"):
            await node.client.launch(runs("", **mounted((address, "/mnt/a", read_only))))
    assert engine.containers() == []


async def test_bubblewrap_shows_a_command_what_is_mounted(tmp_path: Path) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bwrap is not on PATH")
    source = tmp_path / "models"
    source.mkdir()
    (source / "weights").write_text("all the weights")
    fields = mounted((f"hostpath://{source}", "/mnt", True))
    script = "cat /mnt/weights; touch /mnt/new; exit 3"
    function = spec(runtime="custom", command=["/bin/sh", "-c", script], **fields)
    node = NodeProcess("--sandbox", "bubblewrap", "--allowed-mounts", f"hostpath://{source}")
    try:
        reason = (await (await node.start()).launched(function, FAILED)).reason
    finally:
        await node.close()
    assert "all the weights" in reason
    assert "Read-only file system" in reason
