"""What holds of every decision, whatever the config and whatever is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from provision.config import STOKES_OWN, MetricType, ProvisionConfig, parse
from provision.decide import Decision, Memory, MetricSample, Reading, Seen, step
from provision.tracking import SCALE_IN_STEP_S
from tests.support.examples import examples
from tests.unit.provision_story import START, Story, tracking

METRICS = [metric.value for metric in MetricType]
# Of the metrics that are no shares: what a target of 1 stands for.
UNITS = {"RequestsPerSecond": 20.0, "QueueWaitMilliseconds": 1000.0, "WaitingLength": 5.0, "Prometheus": 3.0}
ASKED = {"url": "http://127.0.0.1:9090", "query": "sum(waiting)"}
EXPRESSIONS = ["cron(0 * * * * *)", "cron(0 7 15 * * SUN)", "at(2025-06-15T15:07:00)", "at(2030-01-01T00:00:00)"]
TIMES = [None, "2025-06-15T15:06:50Z", "2025-06-15T15:07:30Z", "2025-06-15T15:09:00Z"]

ONE_A_WHILE = {"type": "Pods", "value": 1, "periodSeconds": 30}
BEHAVIORS = st.sampled_from(
    [
        "HPA",
        {"scaleDown": {"stabilizationWindowSeconds": 0}},
        {
            "scaleUp": {
                "policies": [{"type": "Pods", "value": 1, "periodSeconds": 30}],
                "stabilizationWindowSeconds": 15,
            }
        },
        {"scaleDown": {"selectPolicy": "Disabled"}, "scaleUp": {"tolerance": 0.0}},
    ]
)

few = examples(25)
demands = st.floats(0, 60, allow_nan=False).map(lambda value: round(value, 2))


@st.composite
def policies(
    draw: st.DrawFn, name: str = "p", metrics: Sequence[str] = METRICS, *, timed: bool = True, other_ways: bool = True
) -> dict[str, Any]:
    """`other_ways`: it may look ahead, or behave like an HPA."""
    least = draw(st.integers(0, 6))
    start, end = sorted(draw(st.lists(st.sampled_from(range(len(TIMES))), min_size=2, max_size=2))) if timed else (0, 0)
    metric = draw(st.sampled_from(metrics))
    values: dict[str, Any] = {
        "name": name,
        "metricType": metric,
        "metricTarget": draw(st.sampled_from([0.05, 0.3, 0.5, 0.7, 1.0])) * UNITS.get(metric, 1.0),
        "minCapacity": least,
        "maxCapacity": draw(st.integers(max(1, least), 12)),
        "startTime": TIMES[start] if start < end else None,
        "endTime": TIMES[end] if start < end else None,
        "stableWindowSeconds": draw(st.sampled_from([None, 10, 30])),
        "panicWindowSeconds": draw(st.sampled_from([None, 1, 10])),
        "scaleInDelaySeconds": draw(st.sampled_from([None, 0, 15])),
        "panicThreshold": draw(st.sampled_from([None, 1, 2.5])),
        "scaleOutLimit": draw(st.sampled_from([None, 1, 3])),
        "scaleInLimit": draw(st.sampled_from([None, 1, 3])),
        **(ASKED if metric == "Prometheus" else {}),
    }
    way = draw(st.sampled_from(["", "ahead", "hpa"])) if other_ways else ""
    if way == "ahead" and metric not in ("QueueWaitMilliseconds", "WaitingLength"):
        values |= {"forecast": {"season": draw(st.sampled_from(["day", "week", "none"]))}}
    if way == "hpa":
        return {key: value for key, value in values.items() if key not in STOKES_OWN} | {"behavior": draw(BEHAVIORS)}
    return values


@st.composite
def actions(draw: st.DrawFn, name: str) -> dict[str, Any]:
    target, expression = draw(st.integers(0, 12)), draw(st.sampled_from(EXPRESSIONS))
    return {"name": name, "target": target, "scheduleExpression": expression, "endTime": draw(st.sampled_from(TIMES))}


@st.composite
def configs(draw: st.DrawFn, *, other_ways: bool = True) -> ProvisionConfig:
    return parse(
        {
            "target": draw(st.integers(0, 12)),
            "targetTrackingPolicies": [
                draw(policies(f"p{n}", other_ways=other_ways)) for n in range(draw(st.integers(0, 3)))
            ],
            "scheduledActions": [draw(actions(f"a{n}")) for n in range(draw(st.integers(0, 2)))],
        }
    )


@dataclass(frozen=True)
class Moment:
    """One look at the world: how long after the last one, and what is seen."""

    after_s: float
    demand: float
    value: float
    ready: int
    became_ready: bool
    capacity_limit: int | None
    reported: bool
    waiting: int
    wait_s: float
    launch_s: float | None


moments = st.builds(
    Moment,
    after_s=st.sampled_from([0.02, 0.25, 1.0, 1.0, 1.0, 2.0, 7.0, -3.0]),
    demand=demands,
    value=st.sampled_from([0.0, 0.1, 0.5, 0.65, 0.9, 1.0]),
    ready=st.integers(0, 12),
    became_ready=st.booleans(),
    capacity_limit=st.sampled_from([None, None, None, 0, 3, 50]),
    reported=st.booleans(),
    waiting=st.integers(0, 20),
    wait_s=st.sampled_from([0.0, 0.1, 2.0]),
    launch_s=st.sampled_from([None, 0.4, 8.0, 60.0]),
)
histories = st.lists(moments, max_size=40)


def looks(history: Sequence[Moment]) -> list[Seen]:
    now, newest_ready_at, found = START, START - 100.0, []
    for moment in history:
        now += moment.after_s
        newest_ready_at = now if moment.became_ready else newest_ready_at
        found.append(
            Seen(
                now=now,
                current=moment.ready,
                demand=moment.demand if moment.reported else 0.0,
                demand_peak=round(moment.demand),
                interval_s=max(0.0, moment.after_s) if moment.reported else 0.0,
                provisioned_in_flight=min(moment.demand, float(moment.ready)),
                arrived=moment.demand if moment.reported else 0.0,
                finished=moment.demand if moment.reported else 0.0,
                queue_wait_s_sum=moment.demand * moment.wait_s if moment.reported else 0.0,
                waiting=moment.waiting,
                samples=tuple(MetricSample(metric, "i", moment.value, now) for metric in METRICS if moment.ready),
                newest_ready_at=newest_ready_at if moment.ready else None,
                readings=(Reading(**ASKED, value=moment.value * 20, at=now),) if moment.reported else (),
                capacity_limit=moment.capacity_limit,
                launch_s=moment.launch_s,
            )
        )
    return found


def decisions(
    config: ProvisionConfig, seen: Sequence[Seen], memory: Memory | None = None
) -> tuple[Memory, list[Decision]]:
    memory, made = memory or Memory(), []
    for look in seen:
        memory, decision = step(config, memory, look)
        made.append(decision)
    return memory, made


@few
@given(configs(), histories)
def test_bounds_always_hold(config: ProvisionConfig, history: list[Moment]) -> None:
    bounds = {p.name: (p.min_capacity, p.max_capacity) for p in config.target_tracking_policies}
    bounds |= {action.name: (action.target, action.target) for action in config.scheduled_actions}
    seen = looks(history)
    for look, decision in zip(seen, decisions(config, seen)[1], strict=True):
        for say in decision.says:
            least, most = bounds[say.name]
            assert least <= say.wanted <= most
        assert decision.target >= 0
        if look.capacity_limit is not None:
            assert decision.target <= look.capacity_limit


@few
@given(configs(), histories)
def test_the_largest_of_what_is_in_force_counts_and_else_the_static_target(
    config: ProvisionConfig, history: list[Moment]
) -> None:
    seen = looks(history)
    for look, decision in zip(seen, decisions(config, seen)[1], strict=True):
        wanted = max((say.wanted for say in decision.says), default=config.static_target)
        limit = wanted if look.capacity_limit is None else look.capacity_limit
        assert decision.target == min(wanted, limit)
        assert decision.in_force == tuple(say.name for say in decision.says)
        assert decision.static == (not decision.says)
        assert all(decision.reasons)


@few
@given(configs(), histories)
def test_a_policy_outside_its_window_has_no_say(config: ProvisionConfig, history: list[Moment]) -> None:
    seen = looks(history)
    latest = 0.0
    for look, decision in zip(seen, decisions(config, seen)[1], strict=True):
        latest = max(latest, look.now)
        for policy in config.target_tracking_policies:
            assert (policy.name in decision.in_force) == (policy.start_s <= latest < policy.end_s)


@few
@given(configs(other_ways=False), histories, st.data())
def test_more_demand_never_asks_for_fewer(config: ProvisionConfig, history: list[Moment], data: st.DataObject) -> None:
    memory, _ = decisions(config, looks(history))
    look = looks([*history, data.draw(moments)])[-1]
    more = data.draw(st.floats(0, 100))
    larger = replace(look, demand=look.demand + more, demand_peak=look.demand_peak + data.draw(st.integers(0, 100)))
    assert step(config, memory, larger)[1].target >= step(config, memory, look)[1].target


@few
@given(
    policies(metrics=["ProvisionedConcurrencyUtilization"], timed=False, other_ways=False),
    demands,
    st.floats(1, 5),
    st.integers(0, 12),
)
def test_more_demand_at_every_moment_never_asks_for_fewer_at_any(
    policy: dict[str, Any], demand: float, factor: float, static: int
) -> None:
    config = parse({"target": static, "targetTrackingPolicies": [policy]})
    less, more = Story(config, lambda _: demand), Story(config, lambda _: demand * factor)
    for second in range(0, 120, 3):
        assert more.until(second).target >= less.until(second).target


@few
@given(configs(), histories)
def test_the_same_seen_gives_the_same_decisions(config: ProvisionConfig, history: list[Moment]) -> None:
    again = parse(config.model_dump_json(by_alias=True))
    assert decisions(again, looks(history)) == decisions(config, looks(history))


@few
@given(configs(), histories)
def test_a_restart_from_stored_memory_changes_nothing(config: ProvisionConfig, history: list[Moment]) -> None:
    memory = stored = Memory()
    for look in looks(history):
        memory, expected = step(config, memory, look)
        stored, decision = step(config, Memory.from_json(stored.to_json()), look)
        assert decision == expected
        assert Memory.from_json(stored.to_json()) == stored == memory


@few
@given(configs(), configs(), histories, histories)
def test_a_changed_config_is_obeyed_whatever_the_memory(
    before: ProvisionConfig, after: ProvisionConfig, history: list[Moment], later: list[Moment]
) -> None:
    memory, _ = decisions(before, looks(history))
    bounds = {p.name: (p.min_capacity, p.max_capacity) for p in after.target_tracking_policies}
    memory, made = decisions(after, looks([*history, *later])[len(history) :], memory)
    for decision in made:
        assert all(
            bounds[say.name][0] <= say.wanted <= bounds[say.name][1] for say in decision.says if say.name in bounds
        )
    if made:
        assert set(memory.standings) <= set(bounds)


@few
@given(policies(timed=False), histories)
def test_steps_down_keep_their_distance(policy: dict[str, Any], history: list[Moment]) -> None:
    config = parse({"target": 12, "targetTrackingPolicies": [policy]})
    memory, last_s, said = Memory(), None, None
    for look in looks(history):
        memory, decision = step(config, memory, look)
        (say,) = decision.says
        if said is not None and say.wanted < said:
            assert last_s is None or memory.now - last_s >= SCALE_IN_STEP_S
            last_s = memory.now
        said = say.wanted


@few
@given(st.integers(0, 60), st.sampled_from([10, 30, 60]), st.sampled_from([0.25, 1.0, 2.0]), st.floats(0.1, 6))
def test_scale_in_waits_out_its_delay(delay_s: int, stable_s: int, tick_s: float, demand: float) -> None:
    policy = tracking(minCapacity=0, scaleInDelaySeconds=delay_s, stableWindowSeconds=stable_s, maxCapacity=20)
    surge_end_s = 30
    story = Story(parse({"targetTrackingPolicies": [policy]}), lambda t: demand * (t < surge_end_s), tick_s=tick_s)
    held = story.until(surge_end_s).target
    assert story.until(surge_end_s + stable_s + delay_s - 2 * tick_s - 1).target == held
    assert story.until(surge_end_s + stable_s + delay_s + 3 + 2 * tick_s + 1).target < held


@few
@given(
    st.floats(0.1, 40),
    st.sampled_from([1, 3, 10]),
    st.sampled_from([0.1, 0.25, 1.0]),
    st.integers(1, 4),
    st.integers(0, 90),
)
def test_scale_out_happens_within_the_panic_window(
    demand: float, panic_s: int, tick_s: float, slots: int, idle_s: int
) -> None:
    policy = tracking(minCapacity=0, maxCapacity=10_000, panicWindowSeconds=panic_s)
    config = parse({"targetTrackingPolicies": [policy]})
    story = Story(config, lambda t: demand * (t >= idle_s), tick_s=tick_s, slots=slots)
    needed = demand / (slots * 0.5)
    assert story.until(idle_s + panic_s + tick_s).target >= needed - 1e-6


@few
@given(configs(), histories, moments, st.floats(0, 3600))
def test_a_clock_that_steps_back_changes_nothing(
    config: ProvisionConfig, history: list[Moment], then: Moment, back_s: float
) -> None:
    memory, _ = decisions(config, looks(history))
    look = replace(looks([*history, then])[-1], now=memory.now)
    if memory.now:
        assert step(config, memory, replace(look, now=memory.now - back_s)) == step(config, memory, look)


@examples(12)
@given(
    policies(timed=False),
    st.lists(st.tuples(demands, st.sampled_from([0.0, 0.3, 0.9, 1.0])), min_size=1, max_size=3),
    st.sampled_from([0.5, 2.0]),
)
def test_no_decision_depends_on_the_pace_of_the_loop(
    policy: dict[str, Any], phases: list[tuple[float, float]], tick_s: float
) -> None:
    """Phases of 40 s, the last one longer, seen each second and at another pace: both come to the same."""
    at_once = {} if "behavior" in policy else {"scaleInDelaySeconds": 0}
    config = parse({"target": 4, "targetTrackingPolicies": [policy | at_once]})
    # An HPA remembers five minutes, and looks every 15 s.
    length_s, ends = 40, 40 * len(phases) + (200 if at_once else 600)

    def phase(t: float) -> tuple[float, float]:
        return phases[min(int(t // length_s), len(phases) - 1)]

    def told(pace_s: float) -> int:
        story = Story(
            config,
            lambda t: phase(t)[0],
            rate=lambda t: phase(t)[0] * 5,
            wait_s=lambda t, ready: phase(t)[0] / 5 / max(1, ready),
            gauge=lambda t, ready: phase(t)[1] / max(1, ready),
            metric=policy["metricType"],
            reading=lambda t: Reading(**ASKED, value=phase(t)[0], at=START + t - t % 4),
            launch_measured_s=20.0,
            tick_s=pace_s,
        )
        return story.until(ends).target

    assert told(tick_s) == told(1.0)


@few
@given(configs(other_ways=False), histories, st.data())
def test_more_requests_or_more_that_wait_never_ask_for_fewer(
    config: ProvisionConfig, history: list[Moment], data: st.DataObject
) -> None:
    memory, _ = decisions(config, looks(history))
    look = looks([*history, data.draw(moments)])[-1]
    more, waited_s = data.draw(st.integers(0, 50)), data.draw(st.floats(0, 100))
    larger = replace(
        look,
        demand=look.demand + more,  # who waits is part of the demand
        demand_peak=look.demand_peak + more,
        waiting=look.waiting + more,
        arrived=look.arrived + more,
        queue_wait_s_sum=look.queue_wait_s_sum + waited_s,
    )
    assert step(config, memory, larger)[1].target >= step(config, memory, look)[1].target


@few
@given(
    st.sampled_from([m for m in METRICS if m not in ("ProvisionedConcurrencyUtilization", "Prometheus")]),
    demands,
    demands,
)
def test_a_gauge_or_a_queue_never_asks_for_more_instances_than_requests(
    metric: str, demand: float, value: float
) -> None:
    if metric == "RequestsPerSecond":
        return  # a rate says nothing of how many there are at once
    policy = {**tracking(minCapacity=0, maxCapacity=1000), "metricType": metric, "metricTarget": 0.01}
    story = Story(parse({"targetTrackingPolicies": [policy]}), lambda _: demand, gauge=lambda *_: value, metric=metric)
    story.rate, story.wait_s = (lambda _: 10.0), (lambda *_: value)
    assert story.until(120).target <= -int(-demand // 1)


@few
@given(histories, configs())
def test_memory_stays_small(history: list[Moment], config: ProvisionConfig) -> None:
    memory, _ = decisions(config, looks(history))
    long = [replace(looks(history)[-1], now=START + n, interval_s=1.0) for n in range(150)] if history else []
    memory, _ = decisions(config, long, memory)
    assert len(memory.usage.buckets) <= 70
    assert all(len(gauge.readings) <= 70 for gauge in memory.gauges.values())


@given(st.one_of(st.text(), st.binary(), st.just("[]"), st.just('{"form":1}'), st.just('{"form":2,"now":1}')))
@few
def test_a_memory_that_cannot_be_read_is_a_fresh_one(text: str | bytes) -> None:
    assert Memory.from_json(text) == Memory()
