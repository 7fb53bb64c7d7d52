from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from control_plane.cli import main as stoke
from control_plane.cli.provision import provision_body
from loadtests.simulator.command import main as simulate
from loadtests.simulator.recorded import Price, price
from loadtests.simulator.suggest_command import main, make_parser
from loadtests.simulator.suggestion import requests_min

ROOT = Path(__file__).parents[2]
SHAPE = "shape:step,low=1,high=4,duration_s=60"
WAIT = ["--service-seconds", "0.5", "--launch-seconds", "4", "--wait-ms", "1500", "--percentile", "95"]
STEP = ["--trace", SHAPE, "--history-seconds", "9", "--on-demand-max", "0", *WAIT]


def test_the_evidence_is_a_table_and_the_config_comes_after_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(STEP) == 0
    told = capsys.readouterr()
    table, _, text = told.out.partition("\n\n")
    lines = table.splitlines()
    assert lines[0].startswith("Simulated: shape:step")
    assert "wanted: 95% within 1500 ms" in lines[0]
    assert lines[-1].startswith("Suggested: ")
    assert any(line.startswith("static") for line in lines)
    assert isinstance(json.loads(text), dict)
    assert "1: static" in told.err


def test_what_is_written_is_what_provision_put_takes_and_meets_its_slo_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "provision.json"
    assert main([*STEP, "--out", str(out), "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert provision_body(out, None, None, None) == json.loads(out.read_text()) == found["config"]
    again = [*STEP[:-4], "--wait-limit-seconds", "1.5", "--config", str(out), "-o", "json"]
    assert simulate(again) == 0
    outcome = json.loads(capsys.readouterr().out)["outcomes"][0]
    taken = next(one for one in found["candidates"] if one["candidate"] == found["suggested"])
    assert outcome["attainment"] >= 0.95
    assert outcome["instance_seconds"] == taken["outcome"]["instance_seconds"]


def test_json_has_all_that_was_tried_with_the_price_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*STEP, "--instance-second-cost", "0.5", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["simulated"] is True
    assert found["wanted"] == {"wait_ms": 1500.0, "percentile": 95.0}
    names = [one["candidate"] for one in found["candidates"]]
    assert len(set(names)) == len(names)
    assert {found["suggested"], found["static"]} <= set(names)
    for one in found["candidates"]:
        assert one["price"] == pytest.approx(0.5 * one["outcome"]["instance_seconds"], abs=1e-5)
        assert one["meets"] is (min(one["attainment"], one["attainment_held_out"]) >= 0.95)


def test_the_cost_is_a_column_where_there_is_a_price(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*STEP, "--instance-second-cost", "0.5"]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("cost")


def test_two_runs_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for _ in range(2):
        assert main([*STEP, "-o", "json"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]


def test_an_slo_that_nothing_meets_is_said_with_the_nearest_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "provision.json"
    assert main([*STEP, "--max-capacity", "1", "--out", str(out)]) == 1
    told = capsys.readouterr()
    assert "no candidate with at most 1 instance (--max-capacity) keeps 95% within 1500 ms" in told.err
    assert "the nearest is" in told.err
    assert "static 1" in told.out
    assert not out.exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--wait-ms", "0"], "--wait-ms: 0; above 0 to 60000 is allowed"),
        (["--wait-ms", "nan"], "--wait-ms: nan"),
        (["--percentile", "99.95"], "--percentile: 99.95; from 50 to 99.9 is allowed"),
        (["--percentile", "0.99"], "--percentile: 0.99; from 50 to 99.9 is allowed"),
        (["--max-capacity", "0"], "--max-capacity: 0; from 1 to 10000 is allowed"),
        (["--instance-second-cost", "-1"], "--instance-second-cost: -1"),
        (["--instance-second-cost", "inf"], "--instance-second-cost: inf; a finite number"),
        (["--time-zone", "Berlin"], "--time-zone: Berlin; must be an IANA time zone"),
        (["--since", "soon"], "--since: 'soon'; 90s, 30m"),
        (["--since", "2027-01-01T00:00:00"], "since, until: no request of shape:step"),
        (["--since", "15s"], "needs 20 or more"),
        (["--percentile", "99.9"], "each part needs 1000 or more, as 0.999 of fewer cannot be told from all"),
        (["--launch-seconds", "60"], "more than one launch (60 s)"),
        (["--history-seconds", "200"], "too little of shape:step is judged: 0 requests in 0 s"),
        (["--trace", "shape:steady,low=1,high=1,duration_s=800000", "--service-seconds", "1000"], "at most 604800"),
        (["--trace", "none.csv"], "none.csv cannot be read"),
        (["--out", "/none/provision.json"], "--out: /none/provision.json; a file in a folder that exists"),
        (["--out", "/tmp"], "--out: /tmp; a file in a folder that exists"),
    ],
)
def test_what_is_wrong_is_said_with_exit_code_2(
    changed: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*STEP, *changed])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_part_of_a_trace_is_that_before_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*STEP, "--since", "50s", "--until", "2026-01-01T00:00:55", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["trace"]["duration_s"] == 45.0


