"""provision.json: what is taken, what is given back, and what is refused with which words."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest

from provision.config import ConfigError, MetricType, ProvisionConfig, parse, unknown_fields

# A user's file as it is.
SAMPLE = """{"target": 2, "targetTrackingPolicies": [{"name": "scaling-policy-demo",
  "startTime": "2023-01-01T16:00:00.000Z", "endTime": "2024-01-01T16:00:00.000Z",
  "metricType": "ProvisionedConcurrencyUtilization", "metricTarget": 0.3, "minCapacity": 2, "maxCapacity": 30}]}"""


A_TARGET = "must be a number above 0, and at most 1 for a utilization"


def policy(**changes: Any) -> dict[str, Any]:
    values = {"name": "p", "metricType": "CPUUtilization", "metricTarget": 0.5, "minCapacity": 1, "maxCapacity": 4}
    return {key: value for key, value in (values | changes).items() if value != "absent"}


def elsewhere(metric: str) -> dict[str, str]:
    """What a metric that is not Stoke's own needs."""
    return {"url": "http://127.0.0.1:9090", "query": "sum(up)"} if metric == "Prometheus" else {}


def action(**changes: Any) -> dict[str, Any]:
    values = {"name": "a", "target": 3, "scheduleExpression": "cron(0 0 20 * * *)"}
    return {key: value for key, value in (values | changes).items() if value != "absent"}


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def problems(given: dict[str, Any] | str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(given)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


# -- what is taken ----------------------------------------------------------------------------------------------------


def test_a_users_file_is_taken_as_it_is() -> None:
    config = parse(SAMPLE)
    (tracking,) = config.target_tracking_policies
    assert (config.target, config.static_target) == (2, 2)
    assert (tracking.name, tracking.metric_target, tracking.min_capacity, tracking.max_capacity) == (
        "scaling-policy-demo",
        0.3,
        2,
        30,
    )
    assert (tracking.start_s, tracking.end_s) == (utc("2023-01-01T16:00:00"), utc("2024-01-01T16:00:00"))
    assert parse(SAMPLE.encode()) == parse(json.loads(SAMPLE)) == config


def test_an_empty_object_is_target_zero() -> None:
    assert parse({}) == ProvisionConfig()
    assert ProvisionConfig().static_target == 0


def test_nulls_are_the_same_as_keys_left_out() -> None:
    given: dict[str, Any] = {"target": None, "defaultTarget": 4, "alwaysAllocateCPU": None, "alwaysAllocateGPU": None}
    given |= {"scheduledActions": None, "targetTrackingPolicies": [policy(startTime=None, timeZone=None)]}
    assert parse(given) == parse({"defaultTarget": 4, "targetTrackingPolicies": [policy()]})


def test_the_default_target_goes_before_the_target() -> None:
    assert parse({"target": 5, "defaultTarget": 0}).static_target == 0
    assert parse({"target": 5}).static_target == 5


def test_unknown_keys_are_ignored() -> None:
    assert parse({"target": 1, "resource": "1#s#LATEST#f", "current": 3, "x": {}}) == ProvisionConfig(target=1)


@pytest.mark.parametrize("metric", list(MetricType))
def test_every_metric_type_is_given_back_as_it_was_spelled(metric: MetricType) -> None:
    config = parse({"targetTrackingPolicies": [policy(metricType=metric.value, **elsewhere(metric))]})
    assert config.model_dump(mode="json", by_alias=True)["targetTrackingPolicies"][0]["metricType"] == metric.value


def test_gpu_memory_has_two_spellings_and_one_meaning() -> None:
    assert MetricType("GPUMemoryUtilization").measured is MetricType.GPU_MEMORY
    assert MetricType("GPUMemUtilization").measured is MetricType.GPU_MEMORY


def test_what_came_in_goes_out() -> None:
    given = {
        "target": 2,
        "defaultTarget": 3,
        "alwaysAllocateCPU": False,
        "alwaysAllocateGPU": True,
        "scheduledActions": [
            action(startTime="2026-01-01T08:00:00", endTime="2026-02-01T08:00:00", timeZone="Asia/Shanghai")
        ],
        "targetTrackingPolicies": [
            policy(startTime="2023-01-01T16:00:00.000Z", endTime="2024-01-01T16:00:00Z"),
            policy(name="q", metricTarget=1, stableWindowSeconds=30, panicWindowSeconds=5, scaleInDelaySeconds=90),
            policy(name="r", metricType="WaitingLength", panicThreshold=2, scaleOutLimit=4, scaleInLimit=1),
        ],
    }
    config = parse(given)
    assert config.model_dump(mode="json", by_alias=True) == given
    assert ProvisionConfig.model_validate_json(config.model_dump_json(by_alias=True)) == config


@pytest.mark.parametrize(
    ("text", "zone", "moment"),
    [
        ("2026-06-01T16:00:00.000Z", None, "2026-06-01T16:00:00"),
        ("2026-06-01t16:00:00z", None, "2026-06-01T16:00:00"),
        ("2026-06-01T16:00:00+08:00", None, "2026-06-01T08:00:00"),
        ("2026-06-01T16:00:00-03:30", None, "2026-06-01T19:30:00"),
        ("2026-06-01T16:00:00.5Z", None, "2026-06-01T16:00:00.500000"),
        ("2026-06-01T16:00:00", "Asia/Shanghai", "2026-06-01T08:00:00"),
        ("2026-06-01T16:00:00", "UTC", "2026-06-01T16:00:00"),
        ("2026-06-01T16:00:00Z", "Asia/Shanghai", "2026-06-01T16:00:00"),
    ],
)
def test_a_time_is_utc_by_its_z_and_else_local_to_the_time_zone(text: str, zone: str | None, moment: str) -> None:
    config = parse({"targetTrackingPolicies": [policy(startTime=text, timeZone=zone)]})
    assert config.target_tracking_policies[0].start_s == utc(moment)


@pytest.mark.parametrize("metric", ["RequestsPerSecond", "QueueWaitMilliseconds", "WaitingLength"])
def test_a_metric_that_is_no_utilization_may_have_a_target_above_one(metric: str) -> None:
    (tracking,) = parse(
        {"targetTrackingPolicies": [policy(metricType=metric, metricTarget=250)]}
    ).target_tracking_policies
    assert tracking.metric_target == 250


def test_what_is_left_out_has_its_default() -> None:
    (tracking,) = parse({"targetTrackingPolicies": [policy()]}).target_tracking_policies
    assert (tracking.stable_window_s, tracking.panic_window_s, tracking.scale_in_delay_s) == (60, 3, 0)
    assert (tracking.panic_factor, tracking.scale_out_limit, tracking.scale_in_limit) == (1.0, None, None)


def test_without_start_and_end_it_always_holds() -> None:
    tracking = parse({"targetTrackingPolicies": [policy()]}).target_tracking_policies[0]
    assert (tracking.start_s, tracking.end_s) == (-math.inf, math.inf)
    assert tracking.holds_at(0.0)


def test_it_holds_from_the_start_until_before_the_end() -> None:
    start, end = utc("2026-01-01T00:00:00"), utc("2026-01-02T00:00:00")
    given = policy(startTime="2026-01-01T00:00:00Z", endTime="2026-01-02T00:00:00Z")
    tracking = parse({"targetTrackingPolicies": [given]}).target_tracking_policies[0]
    assert [tracking.holds_at(now) for now in (start - 0.001, start, end - 0.001, end)] == [False, True, True, False]


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"target": -1}, "target is -1: must be a whole number from 0 to 10000"),
        ({"target": 10_001}, "target is 10001: must be a whole number from 0 to 10000"),
        ({"target": True}, "target is true: must be a whole number from 0 to 10000"),
        ({"target": "2"}, 'target is "2": must be a whole number from 0 to 10000'),
        ({"target": 2.5}, "target is 2.5: must be a whole number from 0 to 10000"),
        ({"target": float("nan")}, "target is NaN: must be a whole number from 0 to 10000"),
        ({"defaultTarget": -2}, "defaultTarget is -2: must be a whole number from 0 to 10000"),
        ({"alwaysAllocateCPU": "yes"}, 'alwaysAllocateCPU is "yes": must be true or false'),
        ({"alwaysAllocateGPU": 1}, "alwaysAllocateGPU is 1: must be true or false"),
        (
            {"scheduledActions": {}},
            "scheduledActions is {}: must be a list of at most 100 scheduled actions",
        ),
        ({"scheduledActions": [3]}, "scheduledActions[0] is 3: must be a JSON object"),
        ({"targetTrackingPolicies": [None]}, "targetTrackingPolicies[0] is null: must be a JSON object"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(given: dict[str, Any], problem: str) -> None:
    assert problems(given) == (problem,)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": ""}, 'name is "": must be a text of 1 to 128 characters'),
        ({"name": 7}, "name is 7: must be a text of 1 to 128 characters"),
        ({"name": "absent"}, "name is missing: must be a text of 1 to 128 characters"),
        ({"metricTarget": 0}, f"metricTarget is 0: {A_TARGET}"),
        ({"metricTarget": 1.5}, f"metricTarget is 1.5: {A_TARGET}"),
        ({"metricTarget": "0.5"}, f'metricTarget is "0.5": {A_TARGET}'),
        ({"metricTarget": float("nan")}, f"metricTarget is NaN: {A_TARGET}"),
        ({"metricTarget": float("inf")}, f"metricTarget is Infinity: {A_TARGET}"),
        ({"metricTarget": None}, f"metricTarget is missing: {A_TARGET}"),
        ({"metricType": "RequestsPerSecond", "metricTarget": 0}, f"metricTarget is 0: {A_TARGET}"),
        ({"minCapacity": -1}, "minCapacity is -1: must be a whole number from 0 to 10000"),
        ({"maxCapacity": 0, "minCapacity": 0}, "maxCapacity is 0: must be a whole number from 1 to 10000"),
        ({"minCapacity": 5}, "minCapacity is 5: must be at most maxCapacity (4)"),
        (
            {"startTime": "2026-01-02T00:00:00Z", "endTime": "2026-01-01T00:00:00Z"},
            'endTime is "2026-01-01T00:00:00Z": must be after startTime (2026-01-02T00:00:00Z)',
        ),
        (
            {"startTime": "2026-01-02T00:00:00Z", "endTime": "2026-01-02T00:00:00Z"},
            'endTime is "2026-01-02T00:00:00Z": must be after startTime (2026-01-02T00:00:00Z)',
        ),
        ({"startTime": "tomorrow"}, 'startTime is "tomorrow": must be a time like 2026-01-31T16:00:00Z'),
        ({"startTime": 1}, "startTime is 1: must be a time like 2026-01-31T16:00:00Z"),
        (
            {"endTime": "2026-01-01T00:00:00"},
            'endTime is "2026-01-01T00:00:00": '
            "must end in Z (UTC), like 2026-01-31T16:00:00Z, unless timeZone is given",
        ),
        (
            {"timeZone": "Mars"},
            'timeZone is "Mars": must be an IANA time zone such as UTC, Asia/Shanghai or Europe/Berlin',
        ),
        ({"stableWindowSeconds": 5}, "stableWindowSeconds is 5: must be a whole number from 10 to 600"),
        ({"panicWindowSeconds": 61}, "panicWindowSeconds is 61: must be a whole number from 1 to 60"),
        ({"scaleInDelaySeconds": 3601}, "scaleInDelaySeconds is 3601: must be a whole number from 0 to 3600"),
        ({"panicThreshold": 0.5}, "panicThreshold is 0.5: must be a number from 1 to 10"),
        ({"panicThreshold": 11}, "panicThreshold is 11: must be a number from 1 to 10"),
        ({"scaleOutLimit": 0}, "scaleOutLimit is 0: must be a whole number from 1 to 10000"),
        ({"scaleInLimit": 1.5}, "scaleInLimit is 1.5: must be a whole number from 1 to 10000"),
        (
            {"stableWindowSeconds": 10, "panicWindowSeconds": 20},
            "panicWindowSeconds is 20: must be at most stableWindowSeconds (10)",
        ),
    ],
)
def test_a_wrong_policy_is_named_by_place_and_field(changes: dict[str, Any], problem: str) -> None:
    assert problems({"targetTrackingPolicies": [policy(name="q"), policy(**changes)]}) == (
        f"targetTrackingPolicies[1].{problem}",
    )


