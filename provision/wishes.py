"""What one target-tracking policy's metric asks for, counted in parts of instances.

How far the policy goes there now is `tracking`'s to say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from provision.columns import Columns, Totals, mean, sliding_mean_max
from provision.config import INSTANCES_MAX, MetricType, TargetTrackingPolicy, TargetType
from provision.traffic import Traffic
from provision.windows import Gauge

# What must have been seen of the stable window to scale in: a lost report or two is no reason to keep everything.
SCALE_IN_SEEN_PART: Final = 0.8
# A gauge this near its target is at it: counters are sampled, and one instance more or less would swing around it.
TOLERANCE: Final = 0.1
# Prometheus is asked every few seconds; beyond that it is away, and what it said then is no news.
READING_AGE_MAX_S: Final = 30.0
# Instances are read each second or two. What is this much older tells of other requests than those there are now.
SAMPLE_AGE_MAX_S: Final = 15.0
_ROUNDING: Final = 1e-6  # 0.6 / 0.3 must be 2 instances, not 3
_LEAST_PER_INSTANCE: Final = 1e-9  # a metricTarget next to nothing asks for everything, and is no division by zero


class View(NamedTuple):
    """What a policy looks at."""

    now: float
    current: int
    slots_per_instance: int
    usage: Columns
    gauge: Gauge  # instances' worth of the policy's metric: its maximum × the ready instances, by second
    newest_ready_at: float | None
    capacity_limit: int | None
    lag_s: float = 0.0  # age of a sample that was too old to count, 0.0 if there is none
    starting: int = 0
    values: tuple[float, ...] = ()  # the policy's metric of each instance that has a sample of now
    reading: float | None = None  # of Prometheus: the newest, if it is of now
    reading_note: str = ""  # how old it is, and why there is no newer one
    launch_s: float | None = None
    traffic: Traffic = Traffic()


@dataclass(frozen=True, slots=True)
class Wish:
    """What the metric asks for, in parts of instances; None where too little was seen to ask for anything."""

    stable: float | None = None  # by the long window
    panic: float | None = None  # by the short one
    shrink: float | None = None  # by the most that was seen in the stable window
    why: str = ""

    @property
    def grow(self) -> float | None:
        """By what is seen now."""
        if self.stable is None or self.panic is None:
            return self.panic if self.stable is None else self.stable
        return max(self.stable, self.panic)


def wish(policy: TargetTrackingPolicy, view: View) -> Wish:
    """What the policy's metric asks for."""
    match policy.metric_type:
        case MetricType.CONCURRENCY:
            wished = _of_requests(policy, view, view.usage.demand(), view.slots_per_instance * policy.metric_target)
            return _of_pressure(policy, view, wished)
        case MetricType.REQUEST_RATE:
            wished = _of_requests(policy, view, view.usage.arrivals(), policy.metric_target)
            return _with_those_at_work(policy, view, wished)
        case MetricType.WAITING:
            return _of_waiting(policy, view)
        case MetricType.QUEUE_WAIT:
            return _of_queue_wait(policy, view)
        case MetricType.PROMETHEUS:
            return _of_reading(policy, view)
        case _:
            return _of_gauge(policy, view)


def whole(count: float) -> int:
    """Whole instances; a sum that is a hair above a whole number is that number."""
    return math.ceil(count - _ROUNDING)


# -- metrics of requests, which need no instance to be seen -----------------------------------------------------------


def _of_requests(policy: TargetTrackingPolicy, view: View, of: Totals, per_instance: float) -> Wish:
    """All requests, also those that wait or run on demand: served ones cannot show more than what is there takes.

    Target 0.7, 2 slots, 10 requests at once: 10 / (2 × 0.7) = 7.14, so 8 instances.
    Target 20 requests a second, 90 of them: 4.5, so 5.
    """
    wished = _averages(policy, of, view.now, per_instance)
    if wished.grow is None:
        return replace(wished, why=f"no usage seen in {policy.stable_window_s} s")
    return _if_seen(policy, wished, view.usage.covered_s(view.now, policy.stable_window_s))


def _of_pressure(policy: TargetTrackingPolicy, view: View, wished: Wish) -> Wish:
    """A surge that queues needs no average to be seen. As many instances count at once as would hold all requests that
    are there, without the room that metricTarget leaves, and for as long as the stable window remembers it.

    On-demand instances start for those that wait in any case, so these cost no launch of their own. What more the
    target asks for, the average says within the panic window.
    """
    now = view.usage.pressed(view.now, policy.panic_window_s) / view.slots_per_instance
    most = view.usage.pressed(view.now, policy.stable_window_s) / view.slots_per_instance
    if now and wished.panic is not None and now > wished.panic:
        wished = replace(wished, panic=now, why=f"{wished.why} waiting={whole(now)}")
    if wished.shrink is not None and most > wished.shrink:
        wished = replace(wished, shrink=most)
    return wished


