"""Stoke's own parts of a policy: forecast, behavior, Prometheus. What is taken, given back and refused."""

from __future__ import annotations

from typing import Any

import pytest

from provision.config import ConfigError, ProvisionConfig, parse, unknown_fields
from tests.unit.provision_story import tracking

ELSEWHERE = {"metricType": "Prometheus", "metricTarget": 50.0, "url": "http://127.0.0.1:9090", "query": "sum(up)"}
RATE = {"type": "Pods", "value": 2, "periodSeconds": 60}
SLOWLY = {"policies": [RATE], "stabilizationWindowSeconds": 120}


def given(**changes: Any) -> dict[str, Any]:
    return {"targetTrackingPolicies": [tracking(**changes)]}


@pytest.mark.parametrize(
    "changes",
    [
        {"forecast": {"season": "day"}},
        {"forecast": {"season": "none"}, "metricType": "RequestsPerSecond"},
        {"forecast": {"season": "week"}, "metricType": "GPUSmUtilization", "scaleInDelaySeconds": 60},
        {"behavior": "HPA"},
        {"behavior": {"scaleUp": SLOWLY}},
        {"behavior": {"scaleUp": {"tolerance": 0.05}, "scaleDown": {"selectPolicy": "Disabled"}}},
        ELSEWHERE,
        ELSEWHERE | {"metricTargetType": "Value", "url": "https://metrics.example/tenant/a"},
        ELSEWHERE | {"behavior": {"scaleDown": SLOWLY}},
        ELSEWHERE | {"forecast": {"season": "week"}},
    ],
)
def test_what_came_in_goes_out(changes: dict[str, Any]) -> None:
    config = parse(given(**changes))
    written = config.model_dump(mode="json", by_alias=True)["targetTrackingPolicies"]
    assert written == given(**changes)["targetTrackingPolicies"]
    assert ProvisionConfig.model_validate_json(config.model_dump_json(by_alias=True)) == config
    assert unknown_fields(given(**changes)) == []


@pytest.mark.parametrize("spelled", ["HPA", {}, {"scaleUp": {}}, {"scaleUp": None, "scaleDown": {"policies": None}}])
def test_all_defaults_have_one_word(spelled: Any) -> None:
    config = parse(given(behavior=spelled))
    assert config.model_dump(mode="json", by_alias=True)["targetTrackingPolicies"][0]["behavior"] == "HPA"
    assert config == parse(given(behavior="HPA"))


RATES = "behavior.scaleUp.policies"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"forecast": "day"}, 'forecast is "day": must be an object with the season'),
        ({"forecast": {}}, "forecast.season is missing: must be one of day, week, none"),
        ({"forecast": {"season": "year"}}, 'forecast.season is "year": must be one of day, week, none'),
        (
            {"forecast": {"season": "day"}, "metricType": "WaitingLength"},
            'forecast is {"season": "day"}: must be left out with metricType WaitingLength, which tells nothing of how '
            "many requests come",
        ),
        ({"behavior": "KPA"}, 'behavior is "KPA": must be HPA, or an object with scaleUp and scaleDown'),
        ({"behavior": {"scaleUp": 3}}, "behavior.scaleUp is 3: must be an object of scaling rules"),
        (
            {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 3601}}},
            "behavior.scaleDown.stabilizationWindowSeconds is 3601: must be a whole number from 0 to 3600",
        ),
        (
            {"behavior": {"scaleUp": {"selectPolicy": "Most"}}},
            'behavior.scaleUp.selectPolicy is "Most": must be one of Max, Min, Disabled',
        ),
        (
            {"behavior": {"scaleUp": {"tolerance": 2}}},
            "behavior.scaleUp.tolerance is 2: must be a number from 0 to 1",
        ),
        ({"behavior": {"scaleUp": {"policies": []}}}, f"{RATES} is []: must be a list of 1 to 10 scaling policies"),
        (
            {"behavior": {"scaleUp": {"policies": [RATE | {"value": 0}]}}},
            f"{RATES}[0].value is 0: must be a whole number from 1 to 1000000",
        ),
        (
            {"behavior": {"scaleUp": {"policies": [RATE | {"periodSeconds": 1801}]}}},
            f"{RATES}[0].periodSeconds is 1801: must be a whole number from 1 to 1800",
        ),
        (
            {"behavior": {"scaleUp": {"policies": [RATE | {"type": "Share"}]}}},
            f'{RATES}[0].type is "Share": must be one of Pods, Percent',
        ),
        (
            {"behavior": "HPA", "scaleInDelaySeconds": 60},
            "scaleInDelaySeconds is 60: must be left out with behavior, which has its own windows and limits",
        ),
        (
            {"behavior": "HPA", "forecast": {"season": "none"}},
            'forecast is {"season": "none"}: must be left out with behavior, which has its own windows and limits',
        ),
        (
            {"url": "http://127.0.0.1:9090"},
            'url is "http://127.0.0.1:9090": must be left out with metricType ProvisionedConcurrencyUtilization',
        ),
        (
            ELSEWHERE | {"url": None},
            "url is missing: must be given with metricType Prometheus",
        ),
        (ELSEWHERE | {"query": None}, "query is missing: must be given with metricType Prometheus"),
        (
            ELSEWHERE | {"url": "http://user:secret@127.0.0.1"},
            'url is "http://user:secret@127.0.0.1": must be a text that begins with http:// or https://, '
            "without a user or a query",
        ),
        (ELSEWHERE | {"query": ""}, 'query is "": must be a text of 1 to 2048 characters, in PromQL'),
        (
            ELSEWHERE | {"metricTargetType": "Utilization"},
            'metricTargetType is "Utilization": must be one of AverageValue, Value',
        ),
    ],
)
def test_what_is_wrong_is_named_by_place_and_field(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(given(**changes))
    assert f"targetTrackingPolicies[0].{problem}" in caught.value.problems


@pytest.mark.parametrize("url", ["ftp://h", "http://", "http:/h", "http://h?x=1", "http://h/#a", "http://h h", "//h"])
def test_a_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="url is "):
        parse(given(**ELSEWHERE | {"url": url}))


def test_slips_in_nested_parts_are_told_with_what_was_meant() -> None:
    slips = given(
        forecast={"seasn": "day"},
        behavior={"scaleup": {}, "scaleDown": {"policies": [{"typ": "Pods"}, 3]}, "scaleUp": 3},
    )
    assert unknown_fields(slips) == [
        "targetTrackingPolicies[0].forecast.seasn is not a field: did you mean season?",
        "targetTrackingPolicies[0].behavior.scaleup is not a field: did you mean scaleUp?",
        "targetTrackingPolicies[0].behavior.scaleDown.policies[0].typ is not a field: did you mean type?",
    ]