def test_an_unknown_metric_type_is_answered_with_all_there_are() -> None:
    (problem,) = problems({"targetTrackingPolicies": [policy(metricType="GPUUtilization")]})
    assert problem.startswith('targetTrackingPolicies[0].metricType is "GPUUtilization": must be one of ')
    assert all(metric.value in problem for metric in MetricType)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"target": "absent"}, "target is missing: must be a whole number from 0 to 10000"),
        (
            {"scheduleExpression": "cron(0 99 * * * *)"},
            'scheduleExpression is "cron(0 99 * * * *)": Minutes is 99: must be 0-59, with , - * /',
        ),
        ({"timeZone": "Mars", "scheduleExpression": "cron(0 99 * * * *)"}, 'timeZone is "Mars": must be an IANA'),
    ],
)
def test_a_wrong_action_is_named_by_place_and_field(changes: dict[str, Any], problem: str) -> None:
    (found,) = problems({"scheduledActions": [action(**changes)]})
    assert found.startswith(f"scheduledActions[0].{problem}")


def test_everything_wrong_is_told_at_once() -> None:
    given = {
        "target": -1,
        "scheduledActions": [action(endTime="soon", scheduleExpression="never")],
        "targetTrackingPolicies": [policy(metricTarget=2), policy(name="q", minCapacity=9)],
    }
    assert [problem.split(" is ")[0] for problem in problems(given)] == [
        "target",
        "scheduledActions[0].endTime",
        "scheduledActions[0].scheduleExpression",
        "targetTrackingPolicies[0].metricTarget",
        "targetTrackingPolicies[1].minCapacity",
    ]


