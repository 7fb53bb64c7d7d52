"""A load test for real, against a small fake Stoke: Locust, the watcher, the report."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.fake_stoke import FakeStoke, served

pytestmark = pytest.mark.alone

END_TIMEOUT_S = 60.0
BODY = b"\x89PNG not really"


def start(endpoint: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    body = folder / "body.png"
    body.write_bytes(BODY)
    command = [sys.executable, "-m", "loadtests.run", "--endpoint", endpoint, "--report", str(folder / "report")]
    command += ["--body-file", str(body), "--low", "1", "--high", "6", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    try:
        return process.communicate(timeout=END_TIMEOUT_S)[0]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_a_burst_is_made_watched_and_reported(tmp_path: Path) -> None:
    with served(FakeStoke()) as fake:
        process = start(fake.endpoint, tmp_path, "--shape", "burst", "--duration-s", "5", "--settle-s", "10")
        output = finish(process)
    assert process.returncode == 0, output
    assert (fake.last_body, fake.last_content_type) == (BODY, "image/png")
    values = json.loads((tmp_path / "report" / "report.json").read_text())
    assert values["total"]["failures"] == 0
    assert values["total"]["requests"] == fake.requests
    assert values["total"]["cold_starts"] == 1
    assert [name["name"] for name in values["by_name"]] == ["POST digits"]
    reaction = values["reaction"]
    assert (reaction["instances_before"], reaction["instances_peak"]) == (2, 8)
    assert 0 < reaction["first_ready_s"] <= reaction["first_served_s"] < 5
    assert reaction["back_s"] is not None
    assert [(change["before"], change["after"]) for change in values["changes"]] == [(2, 8), (8, 2)]
    assert max(row["users"] for row in values["load"]) == 6
    assert (tmp_path / "report" / "report.html").stat().st_size > 1_000_000
    assert f"report: {tmp_path / 'report' / 'report.html'}" in output


def test_failed_requests_are_counted_and_told_by_the_exit_code(tmp_path: Path) -> None:
    with served(FakeStoke(fail_every=5)) as fake:
        process = start(fake.endpoint, tmp_path, "--duration-s", "1", "--pacing-s", "0.05")
        output = finish(process)
    assert process.returncode == 1, output
    values = json.loads((tmp_path / "report" / "report.json").read_text())
    assert values["total"]["failures"] == fake.requests // 5
    assert any("500" in error for error in values["errors"])


def test_a_dead_endpoint_is_a_failure_and_not_a_hang(tmp_path: Path) -> None:
    with socket.socket() as unused:  # bound but not listening: connecting is refused
        unused.bind(("127.0.0.1", 0))
        process = start(
            f"http://127.0.0.1:{unused.getsockname()[1]}", tmp_path, "--duration-s", "1", "--allow-failures"
        )
        output = finish(process)
    assert process.returncode == 0, output
    values = json.loads((tmp_path / "report" / "report.json").read_text())
    assert values["total"]["failures"] == values["total"]["requests"] > 0
    assert values["looks_missed"] > 0
    assert "refused" in output


def test_ctrl_c_stops_the_load_and_still_writes_the_report(tmp_path: Path) -> None:
    with served(FakeStoke()) as fake:
        process = start(fake.endpoint, tmp_path, "--duration-s", "300")
        record, deadline_s = tmp_path / "report" / "requests.jsonl", time.monotonic() + END_TIMEOUT_S
        while not (record.exists() and record.stat().st_size):  # the load has begun
            assert process.poll() is None, "loadtests.run ended before it made a load"
            assert time.monotonic() < deadline_s, "no load was made"
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGINT)
        finish(process)
    assert process.returncode == 130
    assert json.loads((tmp_path / "report" / "report.json").read_text())["total"]["requests"] > 0
    assert not running_with(str(tmp_path)), "Locust was left behind"


def running_with(argument: str) -> list[str]:
    """The command lines of processes that were told `argument`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if argument in command:
            found.append(command)
    return found