def test_a_simulation_of_a_part_is_cut_alike(capsys: pytest.CaptureFixture[str]) -> None:
    config = str(ROOT / "provision" / "examples" / "default.json")
    part = ["--since", "50s", "--until", "5s", "--config", config, "--history-seconds", "0", "-o", "json"]
    assert simulate(["--trace", SHAPE, *part]) == 0
    assert json.loads(capsys.readouterr().out)["trace"]["duration_s"] == 45.0


def test_what_is_recorded_needs_a_running_stoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--recorded", "svc/f", "--wait-ms", "500", "--data", str(tmp_path)])
    assert ended.value.code == 2
    assert "no Stoke runs with the data folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (["provision", "suggest", "--trace", "x.csv", "-o", "json"], ["--trace", "x.csv", "-o", "json"]),
        (["-o", "json", "provision", "suggest", "--trace", "x"], ["--output", "json", "--trace", "x"]),
        (
            ["--endpoint", "http://e", "provision", "--data", "/d", "suggest", "--recorded", "s/f"],
            ["--endpoint", "http://e", "--data", "/d", "--recorded", "s/f"],
        ),
        (["provision", "suggest", "--help"], ["--help"]),
    ],
)
def test_the_command_becomes_the_search(given: list[str], passed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _program, arguments: became.append(arguments))
    with pytest.raises(SystemExit):
        stoke(given)
    assert became == [[sys.executable, "-m", "loadtests.simulator.suggest", *passed]]


def test_every_option_is_in_the_page_and_the_page_has_no_other() -> None:
    page = (ROOT / "docs" / "suggest.md").read_text().partition("## Options")[2]
    written = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page))
    options = {name for action in make_parser()._actions for name in action.option_strings if name.startswith("--")}
    assert written ^ options == {"--help"}


@pytest.mark.parametrize(
    ("functions", "found"),
    [
        ([{"instance_second_cost": 0.25}], Price(0.25, "EUR")),
        ([{"instance_second_cost": None}], None),
        ([], None),
    ],
)
def test_the_price_of_an_instance_second_is_what_it_has_cost(
    functions: list[dict[str, Any]], found: Price | None
) -> None:
    assert price({"currency": "EUR", "functions": functions}) == found


def test_a_price_is_told_with_its_currency_if_it_has_one() -> None:
    assert Price(0.5, "EUR").of(3.0) == "1.5000 EUR"
    assert Price(0.5).of(3000.0) == "1,500.0000"


@pytest.mark.parametrize(("share", "least"), [(0.5, 2), (0.95, 20), (0.99, 100), (0.999, 1000)])
def test_a_part_needs_as_many_requests_as_let_one_be_late(share: float, least: int) -> None:
    assert requests_min(share) == least