def test_names_are_unique_within_a_list() -> None:
    given = {"scheduledActions": [action(name="p")], "targetTrackingPolicies": [policy(), policy(name="q"), policy()]}
    assert problems(given) == ('targetTrackingPolicies[2].name is "p": must be another name than those before it',)


def test_a_list_has_a_limit() -> None:
    (problem,) = problems({"targetTrackingPolicies": [policy(name=str(n)) for n in range(101)]})
    assert problem.endswith("must be a list of at most 100 target-tracking policies")
    assert len(problem) < 250


@pytest.mark.parametrize("text", ["", "{", "[1, 2", "nonsense", "[" * 100_000, "\ud800", b"\xff"])
def test_a_text_that_is_not_json_is_refused(text: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith("the provision config is not JSON: ")


@pytest.mark.parametrize("text", ["[]", "null", "3", '"target"'])
def test_json_that_is_no_object_is_refused(text: str) -> None:
    assert problems(text) == (f"the provision config is {text}: must be a JSON object",)


def test_a_problem_can_be_sent_on_whatever_the_value() -> None:
    for problem in problems({"scheduledActions": [action(scheduleExpression="\ud800")]}):
        assert problem.encode()


# -- slips ------------------------------------------------------------------------------------------------------------


def test_unknown_fields_are_named_with_what_may_have_been_meant() -> None:
    given = {
        "taget": 1,
        "targetTrackingPolicies": [policy(metrictarget=0.5), 3],
        "scheduledActions": [action(whatever=1)],
    }
    assert unknown_fields(given) == [
        "taget is not a field: did you mean target?",
        "scheduledActions[0].whatever is not a field: "
        "must be one of name, startTime, endTime, timeZone, target, scheduleExpression",
        "targetTrackingPolicies[0].metrictarget is not a field: did you mean metricTarget?",
    ]


def test_a_config_that_was_read_has_no_unknown_fields() -> None:
    read = {"resource": "1#s#LATEST#f", "current": 2, "currentError": "", "target": 2, "alwaysAllocateCPU": True}
    assert unknown_fields(read | {"targetTrackingPolicies": [policy()], "scheduledActions": [action()]}) == []


@pytest.mark.parametrize("given", [{"targetTrackingPolicies": 3}, {"scheduledActions": None}, {3: 4}])
def test_unknown_fields_never_raises(given: dict[str, Any]) -> None:
    assert isinstance(unknown_fields(given), list)
