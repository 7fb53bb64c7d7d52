"""What holds of policies that look ahead, or behave like an HPA, whatever is seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from provision.ahead import Ahead
from provision.behavior import Behavior
from provision.config import Season, parse
from provision.decide import Memory, step
from provision.forecast import fresh
from provision.hpa import Past, advise, of_each, of_total
from provision.policies import Kept
from provision.season import Profile
from provision.tracking import Standing
from tests.properties.test_provision_properties import BEHAVIORS, METRICS, Moment, demands, looks, moments, policies
from tests.support.examples import examples

FORECAST = [metric for metric in METRICS if metric not in ("QueueWaitMilliseconds", "WaitingLength")]
OF_REQUESTS = ["ProvisionedConcurrencyUtilization", "RequestsPerSecond"]
few = examples(40)
seasons = st.sampled_from(["day", "week", "none"])
# Some minutes, in looks of seconds: as long as a trend takes, with pauses.
minutes = st.lists(
    st.builds(
        lambda moment, after_s: replace(moment, after_s=after_s),
        moments,
        st.sampled_from([1.0, 4.0, 10.0, 10.0, 45.0, -2.0]),
    ),
    max_size=60,
)


@st.composite
def profiles(draw: st.DrawFn, season: str) -> Profile:
    """A season that has seen something, anywhere."""
    profile = Profile.of(Season(season))
    for bucket in draw(st.lists(st.integers(0, 2016), max_size=6)):
        profile = profile.seen(bucket, draw(demands))
    level = draw(st.floats(0, 60))
    for bucket in range(290) if draw(st.booleans()) else ():
        profile = profile.seen(bucket, level)
    return profile


@few
@given(policies(metrics=FORECAST, timed=False, other_ways=False), seasons, minutes, st.data())
def test_a_forecast_never_lowers_a_target(
    policy: dict[str, Any], season: str, history: list[Moment], data: st.DataObject
) -> None:
    without = parse({"target": 3, "targetTrackingPolicies": [policy]})
    with_it = parse({"target": 3, "targetTrackingPolicies": [policy | {"forecast": {"season": season}}]})
    learned = replace(fresh(Season(season)), profile=data.draw(profiles(season)))
    seen = looks(history)
    plain, ahead = Memory(), Memory(kept={"p": Kept(ahead=Ahead(Standing(0), learned))})
    for look in seen:
        plain, less = step(without, plain, look)
        ahead, more = step(with_it, ahead, look)
        assert more.target >= less.target
        (say,) = more.says
        assert policy["minCapacity"] <= say.wanted <= policy["maxCapacity"]


@few
@given(policies(metrics=OF_REQUESTS, timed=False, other_ways=False), seasons, minutes, moments, st.data())
def test_more_demand_never_lowers_what_is_expected(
    policy: dict[str, Any], season: str, history: list[Moment], then: Moment, data: st.DataObject
) -> None:
    config = parse({"targetTrackingPolicies": [policy | {"forecast": {"season": season}}]})
    learned = replace(fresh(Season(season)), profile=data.draw(profiles(season)))
    memory = Memory(kept={"p": Kept(ahead=Ahead(Standing(0), learned))})
    *before, last = looks([*history, replace(then, after_s=1.0)])
    for look in before:
        memory, _ = step(config, memory, look)
    more = data.draw(st.floats(0, 100))
    larger = replace(last, demand=last.demand + more, arrived=last.arrived + more)
    assert step(config, memory, larger)[1].target >= step(config, memory, last)[1].target


@few
@given(BEHAVIORS, st.lists(st.tuples(st.sampled_from([1.0, 15.0, 40.0]), st.integers(0, 60)), max_size=60), st.data())
def test_like_an_hpa_bounds_and_limits_of_change_always_hold(
    asked: Any, proposals: list[tuple[float, int]], data: st.DataObject
) -> None:
    behavior = parse({"targetTrackingPolicies": [TRACKED | {"behavior": asked}]}).target_tracking_policies[0].behavior
    assert behavior is not None
    least = data.draw(st.integers(0, 5))
    most = data.draw(st.integers(max(1, least), 40))
    past, now, current = Past(), 1000.0, least
    for after_s, proposal in proposals:
        now += after_s
        advice = advise(behavior, past, now, current, proposal, least, most)
        assert least <= advice.count <= most
        assert min(current, proposal) <= advice.count <= max(current, proposal, *(n for _, n in past.proposals), least)
        past, current = advice.past, advice.count


TRACKED = {
    "name": "p",
    "metricType": "CPUUtilization",
    "metricTarget": 0.5,
    "minCapacity": 0,
    "maxCapacity": 10,
}


@few
@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=8), st.integers(0, 4), st.integers(0, 4), st.floats(0.1, 50))
def test_like_an_hpa_missing_samples_never_make_a_change_larger(
    values: list[float], missing: int, starting: int, target: float
) -> None:
    everyone = len(values) + missing + starting
    all_there = of_each(values, 0, 0, target, len(values), Behavior())
    proposed = of_each(values, missing, starting, target, everyone, Behavior())
    assert all_there is not None
    assert proposed is not None
    ratio = sum(values) / len(values) / target
    if ratio > 1.0:
        assert everyone <= proposed <= max(everyone, all_there)
    elif not starting:
        assert proposed <= everyone


@few
@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.01, 1e3), st.integers(0, 100))
def test_like_an_hpa_more_never_proposes_fewer(total: float, more: float, target: float, current: int) -> None:
    assert of_total(total + more, target, current, Behavior()) >= of_total(total, target, current, Behavior())
