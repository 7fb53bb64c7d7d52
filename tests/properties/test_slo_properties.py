"""What holds of the policy with a percentile, whatever is asked for and whatever comes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from provision.choice import choose
from provision.config import ProvisionConfig, parse
from provision.decide import Decision, Memory, Seen, step
from provision.experience import costs, late_shares, late_shares_long
from provision.launches import launches_now, lifted_now, needed_now
from provision.pace import Pace
from provision.queues import FADE_S, LATE, LONG_S, advance, faded, fresh
from provision.shadow import MANNERS, ROWS, Shadow, heights_of
from tests.support import launches as one_queue
from tests.support.examples import examples

START = 1_750_000_000.0
few = examples(20)
fewer = examples(8)
paces = st.builds(
    Pace,
    service_s=st.sampled_from([0.05, 0.2, 1.0, 5.0]),
    launch_s=st.sampled_from([0.1, 2.0, 8.0, 20.0, 120.0]),
    limit_s=st.sampled_from([0.1, 1.0, 4.0, 30.0]),
    slots=st.sampled_from([1, 1, 4]),
)
counts = st.lists(st.sampled_from([0, 0, 0, 1, 2, 5, 20, 60]), min_size=1, max_size=60)


def asked(**changes: Any) -> ProvisionConfig:
    policy = {
        "name": "p",
        "metricType": "QueueWaitMilliseconds",
        "metricTarget": 4000.0,
        "percentile": 0.99,
        "minCapacity": 0,
        "maxCapacity": 40,
    }
    return parse({"targetTrackingPolicies": [policy | changes]})


configs = st.builds(
    lambda least, more, limit, percentile: asked(
        minCapacity=least, maxCapacity=least + more, metricTarget=limit, percentile=percentile
    ),
    st.integers(0, 5),
    st.integers(1, 40),
    st.sampled_from([100.0, 1000.0, 4000.0]),
    st.sampled_from([0.5, 0.9, 0.99, 0.999]),
)


@dataclass
class World:
    """A fluid queue whose instances follow the decisions; each answered at once when an instance is free."""

    config: ProvisionConfig
    per_s: Callable[[float], float]
    tick_s: float = 1.0
    service_s: float = 1.0
    launch_s: float = 8.0
    memory: Memory = field(default_factory=Memory)
    t: float = 0.0
    inside: float = 0.0
    ready: int = 0
    starting: list[float] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def until(self, t: float) -> Decision:
        while self.t + self.tick_s <= t + 1e-9:
            self._tick()
        return self.decisions[-1]

    def _tick(self) -> None:
        self.t = round(self.t + self.tick_s, 6)
        due = [at for at in self.starting if at + self.launch_s <= self.t]
        self.ready += len(due)
        self.starting = [at for at in self.starting if at + self.launch_s > self.t]
        arrived = self.per_s(self.t - self.tick_s / 2) * self.tick_s
        served_s = min(self.inside + arrived, float(self.ready)) * self.tick_s
        answered = min(served_s / self.service_s, self.inside + arrived)
        self.inside += arrived - answered
        waiting = max(0, math.ceil(self.inside - self.ready))
        look = Seen(
            now=START + self.t,
            current=self.ready,
            starting=len(self.starting),
            demand=self.inside,
            demand_peak=math.ceil(self.inside),
            interval_s=self.tick_s,
            provisioned_in_flight=served_s / self.tick_s,
            arrived=arrived,
            finished=answered,
            waiting=waiting,
            in_flight=min(self.ready, math.ceil(self.inside)),
            starting_at=tuple(START + at for at in self.starting),
            launch_s=self.launch_s,
        )
        self.memory, decision = step(self.config, self.memory, look)
        self.seen.append(look)
        self.decisions.append(decision)
        missing = decision.target - self.ready - len(self.starting)
        self.starting += [self.t] * max(0, missing)
        if missing < 0 and not waiting:
            kept = max(0, len(self.starting) + missing)
            self.ready = max(0, self.ready + missing + len(self.starting) - kept)
            self.starting = self.starting[:kept]


def wave(heights: Sequence[float], each_s: float = 20.0) -> Callable[[float], float]:
    return lambda t: heights[int(t // each_s) % len(heights)]


heights = st.lists(st.sampled_from([0.0, 0.0, 0.5, 2.0, 9.0, 25.0]), min_size=1, max_size=6)


@few
@given(paces, st.floats(0, 500), st.floats(0, 60), st.integers(0, 50), st.floats(0, 1), st.sampled_from([0.5, 1.0]))
def test_nothing_is_launched_that_finds_nothing_left_to_do(
    pace: Pace, inside: float, per_s: float, ready: int, part: float, share: float
) -> None:
    """What is there drains the backlog and the expected arrivals by then: no launch. Else each new one finds work."""
    coming_s = part * pace.launch_s * ready
    more = one_queue.launched(pace, inside, per_s, ready, ready, coming_s, share)
    in_work = min(inside, ready * pace.slots)
    expected = inside - in_work / 2 + per_s * pace.launch_s
    can_be_done = pace.rate * (ready * pace.launch_s + coming_s)
    if expected <= can_be_done:
        assert more == 0.0
    else:
        assert 0.0 <= more <= math.ceil((expected - can_be_done) / pace.slots + 1e-6)


@few
@given(paces, st.floats(0, 500), st.floats(0, 60), st.integers(0, 50), st.floats(0, 1), st.sampled_from([0.5, 1.0]))
def test_what_there_is_is_reckoned_as_what_is_imagined(
    pace: Pace, inside: float, per_s: float, ready: int, part: float, share: float
) -> None:
    coming_s = part * pace.launch_s * ready
    left = one_queue.left(pace, inside, per_s, ready, coming_s)
    more = int(one_queue.launched(pace, inside, per_s, ready, ready, coming_s, share))
    now = launches_now(pace, inside, per_s, float(ready), float(ready), coming_s, share)
    assert math.isclose(now[0], left, rel_tol=1e-12, abs_tol=1e-9)
    assert now[1] == more
    assert needed_now(pace, inside, per_s, share) == int(one_queue.needed(pace, inside, per_s, share))


@few
@given(paces, st.floats(0, 500), st.floats(0, 900), st.integers(0, 50), st.integers(0, 9), st.integers(0, 80))
def test_nothing_is_launched_up_to_a_height_that_finds_nothing_to_do_even_in_the_largest_surge_remembered(
    pace: Pace, inside: float, surge: float, ready: int, starting: int, height: int
) -> None:
    there, coming_s = float(ready + starting), starting * pace.launch_s / 2
    more = lifted_now(pace, inside, surge, float(ready), there, coming_s, height)
    assert more == int(one_queue.lifted(pace, inside, surge, float(ready), there, coming_s, float(height)))
    left = inside - min(inside, ready * pace.slots) / 2 + surge - pace.rate * (ready * pace.launch_s + coming_s)
    assert 0 <= more <= max(0.0, height - there)
    assert more <= max(0, math.ceil(left / pace.slots + 1e-6))
    if inside <= ready * pace.slots / 2:
        assert more == 0, "not before half are busy"


@few
@given(paces, st.floats(0, 500), st.floats(0, 60), st.integers(0, 50))
def test_more_instances_never_ask_for_more_launches(pace: Pace, inside: float, per_s: float, ready: int) -> None:
    def launched(there: float) -> float:
        return one_queue.launched(pace, inside, per_s, there, there)

    assert launched(ready + 1.0) <= launched(float(ready))


@fewer
@given(configs, heights, st.sampled_from([0.5, 1.0]))
def test_wishes_keep_within_their_bounds_and_say_why(
    config: ProvisionConfig, rates: list[float], tick_s: float
) -> None:
    (policy,) = config.target_tracking_policies
    world = World(config, wave(rates), tick_s=tick_s)
    world.until(60.0)
    for decision in world.decisions:
        assert policy.min_capacity <= decision.target <= policy.max_capacity
        assert decision.reasons
        assert all(decision.reasons)


@fewer
@given(configs, heights)
def test_two_runs_are_identical(config: ProvisionConfig, rates: list[float]) -> None:
    one_run, other = World(config, wave(rates)), World(config, wave(rates))
    one_run.until(40.0)
    other.until(40.0)
    assert one_run.decisions == other.decisions
    assert one_run.memory == other.memory


@fewer
@given(configs, heights)
def test_a_restart_from_stored_memory_changes_nothing(config: ProvisionConfig, rates: list[float]) -> None:
    world = World(config, wave(rates))
    world.until(40.0)
    memory = stored = Memory()
    for look in world.seen:
        memory, expected = step(config, memory, look)
        stored, decision = step(config, Memory.from_json(stored.to_json()), look)
        assert decision == expected
    assert Memory.from_json(stored.to_json()) == stored == memory


@fewer
@given(configs, heights, st.floats(0.1, 3600.0))
def test_a_clock_that_steps_back_changes_nothing(config: ProvisionConfig, rates: list[float], back_s: float) -> None:
    world = World(config, wave(rates))
    world.until(60.0)
    held = replace(world.seen[-1], now=world.memory.now)
    assert step(config, world.memory, replace(held, now=held.now - back_s)) == step(config, world.memory, held)


@few
@given(heights, st.sampled_from([0.25, 0.5, 2.0]))
def test_the_floor_does_not_depend_on_the_pace_of_the_loop(rates: list[float], tick_s: float) -> None:
    """The same requests, told each second or at another pace, fill the same buckets and choose the same floor."""
    pace = Pace(1.0, 8.0, 4.0, 1)

    def told(pace_s: float) -> Shadow:
        shadow = fresh(pace, 0, 40, START)
        for tick in range(round(120 / pace_s)):
            at = START + tick * pace_s
            shadow = advance(shadow, pace, at, at + pace_s, wave(rates)(at - START) * pace_s)
        return shadow

    every_second, other = told(1.0), told(tick_s)
    assert math.isclose(every_second.requests, other.requests, rel_tol=1e-9, abs_tol=1e-9)
    assert choose(every_second, 0.99, pace).floor == choose(other, 0.99, pace).floor


@fewer
@given(st.lists(st.sampled_from([0.0, 2.0, 9.0]), min_size=1, max_size=3), st.sampled_from([0.25, 2.0]))
def test_no_decision_depends_on_the_pace_of_the_loop(rates: list[float], tick_s: float) -> None:
    """Requests of a second each that find an instance free, seen each second and at another pace."""
    config = asked(minCapacity=0, maxCapacity=40)
    length_s, end_s = 40.0, 40.0 * len(rates) + 80.0

    def rate(t: float) -> float:
        return rates[min(int(t // length_s), len(rates) - 1)]

    def told(pace_s: float) -> int:
        memory, target = Memory(), 12
        for tick in range(1, round(end_s / pace_s) + 1):
            per_s = rate((tick - 0.5) * pace_s)
            look = Seen(
                now=START + tick * pace_s,
                current=target,
                demand=per_s,
                demand_peak=math.ceil(per_s),
                interval_s=pace_s,
                provisioned_in_flight=per_s,
                arrived=per_s * pace_s,
                finished=per_s * pace_s,
                in_flight=math.ceil(per_s),
                launch_s=8.0,
            )
            memory, decision = step(config, memory, look)
            target = decision.target
        return target

    assert told(tick_s) == told(1.0)


@few
@given(paces, counts, st.integers(0, 7), st.floats(0.1, 500.0), st.sampled_from([0.9, 0.99]))
def test_more_that_came_late_in_the_past_never_lowers_the_floor(
    pace: Pace, arrivals: list[int], below: int, more: float, percentile: float
) -> None:
    """Late requests added to every floor up to one: what is chosen in the same manner does not go down."""
    shadow = fresh(pace, 0, 40, START)
    for second, arrived in enumerate(arrivals):
        shadow = advance(shadow, pace, START + second, START + second + 1.0, float(arrived))
    shadow = advance(shadow, pace, START + len(arrivals), START + len(arrivals) + 8.0, 1.0)
    if not shadow.table:
        return
    table = np.frombuffer(shadow.table).reshape(ROWS, -1).copy()
    table[LATE, : below * MANNERS] += more
    worse = shadow._replace(table=table.tobytes())
    assert (late_shares(worse, 1.0) >= late_shares(shadow, 1.0) - 1e-12).all()
    before, after = of_floors(shadow, late_shares(shadow, 1.0)), of_floors(worse, late_shares(worse, 1.0))
    allowed = 1.0 - percentile
    for manner in range(MANNERS):
        enough = [np.flatnonzero(shares[:, manner] <= allowed) for shares in (before, after)]
        assert not len(enough[1]) or enough[1][0] >= enough[0][0]


def of_floors(shadow: Shadow, shares: Any) -> Any:
    """Those of the ways without a height, by floor and manner."""
    return shares[: len(shadow.floors) * MANNERS].reshape(-1, MANNERS)


@few
@given(paces, counts)
def test_a_higher_floor_never_counts_more_late_requests(pace: Pace, arrivals: list[int]) -> None:
    shadow = fresh(pace, 0, 40, START)
    for second, arrived in enumerate(arrivals):
        shadow = advance(shadow, pace, START + second, START + second + 1.0, float(arrived))
    for shares in (late_shares(shadow, 1.0), late_shares_long(shadow, 1.0)):
        assert (np.diff(of_floors(shadow, shares), axis=0) <= 0.0).all()
        begin = len(shadow.floors) * MANNERS
        for height in heights_of(shadow.floors):
            end = begin + shadow.floors.index(height)
            assert (np.diff(shares[begin:end]) <= 0.0).all()
            begin = end
        assert begin == len(shares)
        assert (shares >= 0.0).all()
        assert (shares <= 1.0).all()
    assert (costs(shadow) >= 0.0).all()


@few
@given(paces, counts)
def test_the_surge_is_the_most_that_came_in_a_launch_time(pace: Pace, arrivals: list[int]) -> None:
    shadow = fresh(pace, 0, 40, START)
    for second, arrived in enumerate(arrivals):
        shadow = advance(shadow, pace, START + second, START + second + 1.0, float(arrived))
    shadow = advance(shadow, pace, START + len(arrivals), START + len(arrivals) + 8.0, 1.0)
    span = math.ceil(shadow.steps * shadow.size_s) + 1
    most = max(sum(arrivals[at : at + span]) for at in range(len(arrivals)))
    assert shadow.surge <= most + 1.0 + 1e-6
    assert shadow.surge >= max(arrivals) * 0.5 * min(1.0, shadow.steps * shadow.size_s) or not shadow.table


@few
@given(st.floats(0, 5000), st.floats(0, 4000), st.floats(0, 4000))
def test_the_past_fades_alike_in_one_piece_and_in_two(requests: float, first_s: float, then_s: float) -> None:
    for fade_s in (FADE_S, LONG_S):
        factor, weight_s = faded(requests, first_s + then_s, fade_s)
        first, its_weight_s = faded(requests, first_s, fade_s)
        second, last_weight_s = faded(requests * first, then_s, fade_s)
        assert math.isclose(factor, first * second, rel_tol=1e-9, abs_tol=1e-12)
        assert math.isclose(weight_s, its_weight_s * second + last_weight_s, rel_tol=1e-6, abs_tol=1e-9)


@fewer
@given(paces, st.integers(1, 200))
def test_idle_time_in_one_piece_is_idle_time_in_many(pace: Pace, idle_s: int) -> None:
    shadow = advance(fresh(pace, 0, 20, START), pace, START, START + 10.0, 30.0)
    shadow = advance(shadow, pace, START + 10.0, START + 700.0, 0.0)
    at_once = advance(shadow, pace, START + 700.0, START + 700.0 + idle_s, 0.0)
    piecewise = shadow
    for second in range(idle_s):
        piecewise = advance(piecewise, pace, START + 700.0 + second, START + 701.0 + second, 0.0)
    end = START + 700.0 + idle_s
    both = [advance(s, pace, end, end + 200.0, 1.0) for s in (at_once, piecewise)]
    assert math.isclose(both[0].requests, both[1].requests, rel_tol=1e-6)
    one_table, other_table = (np.frombuffer(s.table) for s in both)
    assert np.allclose(one_table, other_table, rtol=1e-5, atol=1e-6)
