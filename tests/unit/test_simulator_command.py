from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from control_plane.cli import main as stoke
from loadtests.simulator.__main__ import devices_of, main, make_parser
from loadtests.simulator.compare import main as compare
from loadtests.simulator.unseen import main as unseen

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / "provision" / "examples" / "default.json")
BURST = ["--trace", "shape:burst,low=1,high=4,duration_s=60", "--history-seconds", "0", "--config", CONFIG]


def test_it_prints_a_table_that_says_it_is_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BURST, "--compare", str(ROOT / "provision" / "examples" / "from-zero.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Simulated: shape:burst")
    assert len(lines) == 4


def test_how_long_requests_take_is_told_as_the_trace_has_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.csv"
    for text, said in (
        ("arrival,service\n0,0.2\n1,0.4\n2,\n", "service 0.533 s on average"),
        ("arrival\n0\n", "service 1 s,"),
    ):
        path.write_text(text)
        assert main(["--trace", str(path), "--history-seconds", "0", "--config", CONFIG]) == 0
        assert said in capsys.readouterr().out.splitlines()[0]


def test_of_no_judged_request_no_share_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "early.csv"
    path.write_text("time,width_s,requests\n0,1,1\n60,1,0\n")
    assert main(["--trace", str(path), "--history-seconds", "30", "--config", CONFIG]) == 0
    config, within, *_ = capsys.readouterr().out.splitlines()[-1].split()
    assert (config, within) == (CONFIG, "–")


def test_json_is_one_value_with_an_outcome_for_each_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BURST, "-o", "json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["simulated"] is True
    assert values["scenario"]["launch_s"] == 8.0
    assert [found["config"] for found in values["outcomes"]] == [CONFIG]
    assert values["outcomes"][0]["lost"] == 0


def test_a_report_is_one_page_with_a_chart_and_the_same_numbers_as_json(tmp_path: Path) -> None:
    assert main([*BURST, "--report", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "report.html").read_text()
    values = json.loads((tmp_path / "report" / "report.json").read_text())
    assert "<h1>Simulated</h1>" in page
    assert "plotly" in page
    assert values["changes"][CONFIG][0]["before"] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--trace", "shape:wave", "--config", CONFIG], "shape 'wave'; one of"),
        ([*BURST, "--launch-seconds", "-1"], "launch_s: -1.0; a finite number 0 or more is allowed"),
        ([*BURST, "--compare", "none.json"], "none.json"),
        ([*BURST, "--history-seconds", "60"], "history_s: 60.0"),
        (["--trace", "MIXED", *BURST[2:]], "lasts 1700000001 s; at most 2678400 are allowed (since and until cut)"),
    ],
)
def test_what_is_wrong_is_said_with_exit_code_2(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = tmp_path / "mixed.csv"  # times of two kinds
    mixed.write_text("time\n0\n1700000000\n")
    with pytest.raises(SystemExit) as ended:
        main([str(mixed) if part == "MIXED" else part for part in arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_key_that_a_config_does_not_have_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "provision.json"
    path.write_text('{"target": 1, "targets": 2}')
    with pytest.raises(SystemExit):
        main([*BURST[:-1], str(path)])
    assert "targets" in capsys.readouterr().err


def test_a_config_is_read_as_it_is_where_it_is_put(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "provision.json"
    path.write_bytes(b'\xef\xbb\xbf{"target": 1}')  # as some editors begin a file
    assert main([*BURST[:-1], str(path)]) == 0
    for text, said in ((b'{"target": 1, "target": 2}', "target is given twice"), (b"\xff\xfe", "cannot be read")):
        path.write_bytes(text)
        with pytest.raises(SystemExit) as ended:
            main([*BURST[:-1], str(path)])
        assert ended.value.code == 2
        told = capsys.readouterr().err
        assert str(path) in told
        assert said in told


def test_a_report_that_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(SystemExit) as ended:
        main([*BURST, "--report", str(path)])
    assert ended.value.code == 2
    assert "File exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        (compare, ["--json", "/none/found.json"], "--json: /none/found.json; a file in a folder that exists"),
        (unseen, ["--trace", "/none/trace.csv"], "/none/trace.csv cannot be read"),
    ],
)
def test_tables_of_minutes_are_not_begun_with_a_file_that_cannot_be(
    command: Callable[[list[str]], int], arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_every_option_is_in_the_page_and_the_page_has_no_other() -> None:
    page = (ROOT / "docs" / "simulator.md").read_text().partition("## Other systems' rules")[0]
    written = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page))
    options = {name for action in make_parser()._actions for name in action.option_strings if name.startswith("--")}
    assert written ^ options == {"--help"}


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (["simulate", "--trace", "x.csv", "-o", "json"], ["--trace", "x.csv", "-o", "json"]),
        (["-o", "json", "simulate", "--trace", "x.csv"], ["--output", "json", "--trace", "x.csv"]),
        (["simulate", "--help"], ["--help"]),
    ],
)
def test_the_command_becomes_the_simulator(
    given: list[str], passed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _program, arguments: became.append(arguments))
    with pytest.raises(SystemExit):
        stoke(given)
    assert became == [[sys.executable, "-m", "loadtests.simulator", *passed]]


def test_what_is_recorded_needs_a_running_stoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for what, said in (("svc/f", "no Stoke runs with the data folder"), ("f", "'f': SERVICE/FUNCTION is expected")):
        with pytest.raises(SystemExit) as ended:
            main(["--recorded", what, "--data", str(tmp_path)])
        assert ended.value.code == 2
        assert said in capsys.readouterr().err


def test_a_trace_without_a_config_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--trace", "shape:steady,duration_s=60", "--history-seconds", "0"])
    assert ended.value.code == 2
    assert "--config FILE is needed" in capsys.readouterr().err


def test_a_share_of_a_card_makes_gpu_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BURST, "--device-share", "0.25", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["outcomes"][0]
    assert found["gpu_seconds"] == pytest.approx(found["instance_seconds"] / 4, abs=1e-5)
    assert found["optimum_seconds"] is None


def test_the_optimum_is_computed_when_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("highspy", reason="highspy, of the extra 'loadtests', is not installed")
    assert main([*BURST, "--optimum", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["outcomes"][0]
    assert 0.0 < found["optimum_seconds"] < found["instance_seconds"]


def test_an_optimum_without_its_solver_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("loadtests.simulator.__main__.find_spec", lambda _name: None)
    with pytest.raises(SystemExit):
        main([*BURST, "--optimum"])
    assert "highspy computes it and is not installed" in capsys.readouterr().err


def test_a_recorded_launch_time_counts_where_no_option_says_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recorded.csv"
    path.write_text("time,width_s,requests,service_s,launch_s\n0,0.1,1,,2.5\n30,0.1,0,,\n")
    for more, launch_s in (([], 2.5), (["--launch-seconds", "1"], 1.0)):
        assert main(["--trace", str(path), "--config", CONFIG, "--history-seconds", "0", "-o", "json", *more]) == 0
        assert json.loads(capsys.readouterr().out)["scenario"]["launch_s"] == launch_s


def test_devices_are_given_by_number_and_memory() -> None:
    assert devices_of("") == ()
    assert devices_of("2:16384,1:81920") == (16_384, 16_384, 81_920)


@pytest.mark.parametrize("text", ["1", "1:", ":1", "0:5", "a:b", "-1:5", "2000:5"])
def test_devices_that_are_spelled_wrong_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="N:MEMORY_MIB is allowed, with N from 1 to 1024"):
        devices_of(text)
