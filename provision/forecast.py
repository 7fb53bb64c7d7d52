"""What is expected one launch time ahead: by the recent trend, and by the same time in past seasons.

Time goes in steps of ten seconds. At the end of each, both ways say what the step will be like that begins when an
instance launched now is ready; when that step is over, what they said is held against what came, beside what the policy
would have stood ready for without them. A way that does worse than that is off until it does better: it goes on saying
what it would have said, and is judged by it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from itertools import pairwise
from statistics import fmean, median, pstdev
from typing import Final, NamedTuple

from provision.columns import Totals, sliding_mean_max
from provision.config import Season
from provision.season import BUCKET_S, LENGTH_S, Profile
from provision.times import offset_at

STEP_S: Final = 10
RECENT_STEPS: Final = 30  # five minutes, which is all that a trend is read from
GROUPS: Final = 6  # of steps, that a trend is read from
# Beyond that an instance that starts would be given up: FC's longest health check and initializer together.
AHEAD_S_MAX: Final = 600.0
# A rise that the scatter before it does not explain, and never more than as much again.
TREND_SCATTERS: Final = 2.0
TREND_GROWTH_MAX: Final = 2.0
# One too few makes requests wait for a launch, one too many is idle: the first is taken to cost four times as much.
MISSING_COSTS: Final = 4.0
# How today compares with what is usual, by the last half hour; never taken for less than half or more than twice.
LEVEL_BUCKETS: Final = 6
LEVEL_MAX: Final = 2.0
# Errors that differ by less than this part of the demand are alike: what a bucket has of its neighbour is no error.
WORSE_PART: Final = 0.01
TREND_HALF_LIFE_S: Final = 3600.0
_WEIGHT_MIN: Final = 1.0 - 1e-6  # of what was seen of a step: a second of usage, or one reading


class Promise(NamedTuple):
    """What was said of a step."""

    due: int  # the step
    none: float  # what there would have been room for without a forecast
    trend: float | None
    season: float | None


class Score(NamedTuple):
    """How a way did, the newest judgements counting most. Errors are sums; each divided by the weight is a mean."""

    weight: float = 0.0
    error: float = 0.0
    without: float = 0.0
    came: float = 0.0  # of demand, to measure the two by

    @property
    def is_trusted(self) -> bool:
        """It does no worse than none, give or take a hair; at first nothing is against it."""
        return self.error <= self.without + WORSE_PART * self.came


@dataclass(frozen=True, slots=True)
class Foresight:
    """What a forecast remembers: a profile of at most 4 kB, five minutes of means, what it said of steps to come."""

    profile: Profile
    step: int | None = None  # the first that is not over
    recent: tuple[float | None, ...] = ()  # means of the last steps, None where nothing was seen
    promises: tuple[Promise, ...] = ()
    trend: Score = field(default_factory=Score)
    season: Score = field(default_factory=Score)
    bucket: int = 0  # the profile's, under way
    bucket_sum: float = 0.0
    bucket_steps: int = 0
    levels: tuple[tuple[float, float], ...] = ()  # what the last buckets were and what they usually are
    level: float = 1.0  # today's over what is usual


class Series(NamedTuple):
    """What is forecast: usage or readings by second, and the windows that the policy acts on."""

    seen: Totals
    stable_s: int
    panic_s: int


class Expected(NamedTuple):
    """The most that is expected of the steps that an instance launched until now would be ready for."""

    value: float
    way: str  # "trend" or "season"


def fresh(season: Season) -> Foresight:
    return Foresight(Profile.of(season))


def without_recent(foresight: Foresight) -> Foresight:
    """After a clock was set: only what holds at any time."""
    return Foresight(foresight.profile, trend=foresight.trend, season=foresight.season)


def advance(
    foresight: Foresight, season: Season, zone: tzinfo, series: Series, now: float, launch_s: float | None
) -> Foresight:
    """Take in the steps that are over by now, and say what is to come. Within a step nothing changes.

    Without a launch time nothing is said, but what was seen is learned.
    """
    until = math.floor(now / STEP_S)
    if foresight.step is None or not 0 <= until - foresight.step <= RECENT_STEPS:
        foresight = replace(without_recent(foresight), step=until)
    if foresight.step == until:
        return foresight
    means = _means(series.seen)
    for step in range(until if foresight.step is None else foresight.step, until):
        foresight = _closed(foresight, season, zone, step, means.get(step))
        if launch_s is not None:
            foresight = _promised(foresight, zone, series, step + 1, min(launch_s, AHEAD_S_MAX))
    return foresight


def expected(foresight: Foresight) -> Expected | None:
    """By the ways that are trusted; None if none has anything to say."""
    found = [
        Expected(value, way)
        for promise in foresight.promises
        for way, score, value in _ways(foresight, promise)
        if value is not None and score.is_trusted
    ]
    return max(found, default=None)


def told(foresight: Foresight, season: Season) -> str:
    """How the forecast has done so far, in the metric's own unit, and what is off."""
    texts = []
    for way, score in (("trend", foresight.trend), ("season", foresight.season)):
        if score.weight:
            mean, without = score.error / score.weight, score.without / score.weight
            state = "error" if score.is_trusted else "off, error"
            texts.append(f"{way} {state} {mean:.3g}, without {without:.3g}")
        elif way == "season" and season is not Season.NONE:
            texts.append("season not seen yet")
    return "; ".join(texts)


# -- a step is over ---------------------------------------------------------------------------------------------------


