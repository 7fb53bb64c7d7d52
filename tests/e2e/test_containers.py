"""The main job on containers: provision, serve, scale out and in, and survive what dies. On a real engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests.engine import IMAGE, PrivateEngine
from tests.conformance.backend_beds import SERVER
from tests.support.container_engine import engine
from tests.support.stoke import Load, Stoke, eventually

__all__ = ["engine"]

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def stoke(engine: PrivateEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stoke]:
    options = ("--listen", "127.0.0.1:0", "--backend", "docker", "--engine", f"unix://{engine.socket}")
    with Stoke(tmp_path_factory.mktemp("containers") / "data", *options) as stoke:
        yield stoke
    assert engine.containers() == []


def deploy(stoke: Stoke, name: str, image: str = IMAGE, **more: Any) -> None:
    container = {"image": image, "command": '["python3", "-c"]', "args": json.dumps([SERVER])}
    fields = {"memorySize": 128, "instanceConcurrency": 4, "initializer": "x", **more}
    stoke.deploy(
        name, runtime="custom-container", handler="not-used", customContainerConfig=container, caPort=9000, **fields
    )


def ids(stoke: Stoke, function: str) -> set[str]:
    return {row["instance_id"] for row in stoke.ready(function)}


def test_no_request_fails_from_one_to_six_and_back_and_through_a_node_that_is_killed(
    stoke: Stoke, engine: PrivateEngine
) -> None:
    deploy(stoke, "main")
    stoke.provision("main", 1)
    stoke.await_current("main", 1, 60.0)
    with Load(stoke.trigger_url("main"), users=3).running() as load:
        load.await_more(20)
        stoke.provision("main", 6)
        stoke.await_current("main", 6, 60.0)
        load.await_more(20)
        before, containers = ids(stoke, "main"), {row["Id"] for row in engine.containers()}
        assert len(before) == 6
        node = stoke.kill("node")
        load.await_more(20)
        stoke.await_restart("node", node)
        eventually(lambda: stoke.status("main")["current"] == 6, "all six are known")
        assert (ids(stoke, "main"), {row["Id"] for row in engine.containers()}) == (before, containers)
        stoke.provision("main", 1)
        eventually(lambda: len(stoke.instances("main")) == 1, "one is left", 60.0)
        load.await_more(20)
    assert load.failures == {}
    eventually(lambda: len(engine.containers()) == 1, "one container is left")
    stoke.provision("main", 0)


def test_an_image_that_cannot_be_had_is_the_current_error(stoke: Stoke) -> None:
    deploy(stoke, "missing", image="127.0.0.1:1/nobody/nothing:1")
    stoke.provision("missing", 1)
    error = eventually(lambda: stoke.status("missing")["currentError"], "a currentError")
    assert error.startswith("image '127.0.0.1:1/nobody/nothing:1' could not be pulled: ")
    stoke.provision("missing", 0)


def test_status_says_what_shuts_instances_in(stoke: Stoke) -> None:
    isolation = stoke.call("GET", "/stoke/v1/status")["node"]["isolation"]
    assert "read-only root" in isolation["container"]
    assert "memory" in isolation["process"]


def test_without_an_engine_that_answers_stoke_up_says_so(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "control_plane.supervisor",
        "--data",
        str(tmp_path / "data"),
        "--backend",
        "docker",
    ]
    engine = ["--engine", f"unix://{tmp_path}/nothing.sock"]
    done = subprocess.run([*command, *engine], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 2
    assert f"no container engine answers at {tmp_path}/nothing.sock" in done.stderr
