"""The alerting rules and the dashboard in deploy/monitoring name metrics and labels that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.metric_pages import every_sample

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "monitoring"
PAGE = (ROOT / "docs" / "monitoring.md").read_text()
OF_PROMETHEUS = {"job", "instance", "gateway"}  # on each sample that is scraped; `gateway` where there are several

Object = dict[str, Any]
RULES: list[Object] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: Object = json.loads((FOLDER / "dashboard.json").read_text())
QUERIES = [
    *(pytest.param(rule["expr"], id=rule["alert"]) for rule in RULES),
    *(
        pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    ),
]


def metrics(query: str) -> set[str]:
    return set(re.findall(r"\b(?:stoke|process)_\w+|\bup\b", query))


def labels(query: str) -> set[str]:
    """Those that a query selects or sums by."""
    selected = re.findall(r"(\w+) ?(?:=~|!~|!=|=)\"", query)
    summed = [name.strip() for names in re.findall(r"by \(([^)]*)\)", query) for name in names.split(",")]
    return {*selected, *summed}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_names_metrics_and_labels_that_there_are(query: str) -> None:
    there: dict[str, set[str]] = {"up": set()}
    for name, of_sample in every_sample():
        there.setdefault(name, set()).update(of_sample)
    named = metrics(query)
    assert named
    assert named - there.keys() == set()
    for name in named:
        assert labels(query) - there[name] - OF_PROMETHEUS == set()


@pytest.mark.parametrize("query", QUERIES)
def test_a_querys_brackets_and_quotes_are_closed(query: str) -> None:
    assert query.count('"') % 2 == 0
    bare = re.sub(r'"[^"]*"', "", query)
    assert [bare.count(each) for each in "([{"] == [bare.count(each) for each in ")]}"]


@pytest.mark.parametrize("query", QUERIES)
def test_counters_are_rates_and_gauges_are_not(query: str) -> None:
    for name in metrics(query):
        is_counter = name.endswith(("_total", "_bucket"))
        assert is_counter == bool(re.search(rf"rate\({name}[\[{{]", query)), name


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_waits_says_how_bad_it_is_and_is_in_the_page(rule: Object) -> None:
    assert re.fullmatch(r"\d+m", rule["for"])
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    told = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    by = [set(re.split(", ?", names)) for names in re.findall(r"by \(([^)]*)\)", rule["expr"])]
    assert not by or told <= set.intersection(*by)
    assert f"| `{rule['alert']}` |" in PAGE


def test_the_page_names_no_alert_that_there_is_not() -> None:
    assert set(re.findall(r"`(Stoke[A-Z]\w+)`", PAGE)) == {rule["alert"] for rule in RULES}


def test_a_panel_covers_no_other() -> None:
    places = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
