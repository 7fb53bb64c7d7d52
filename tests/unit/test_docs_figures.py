"""What the pages say in numbers and names is what the programs have: defaults, metrics, error codes."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.fleet_views import InstanceView, PoolView
from control_plane.settings import ControlPlaneSettings
from control_plane.stoke_fields import FunctionTraffic, TriggerTraffic
from loadtests.run import make_parser as load_parser
from runtime.gateway.access_log import Record, line_of
from runtime.gateway.settings import GatewaySettings
from runtime.node.__main__ import make_parser as node_parser
from runtime.node.settings import NodeSettings
from runtime.node_contract import InstanceSample, NodeInfo
from tests.support.metric_pages import every_family

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
METRICS = (ROOT / "docs" / "monitoring.md").read_text().partition("## Alerts")[0]
UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
# Codes of what no client is answered: a node says them to the control plane.
INSIDE = Path("runtime/node")
NONE_IN_WORDS = {"listen_fd", "simulated_gpus", "simulated_gpu_memory_mib"}


def defaults(part: str) -> Iterator[tuple[str, float]]:
    """The numbers that the part's table has, by setting."""
    section = OPERATIONS.partition(f"## Settings of the {part}")[2].partition("\n## ")[0]
    for names, values in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ([^|]+) \|", section, re.M):
        for name, value in zip(names.split(", "), values.split(", "), strict=False):
            figure = re.fullmatch(r"([\d.]+) ?(KiB|MiB|GiB|)", value.strip())
            if figure:
                yield name.strip("`"), float(figure[1]) * UNITS[figure[2]]


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        ("control plane", {name: each.default for name, each in ControlPlaneSettings.model_fields.items()}),
        ("gateway", {each.name: each.default for each in dataclasses.fields(GatewaySettings)}),
        ("node", {each.name: each.default for each in dataclasses.fields(NodeSettings)}),
    ],
)
def test_every_figure_among_the_settings_is_in_the_operations_page_as_it_is_in_force(
    part: str, settings: dict[str, object]
) -> None:
    in_force = {name: value for name, value in settings.items() if type(value) in (int, float)}
    assert dict(defaults(part)) == {name: value for name, value in in_force.items() if name not in NONE_IN_WORDS}


def test_every_metric_is_in_the_page_and_the_page_has_no_other() -> None:
    there = set(every_family())
    written = set(re.findall(r"`((?:stoke|process)_\w+)`", METRICS))
    assert there - written == set()
    assert written - there == set()


def test_a_metrics_labels_are_in_the_page() -> None:
    rows = [line for line in METRICS.splitlines() if line.startswith("| `stoke_")]
    missing = [
        f"{name}: {labels - set(re.findall('[a-z]+', row))}"
        for name, labels in every_family().items()
        for row in rows
        if f"`{name}`" in row and not labels <= set(re.findall("[a-z]+", row))
    ]
    assert missing == []


def codes() -> Iterator[str]:
    """FC's codes as the sources spell them."""
    for path in [*ROOT.glob("control_plane/**/*.py"), *ROOT.glob("runtime/**/*.py")]:
        if path.relative_to(ROOT).is_relative_to(INSIDE):
            continue
        source = path.read_text()
        yield from re.findall(r"\b(?:Refusal|Problem)\(\s*[^,()\"]+,\s*\"(\w+)\"", source)
        yield from re.findall(r"\bSignatureRefused\(\s*\"(\w+)\"", source)
        yield from re.findall(r"\bcode(?:: str)? ?= ?\"([A-Z]\w+)\"", source)
        for kind, noun in re.findall(r"\b(NotFound|AlreadyExists|NotEmpty|InUse|not_found)\(\s*\"(\w+)\"", source):
            yield noun + kind.replace("not_found", "NotFound")


def test_every_error_code_is_in_the_page_of_the_api() -> None:
    page = (ROOT / "docs" / "http-api.md").read_text().partition("## Errors")[2]
    found = set(codes())
    assert len(found) > 30, "the sources are read"
    assert sorted(code for code in found if f"`{code}`" not in page) == []


@pytest.mark.parametrize("page", ["http-api.md", "s-yaml.md"])
def test_stokes_own_settings_are_in_the_pages(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    names = [
        info.alias or name for model in (FunctionTraffic, TriggerTraffic) for name, info in model.model_fields.items()
    ]
    assert [name for name in names if f"`{name}" not in text] == []


def spelled(parser: argparse.ArgumentParser) -> set[str]:
    return {name for action in parser._actions for name in action.option_strings if name.startswith("--")} - {"--help"}


def test_every_option_of_a_load_test_is_in_its_page_and_the_page_has_no_other() -> None:
    page = (
        (ROOT / "docs" / "load-testing.md").read_text().partition("## Load a function")[2].partition("## The report")[0]
    )
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page)) == spelled(load_parser())


def test_every_option_of_a_node_is_in_the_operations_page_and_the_page_has_no_other() -> None:
    section = OPERATIONS.partition("## Settings of the node")[2].partition("\n## ")[0]
    by_their_setting = {"--data", "--socket", "--name"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", section)) == spelled(node_parser()) - by_their_setting


def test_a_setting_without_an_option_reads_no_variable() -> None:
    section = OPERATIONS.partition("## Settings of the node")[2].partition("\n## ")[0]
    said = set(re.findall(r"`(STOKE_\w+)`", section.partition("`STOKE_LOG_LEVEL`")[0]))
    sources = "".join((ROOT / "runtime" / "node" / name).read_text() for name in ("__main__.py", "kind_options.py"))
    assert said == set(re.findall(r"\"(STOKE_\w+)\"", sources)) - {"STOKE_LOG_LEVEL"}


@pytest.mark.parametrize(
    ("route", "shown"),
    [
        ("status", (NodeInfo,)),
        ("instances", (InstanceView, InstanceSample)),
        ("nodes", (NodeInfo, PoolView)),
    ],
)
def test_what_stokes_own_routes_tell_is_in_the_page_of_the_api(route: str, shown: tuple[type[Any], ...]) -> None:
    page = (ROOT / "docs" / "http-api.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| `GET /stoke/v1/{route}` |"))
    names = [each.name for kind in shown for each in dataclasses.fields(kind)]
    # What a node tells of its cards is in `nodes` as `devices`.
    assert [name for name in names if f'"{name}"' not in row and (route, name) != ("nodes", "gpus")] == []


def test_every_key_of_the_access_log_is_in_its_page() -> None:
    record = Record(0.0, "id", "s", "q", "1", "f", b"GET", b"/", 429, "C", 0.1, 0.1, True, "i", 1, 1, b"::1", b"00-1")
    section = (ROOT / "docs" / "monitoring.md").read_text().partition("## Access log")[2].partition("\n## ")[0]
    assert [key for key in json.loads(line_of(record)) if f"`{key}`" not in section] == []
