"""`stoke up` and `stoke down` as commands."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis

from control_plane.cli.signed import FcAuth
from runtime.processes import start_time
from tests.support.stoke import ROOT, eventually

pytestmark = pytest.mark.alone


def stoke(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("stoke")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, cwd=ROOT, check=False)


def test_detached_it_prints_the_endpoint_and_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    up = stoke("up", "--data", data, "--listen", "127.0.0.1:0", "--detach")
    assert up.returncode == 0, up.stderr
    endpoint = up.stdout.strip().removeprefix("endpoint: ")
    try:
        assert httpx.get(endpoint + "/stoke/v1/status").status_code == 200
        again = stoke("up", "--data", data, "--listen", "127.0.0.1:0", "--detach")
        assert again.returncode == 1
        assert "already runs" in again.stderr
        pid = int(json.loads((tmp_path / "data" / "stoke.json").read_text())["pid"])
    finally:
        down = stoke("down", "--data", data)
    assert down.returncode == 0, down.stderr
    assert not start_time(pid)
    assert stoke("down", "--data", data).returncode == 0, "down again changes nothing"


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        up = stoke("up", "--data", str(tmp_path / "data"), "--listen", address, "--detach")
    assert up.returncode == 1
    assert f"cannot listen on {address}" in up.stderr
    assert "Traceback" not in up.stderr


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary folder of what a test starts: there sockets lie of a data folder whose name is long."""
    with tempfile.TemporaryDirectory(prefix="stoke-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def test_the_sockets_of_a_data_folder_with_a_long_name_lie_in_a_short_one_while_it_is_up(
    tmp_path: Path, temporary: Path
) -> None:
    data = tmp_path / ("long-" * 20)
    up = stoke("up", "--data", str(data), "--listen", "127.0.0.1:0", "--detach")
    assert up.returncode == 0, up.stderr
    assert list(temporary.glob("stoke-*/store.sock")) != []
    assert stoke("down", "--data", str(data)).returncode == 0
    assert list(temporary.iterdir()) == []


def test_down_stops_what_a_killed_supervisor_has_left(tmp_path: Path, temporary: Path) -> None:
    data = tmp_path / ("long-" * 20)
    assert stoke("up", "--data", str(data), "--listen", "127.0.0.1:0", "--detach").returncode == 0
    subprocess.run(["kill", "-9", str(json.loads((data / "stoke.json").read_text())["pid"])], check=True)
    parts = [json.loads(path.read_text())["pid"] for path in (data / "run").glob("*.pid.json")]
    assert len(parts) == 4
    assert stoke("down", "--data", str(data)).returncode == 0
    eventually(lambda: not any(start_time(pid) for pid in parts), "all parts have ended", 5.0)
    assert list(temporary.iterdir()) == []


def test_a_store_of_ones_own_is_used_and_left_running(tmp_path: Path, store_url: str) -> None:
    data = str(tmp_path / "data")
    up = stoke("up", "--data", data, "--listen", "127.0.0.1:0", "--store", store_url, "--detach")
    assert up.returncode == 0, up.stderr
    endpoint = up.stdout.strip().removeprefix("endpoint: ")
    try:
        assert not (tmp_path / "data" / "run" / "store.pid.json").exists(), "no private store was started"
        body = {"serviceName": "kept"}
        key = json.loads((tmp_path / "data" / "credentials.json").read_text())
        auth = FcAuth(key["access_key_id"], key["access_key_secret"])
        assert httpx.post(endpoint + "/2016-08-15/services", json=body, auth=auth).status_code == 200
    finally:
        assert stoke("down", "--data", data).returncode == 0
    with Redis.from_url(store_url) as redis:
        assert any(b"kept" in key for key in redis.keys("stoke:*"))


def test_each_part_says_how_it_is_started_alone() -> None:
    for part in ("gateway", "node", "control-plane"):
        told = stoke(part, "--help")
        assert told.returncode == 0, told.stderr
        assert "--data" in told.stdout
