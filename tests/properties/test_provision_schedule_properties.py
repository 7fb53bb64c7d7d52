"""What holds of every schedule, whatever the expression, the zone and the time."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from provision.config import ConfigError, parse, unknown_fields
from provision.schedule import parse_expression
from tests.support.examples import examples

few = examples(25)
ZONES = [None, "Asia/Shanghai", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"]
# The hours around clock changes, among others a day that Apia left out, and any hour of many years.
moments = st.one_of(
    st.integers(1_325_000_000, 1_325_350_000),
    st.integers(1_774_730_000, 1_774_800_000),
    st.integers(1_792_880_000, 1_792_960_000),
    st.integers(1_600_000_000, 1_900_000_000),
).map(float)


@st.composite
def crons(draw: st.DrawFn) -> str:
    minutes = draw(st.sampled_from(["0", "30", "*/20", "*", "5-7"]))
    hours = draw(st.sampled_from(["*", "2", "0,23", "*/6"]))
    weekday = draw(st.sampled_from(["?", "1", "SUN", "MON-FRI"]))
    return f"cron({draw(st.integers(0, 59))} {minutes} {hours} * * {weekday})"


@few
@given(crons(), st.sampled_from(ZONES), moments, st.integers(0, 4 * 86_400))
def test_the_last_firing_is_the_last_of_the_firings(
    expression: str, zone: str | None, start: float, span_s: int
) -> None:
    schedule = parse_expression(expression, zone)
    firings = list(schedule.firings(start, start + span_s))
    assert firings == sorted(set(firings))
    assert all(start < at <= start + span_s for at in firings)
    assert schedule.last_firing(start, start + span_s) == (firings[-1] if firings else None)


@few
@given(crons(), st.sampled_from(ZONES), moments, st.lists(st.integers(0, 86_400), min_size=2, max_size=6))
def test_firings_of_two_spans_are_those_of_the_whole(
    expression: str, zone: str | None, start: float, cuts: list[int]
) -> None:
    schedule = parse_expression(expression, zone)
    at = [start + cut for cut in sorted(cuts)]
    parts = [firing for a, b in pairwise(at) for firing in schedule.firings(a, b)]
    assert parts == list(schedule.firings(at[0], at[-1]))


@few
@given(crons(), st.sampled_from(ZONES), st.lists(moments, min_size=1, max_size=5))
def test_the_order_of_questions_does_not_change_the_answers(
    expression: str, zone: str | None, asked: list[float]
) -> None:
    schedule = parse_expression(expression, zone)
    answers = {now: schedule.last_firing(-math.inf, now) for now in asked}
    assert {now: schedule.last_firing(-math.inf, now) for now in reversed(asked)} == answers


jsons: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=10), inner, max_size=3)),
    max_leaves=6,
)
KEYS = ["name", "target", "startTime", "timeZone", "metricType", "metricTarget", "maxCapacity", "scheduleExpression"]
parts = st.dictionaries(st.sampled_from(KEYS), jsons, max_size=5)
configs = st.dictionaries(
    st.sampled_from(["target", "defaultTarget", "scheduledActions", "targetTrackingPolicies", "alwaysAllocateCPU"]),
    st.one_of(jsons, st.lists(parts, max_size=3)),
)


@examples(80)
@given(configs)
def test_any_json_object_is_a_config_or_is_refused_in_words(given_json: dict[str, Any]) -> None:
    assert isinstance(unknown_fields(given_json), list)
    problems: tuple[str, ...] = ()
    try:
        config = parse(given_json)
    except ConfigError as error:
        problems = error.problems or ("",)
    else:
        assert parse(json.loads(config.model_dump_json(by_alias=True))) == config
    assert all(" is " in problem and problem.encode() for problem in problems)
