"""What docs/backup.md tells to do: a copy of a running Stoke is a Stoke, and parts can be replaced one by one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from control_plane.cli.signed import FcAuth
from tests.support.stoke import ROOT, Load, Stoke, eventually

pytestmark = [pytest.mark.alone, pytest.mark.long]
ECHO = {"app.py": "def handler(event, context):\n    return event\n"}
CLOSED = ("RemoteProtocolError('Server disconnected", "ReadError", "WriteError")
LISTEN = ("--listen", "127.0.0.1:0")


def backup(file: Path, data: Path) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts" / "backup"), str(file), str(data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_what_was_copied_under_load_serves_elsewhere_with_its_functions_targets_and_keys(tmp_path: Path) -> None:
    first, second, file = tmp_path / "first", tmp_path / "second", tmp_path / "stoke.tar.gz"
    with Stoke(first, *LISTEN) as stoke:
        stoke.deploy("echo", ECHO)
        stoke.provision("echo", 2)
        key = stoke.call("POST", "/stoke/v1/keys", {"role": "invoke", "services": ["svc"]})
        stoke.await_current("echo", 2)
        with Load(stoke.trigger_url("echo"), users=2).running() as load:
            load.await_more(20)
            copied = backup(file, first)
            assert copied.returncode == 0, copied.stderr
        assert load.failures == {}
        assert file.stat().st_mode & 0o777 == 0o600
        assert [each.name for each in tmp_path.iterdir() if each not in (first, file)] == [], "nothing is left behind"

        second.mkdir(mode=0o700)
        subprocess.run(["tar", "-xzf", str(file), "-C", str(second)], check=True)
        assert {each.name for each in second.iterdir()} == {"store", "code"}, "keys are kept elsewhere"
        for name in ("credentials.json", "secret.key"):
            shutil.copy2(first / name, second / name)
        with Stoke(second, *LISTEN) as restored:
            restored.await_current("echo", 2)
            assert restored.trigger_url("echo") != stoke.trigger_url("echo")
            assert httpx.post(restored.trigger_url("echo"), timeout=30.0).status_code == 200
            invoked = httpx.post(
                f"{restored.endpoint}/2016-08-15/services/svc/functions/echo/invocations",
                content=b"y",
                auth=FcAuth(key["access_key_id"], key["access_key_secret"]),
                timeout=30.0,
            )
            assert invoked.text == "y"
            mine, theirs = ({row["instance_id"] for row in each.ready("echo")} for each in (stoke, restored))
            assert mine.isdisjoint(theirs), "the first one's instances are left alone"
        assert len(stoke.ready("echo")) == 2


def test_without_a_private_store_there_is_nothing_to_copy(tmp_path: Path) -> None:
    copied = backup(tmp_path / "stoke.tar.gz", tmp_path)
    assert copied.returncode == 2
    assert "has no private store's files" in copied.stderr
    assert list(tmp_path.iterdir()) == []


def test_parts_that_are_stopped_one_by_one_come_back_and_no_request_that_was_begun_fails(tmp_path: Path) -> None:
    with Stoke(tmp_path / "data", *LISTEN) as stoke:
        stoke.deploy("echo", ECHO)
        stoke.provision("echo", 2)
        stoke.await_current("echo", 2)
        before = {row["instance_id"] for row in stoke.ready("echo")}
        with Load(stoke.trigger_url("echo"), users=2).running() as load:
            for part in ("control-plane", "node", "gateway"):
                pid = stoke.pid(part)
                os.kill(pid, signal.SIGTERM)
                stoke.await_restart(part, pid)
                load.await_more(20)
            stoke.kill_supervisor()
            stoke.up()
            load.await_more(20)
        # A gateway that stops closes connections on which no request has begun, as HTTP allows at any time: who sends
        # at that very moment finds it closed, once, and sends anew.
        assert [failure for failure in load.failures if not failure.startswith(CLOSED)] == []
        assert sum(load.failures.values()) <= 2, "one of each client at most"
        eventually(lambda: {row["instance_id"] for row in stoke.ready("echo")} == before, "the same instances serve")