def _of_waiting(policy: TargetTrackingPolicy, view: View) -> Wish:
    """Requests that wait, over instances: 100 waiting at a target of 5 are 20 instances.

    An empty queue says that there are enough, not that there are too many: those at work are kept.
    """
    wished = _of_requests(policy, view, view.usage.waiting(), policy.metric_target)
    return _of_use(policy, view, wished)


def _of_queue_wait(policy: TargetTrackingPolicy, view: View) -> Wish:
    """The mean wait over its target, times the instances there are: 2 instances, 900 ms for 300 ms are 6.

    The mean is over answered requests. Waits that ended before the newest instance was ready say nothing of it.
    """
    if view.current == 0:
        return _from_zero(policy, view)
    covered_s = view.usage.covered_s(view.now, policy.stable_window_s)
    if not covered_s:
        return Wish(why=f"no usage seen in {policy.stable_window_s} s")
    first = 0
    if view.newest_ready_at is not None:
        first = math.floor(view.newest_ready_at) + 1
        measured_s = math.floor(view.now) - first + 1
        if measured_s < policy.panic_window_s:
            return Wish(why=f"newest instance measured for {max(0, measured_s)} of {policy.panic_window_s} s")
        covered_s = min(covered_s, float(measured_s))
    per_instance = policy.metric_target / 1e3 / view.current
    wished = _averages(policy, view.usage.waits(first), view.now, per_instance)
    if wished.grow is None:
        wished = Wish(shrink=0.0, why="no request answered")
    wished = _near(wished, view.current)
    return _if_seen(policy, _of_use(policy, view, wished), covered_s)


def _of_use(policy: TargetTrackingPolicy, view: View, wished: Wish) -> Wish:
    """No more instances than all requests at once fill, and none taken from the requests that run."""
    peak = view.usage.peak(view.now, policy.stable_window_s) or 0
    most = math.ceil(peak / view.slots_per_instance)
    return _with_those_at_work(policy, view, _at_most(wished, most))


def _with_those_at_work(policy: TargetTrackingPolicy, view: View, wished: Wish) -> Wish:
    """None taken from the requests that run: a drain gives them half a minute, and they may take longer."""
    if wished.shrink is None:
        return wished
    busy = sliding_mean_max(view.usage.running(), view.now, policy.stable_window_s, policy.panic_window_s) or 0.0
    kept = busy / view.slots_per_instance
    if kept > wished.shrink:
        return replace(wished, shrink=kept, why=f"{wished.why} busy={whole(kept)}")
    return wished


# -- metrics of instances ---------------------------------------------------------------------------------------------


def _of_gauge(policy: TargetTrackingPolicy, view: View) -> Wish:
    """A gauge says how busy the instances are that there are; at none, the first request asks for the first one.

    More instances than requests at once would not help: a single request can keep a GPU busy all the time.
    """
    if view.current == 0:
        return _from_zero(policy, view)
    late = f"a sample {view.lag_s:.0f} s old ignored" if view.lag_s else ""
    seconds = [second for second, _ in view.gauge.readings if second + 1 > view.now - policy.stable_window_s]
    if not seconds:
        return Wish(why=", ".join(filter(None, (f"no {policy.metric_type} seen in {policy.stable_window_s} s", late))))
    peak = view.usage.peak(view.now, policy.stable_window_s)
    if peak is None:
        return Wish(why=f"no usage seen in {policy.stable_window_s} s")
    age_s = view.now - seconds[-1]
    if age_s > SAMPLE_AGE_MAX_S + 1.0:
        return Wish(why=f"newest {policy.metric_type} is {age_s:.0f} s old: ignored")
    fresh_s = policy.panic_window_s if view.newest_ready_at is None else seconds[-1] - math.floor(view.newest_ready_at)
    if fresh_s < policy.panic_window_s:
        return Wish(why=f"newest instance measured for {fresh_s} of {policy.panic_window_s} s")
    wished = _averages(policy, Totals.of_gauge(view.gauge), view.now, policy.metric_target)
    wished = _at_most(_near(wished, view.current), peak)
    if peak and wished.shrink is not None:  # what keeps nothing busy still has to be served by somebody
        wished = replace(wished, shrink=max(1.0, wished.shrink))
    if late:  # the one that is late may be the busiest
        wished = replace(wished, shrink=None, why=f"{wished.why}, {late}")
    return _if_seen(policy, wished, seconds[-1] - seconds[0] + 1)


