"""How a policy looks ahead: what is expected one launch time from now, in instances, and never fewer than without.

Two standings are kept for such a policy: its own, which is what it would say without a forecast, and one that is
settled by the same rules on what is expected. The larger one is said, so a forecast can only raise it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from provision.columns import Totals, mean
from provision.config import INSTANCES_MAX, MetricType, Season, TargetTrackingPolicy, TargetType
from provision.forecast import Expected, Foresight, Series, advance, expected, fresh, told
from provision.times import parse_zone
from provision.tracking import Standing, settle
from provision.wishes import View, Wish, whole

# Requests at once, below which how busy they keep an instance is not taken from them.
REQUESTS_MIN: Final = 0.5
_LEAST: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a policy that looks ahead remembers beside its own standing."""

    standing: Standing
    foresight: Foresight
    per_unit: float | None = None  # instances for one unit of what is forecast, where that has to be measured


def look_ahead(
    policy: TargetTrackingPolicy, before: Ahead | None, own: Standing, wished: Wish, why: tuple[str, ...], view: View
) -> tuple[Ahead, Standing, tuple[str, ...]]:
    """What to remember, what the policy says, and why; `own` and `why` are what it says without."""
    assert policy.forecast is not None
    season = policy.forecast.season
    series = _series(policy, view)
    foresight = before.foresight if before is not None and before.foresight.profile.fits(season) else fresh(season)
    foresight = advance(foresight, season, parse_zone(policy.time_zone), series, view.now, view.launch_s)
    per_unit = _per_unit(policy, wished, series, view, before)
    more = expected(foresight) if view.launch_s is not None else None
    raised, note = _raised(policy, wished, per_unit, more, view)
    text = "; ".join(filter(None, (note, told(foresight, season))))
    standing, reasons = settle(policy, own if before is None else before.standing, raised, view)
    standing = replace(standing, said=max(standing.said, own.said))
    remembered = Ahead(standing, foresight, per_unit)
    if standing.said > own.said:
        return remembered, replace(own, said=standing.said), (*reasons, text)
    return remembered, own, (*why, text)


def _series(policy: TargetTrackingPolicy, view: View) -> Series:
    """What is forecast: the policy's own metric where that is a demand, else the requests that make instances busy."""
    if policy.metric_type is MetricType.REQUEST_RATE:
        seen = view.usage.arrivals()
    elif policy.metric_type is MetricType.PROMETHEUS:
        seen = Totals.of_gauge(view.gauge)
    else:
        seen = view.usage.demand()
    return Series(seen, policy.stable_window_s, policy.panic_window_s)


def _per_unit(
    policy: TargetTrackingPolicy, wished: Wish, series: Series, view: View, before: Ahead | None
) -> float | None:
    """How many instances one unit of the series takes; measured where the metric does not say."""
    match policy.metric_type:
        case MetricType.CONCURRENCY:
            return 1.0 / max(view.slots_per_instance * policy.metric_target, _LEAST)
        case MetricType.REQUEST_RATE:
            return 1.0 / max(policy.metric_target, _LEAST)
        case MetricType.PROMETHEUS if policy.metric_target_type is not TargetType.VALUE:
            return 1.0 / max(policy.metric_target, _LEAST)
    now = mean(series.seen, view.now, policy.stable_window_s)
    if wished.stable is None or now is None or not view.current or now < REQUESTS_MIN:
        return None if before is None else before.per_unit
    return wished.stable / now


def _raised(
    policy: TargetTrackingPolicy, wished: Wish, per_unit: float | None, more: Expected | None, view: View
) -> tuple[Wish, str]:
    """The wish with what is expected in it."""
    assert policy.forecast is not None
    if view.launch_s is None:
        return wished, "no forecast: no launch measured yet"
    if more is None:
        return wished, "no forecast" if policy.forecast.season is Season.NONE else "no forecast yet"
    if wished.grow is None or per_unit is None:
        return wished, "no forecast: nothing to measure by"
    count = min(more.value * per_unit, float(INSTANCES_MAX))
    if policy.metric_type.is_sampled:  # more instances than requests would not help
        count = min(count, float(whole(more.value)))
    note = f"forecast={whole(count)} in {view.launch_s:.3g} s by {more.way}"

    def at_least(asked: float | None) -> float | None:
        return None if asked is None else max(asked, count)

    grow = replace(wished, stable=max(wished.stable or 0.0, count), panic=at_least(wished.panic))
    return replace(grow, shrink=at_least(wished.shrink)), note
