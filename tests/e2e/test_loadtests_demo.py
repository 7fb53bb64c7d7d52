"""The demo's own way, with a small fake Stoke and a `stoke` command that only takes notes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from loadtests import demo, local
from loadtests.local import LocalStoke
from tests.support.fake_stoke import FakeStoke, served

pytestmark = pytest.mark.alone

SCRIPT = """#!/bin/sh
echo "$STOKE_DATA $*" >> "$(dirname "$0")/calls"
case $1 in
  {failing}) echo "no such thing"; exit 1 ;;
  up) echo '{{"endpoint": "{endpoint}", "pid": 1}}' > "$STOKE_DATA/stoke.json" ;;
esac
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the fake `stoke` command notes how it was called; `write_stoke` makes the command."""
    monkeypatch.setattr(local, "STOKE", tmp_path / "stoke")
    return tmp_path / "calls"


def write_stoke(folder: Path, endpoint: str, failing: str = "nothing") -> None:
    script = folder / "stoke"
    script.write_text(SCRIPT.format(endpoint=endpoint, failing=failing))
    script.chmod(0o755)


def verbs(calls: Path, data: Path) -> list[str]:
    lines = [line.split() for line in calls.read_text().splitlines()]
    assert {line[0] for line in lines} == {str(data)}
    return [line[1] for line in lines]


def test_the_demo_deploys_provisions_bursts_and_stops(tmp_path: Path, calls: Path) -> None:
    data, report = tmp_path / "data", tmp_path / "report"
    load = ("--shape", "burst", "--low", "1", "--high", "6", "--duration-s", "5", "--settle-s", "10")
    with served(FakeStoke()) as fake, (tmp_path / "output").open("w") as output:
        write_stoke(tmp_path, fake.endpoint)
        with LocalStoke(data) as stoke:
            assert demo.demonstrate(stoke, report, Console(file=output), load) == []
    assert verbs(calls, data) == ["up", "deploy", "provision", "down"]
    shown = (tmp_path / "output").read_text()
    assert '{"digit":7}' in shown
    assert str(report / "report.html") in shown


@pytest.mark.parametrize("failing", ["up", "deploy"])
def test_stoke_is_stopped_when_a_step_fails(
    failing: str, tmp_path: Path, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_stoke(tmp_path, "http://127.0.0.1:1", failing)
    assert demo.main(["--data", str(tmp_path / "data"), "--report", str(tmp_path / "report")]) == 1
    assert verbs(calls, tmp_path / "data")[-1] == "down"
    assert "no such thing" in capsys.readouterr().out


def test_a_stoke_that_runs_already_is_left_alone(
    tmp_path: Path, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_stoke(tmp_path, "http://127.0.0.1:1")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "stoke.json").write_text(json.dumps({"endpoint": "http://127.0.0.1:1", "pid": os.getpid()}))
    assert demo.main(["--data", str(tmp_path / "data")]) == 1
    assert not calls.exists()
    assert "already runs" in capsys.readouterr().out