def _of_reading(policy: TargetTrackingPolicy, view: View) -> Wish:
    """What Prometheus says, over what one instance should have: 180 at a target of 50 are 3.6, so 4.

    As a Value, instances × reading ÷ target, of readings since the newest instance was ready; from none, the ratio.
    Requests that wait for the first instance may be in no series that is asked for, so they ask for it themselves, and
    the last one stays for them.
    """
    wished = _by_reading(policy, view)
    if view.current == 0 and view.usage.peak(view.now, policy.panic_window_s):
        return replace(wished, stable=max(1.0, wished.stable or 0.0), why=f"{wished.why}, requests came")
    if wished.shrink is not None and wished.shrink < 1.0 and view.usage.peak(view.now, policy.stable_window_s):
        return replace(wished, shrink=1.0)
    return wished


def _by_reading(policy: TargetTrackingPolicy, view: View) -> Wish:
    if view.reading is None:
        return Wish(why=f"no reading{view.reading_note}")
    first = view.now - policy.stable_window_s
    per_instance, is_ratio = policy.metric_target, policy.metric_target_type is TargetType.VALUE and view.current > 0
    if is_ratio:
        per_instance /= view.current
        if view.newest_ready_at is not None:
            first = max(first, math.floor(view.newest_ready_at) + 1.0)
    seen = [value for second, value in view.gauge.readings if second + 1 > first]
    if not seen and is_ratio:
        return Wish(why="newest instance not measured yet")
    values = seen or [view.reading]
    stable, panic, most = (_over(value, per_instance) for value in (sum(values) / len(values), values[-1], max(values)))
    wished = Wish(stable, panic, most)
    if is_ratio:
        wished = _near(wished, view.current)
    asked = f"reading={view.reading:.4g} asks for {whole(wished.grow or 0.0)}{view.reading_note}"
    # Readings come every few seconds, so the first of the window may be a while after its beginning.
    oldest_s = view.now - view.gauge.readings[0][0] if view.gauge.readings else 0.0
    return _if_seen(policy, replace(wished, why=asked), oldest_s)


def _from_zero(policy: TargetTrackingPolicy, view: View) -> Wish:
    recent = view.usage.peak(view.now, policy.panic_window_s)
    return Wish(stable=1.0, why="requests came") if recent else Wish(why="no ready instance to measure")


# -- what they share --------------------------------------------------------------------------------------------------


def _averages(policy: TargetTrackingPolicy, of: Totals, now: float, per_instance: float) -> Wish:
    stable = mean(of, now, policy.stable_window_s)
    if stable is None:
        return Wish()
    wanted = _over(stable, per_instance)
    why = f"stable={whole(wanted)}"
    panic = mean(of, now, policy.panic_window_s)
    if panic is not None:
        panic = _over(panic, per_instance)
        why = f"{why} panic={whole(panic)}"
    most = sliding_mean_max(of, now, policy.stable_window_s, policy.panic_window_s)
    return Wish(wanted, panic, None if most is None else _over(most, per_instance), why)


def _over(total: float, per_instance: float) -> float:
    return min(total / max(per_instance, _LEAST_PER_INSTANCE), float(INSTANCES_MAX))


def _near(wished: Wish, current: int) -> Wish:
    """With what is near enough to what there is taken for just that."""

    def settled(asked: float | None) -> float | None:
        near = asked is not None and abs(asked - current) <= TOLERANCE * current + _ROUNDING
        return float(current) if near else asked

    return replace(wished, stable=settled(wished.stable), panic=settled(wished.panic), shrink=settled(wished.shrink))


def _at_most(wished: Wish, peak: int) -> Wish:
    """Never more than `peak`, and said where it has a say."""

    def capped(asked: float | None) -> float | None:
        return None if asked is None else min(asked, float(peak))

    asked = wished.grow
    limited = replace(wished, stable=capped(wished.stable), panic=capped(wished.panic), shrink=capped(wished.shrink))
    if asked is not None and whole(asked) > peak:
        return replace(limited, why=f"{wished.why} peak={peak}")
    return limited


def _if_seen(policy: TargetTrackingPolicy, wished: Wish, seen_s: float) -> Wish:
    """Without the wish to shrink, unless enough of the stable window was seen."""
    if seen_s + _ROUNDING >= SCALE_IN_SEEN_PART * policy.stable_window_s:
        return wished
    return replace(wished, shrink=None, why=f"{wished.why}, {seen_s:.0f} of {policy.stable_window_s} s seen")