def _means(seen: Totals) -> dict[int, float]:
    weights, totals = defaultdict[int, float](float), defaultdict[int, float](float)
    for second, weight, total in zip(*seen, strict=True):
        weights[second // STEP_S] += weight
        totals[second // STEP_S] += total
    return {step: totals[step] / weight for step, weight in weights.items() if weight >= _WEIGHT_MIN}


def _closed(foresight: Foresight, season: Season, zone: tzinfo, step: int, mean: float | None) -> Foresight:
    """Judge what was said of the step, and learn it."""
    due = [promise for promise in foresight.promises if promise.due == step]
    if mean is not None:
        for promise in due:
            foresight = replace(
                foresight,
                trend=_judged(foresight.trend, promise.trend, promise.none, mean, TREND_HALF_LIFE_S),
                season=_judged(foresight.season, promise.season, promise.none, mean, LENGTH_S.get(season, 1.0)),
            )
    foresight = replace(
        foresight,
        step=step + 1,
        recent=(*foresight.recent, mean)[-RECENT_STEPS:],
        promises=tuple(promise for promise in foresight.promises if promise.due > step),
    )
    return _learned(foresight, _bucket(step, zone), mean)


def _judged(score: Score, said: float | None, none: float, came: float, half_life_s: float) -> Score:
    if said is None:
        return score
    keep = 0.5 ** (STEP_S / half_life_s)
    return Score(
        score.weight * keep + 1.0,
        score.error * keep + _cost(max(said, none), came),
        score.without * keep + _cost(none, came),
        score.came * keep + came,
    )


def _cost(stood: float, came: float) -> float:
    """The pinball loss of a quantile of MISSING_COSTS to 1."""
    return MISSING_COSTS * (came - stood) if came > stood else stood - came


def _learned(foresight: Foresight, bucket: int, mean: float | None) -> Foresight:
    """A bucket that is over goes into the profile, if half of it was seen."""
    if bucket != foresight.bucket:
        if foresight.bucket_steps >= BUCKET_S // STEP_S // 2:
            foresight = _taken_in(foresight, foresight.bucket_sum / foresight.bucket_steps)
        foresight = replace(foresight, bucket=bucket, bucket_sum=0.0, bucket_steps=0)
    if mean is None or not foresight.profile.codes:
        return foresight
    return replace(foresight, bucket_sum=foresight.bucket_sum + mean, bucket_steps=foresight.bucket_steps + 1)


def _taken_in(foresight: Foresight, mean: float) -> Foresight:
    usual = foresight.profile.at(foresight.bucket)
    levels = foresight.levels if usual is None else (*foresight.levels, (mean, usual))[-LEVEL_BUCKETS:]
    # As much as a usual bucket on either side: where hardly anything comes, a little more is not twice as much.
    prior = foresight.profile.mean() or 1.0
    level = (sum(seen for seen, _ in levels) + prior) / (sum(usual for _, usual in levels) + prior)
    return replace(
        foresight,
        profile=foresight.profile.seen(foresight.bucket, mean),
        levels=levels,
        level=min(max(level, 1.0 / LEVEL_MAX), LEVEL_MAX),
    )


def _bucket(step: int, zone: tzinfo) -> int:
    """By the local clock, so that nine o'clock is nine o'clock in summer too."""
    at_s = step * STEP_S
    return (at_s + offset_at(at_s, zone)) // BUCKET_S


# -- what is to come --------------------------------------------------------------------------------------------------


def _promised(foresight: Foresight, zone: tzinfo, series: Series, step: int, launch_s: float) -> Foresight:
    """At the beginning of a step, of the one in which a launch of now is ready."""
    ahead = math.floor(launch_s / STEP_S) + 1
    due = step + ahead - 1
    until = bisect_left(series.seen.seconds, step * STEP_S)
    seconds, weights, totals = series.seen
    before = Totals(seconds[:until], weights[:until], totals[:until])
    none = sliding_mean_max(before, float(step * STEP_S), series.stable_s, series.panic_s)
    if none is None:
        return foresight
    usual = foresight.profile.at(_bucket(due, zone))
    season = None if usual is None else usual * foresight.level
    promise = Promise(due, none, _trend(foresight.recent, ahead), season)
    others = tuple(other for other in foresight.promises if other.due != due)  # the launch time became shorter
    return replace(foresight, promises=(*others, promise))


def _trend(recent: Sequence[float | None], ahead: int) -> float | None:
    """The rise over the last steps, gone on with; None where too little was seen.

    The steps are taken in six groups. The slope is the smaller one of two: from the older half to the newer, if that is
    more than the scatter before it, and the median from group to group, which a sudden jump does not move.
    10, 20, 30, 40, 50, 60: 10 a step by both; two steps on from 60 that is 80. 2, 2, 2, 20, 20, 20: 20 stays 20.
    """
    each = min(RECENT_STEPS, GROUPS * math.ceil(2 * ahead / GROUPS)) // GROUPS
    if len(recent) < GROUPS * each:
        return None
    groups = []
    for start in range(len(recent) - GROUPS * each, len(recent), each):
        seen = [mean for mean in recent[start : start + each] if mean is not None]
        if not seen:
            return None
        groups.append(fmean(seen))
    old, new = groups[: GROUPS // 2], groups[GROUPS // 2 :]
    rise = fmean(new) - fmean(old)
    if rise <= TREND_SCATTERS * pstdev(old):
        return fmean(new)
    half_steps = each * GROUPS / 2
    slope = max(0.0, min(rise / half_steps, median(b - a for a, b in pairwise(groups)) / each))
    last = fmean(new) + slope * (half_steps - 1) / 2
    return min(last + slope * ahead, TREND_GROWTH_MAX * max(last, 0.0))


def _ways(foresight: Foresight, promise: Promise) -> tuple[tuple[str, Score, float | None], ...]:
    return (("trend", foresight.trend, promise.trend), ("season", foresight.season, promise.season))
