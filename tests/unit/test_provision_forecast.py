"""Looking ahead: what is expected, when it is believed, and what a policy makes of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from provision.ahead import Ahead
from provision.columns import Piece, Totals
from provision.config import Season
from provision.decide import Memory, Seen, step
from provision.forecast import RECENT_STEPS, Foresight, Score, Series, advance, expected, fresh, told
from provision.policies import Kept
from provision.season import Profile
from provision.times import parse_zone
from provision.tracking import Standing
from tests.unit.provision_story import START, Story, config, surge, tracking

DAY_S = 86_400
UTC = parse_zone(None)


def lived(
    demand: Callable[[float], float],
    until_s: int,
    season: Season = Season.NONE,
    launch_s: float | None = 20.0,
    since: tuple[int, Foresight] | None = None,
) -> Foresight:
    """A forecast that has seen a demand each second from 0 on, or that goes on since then."""
    began_s, foresight = since or (0, fresh(season))
    pieces = [Piece(second, 1.0, demand(second)) for second in range(max(0, began_s - 64), began_s)]
    for now in range(began_s, until_s + 1, 10):
        pieces = pieces[-64:]
        foresight = advance(foresight, season, UTC, Series(Totals.of(pieces), 60, 3), float(now), launch_s)
        pieces += [Piece(second, 1.0, demand(second)) for second in range(now, now + 10)]
    return foresight


def looking(season: str = "none", **changes: Any) -> dict[str, Any]:
    return tracking(minCapacity=0, maxCapacity=100, forecast={"season": season}, **changes)


def office(t: float) -> float:
    """Two requests at once by night, twenty from nine to five (UTC)."""
    return 20.0 if 9 * 3600 <= t % DAY_S < 17 * 3600 else 2.0


@cache
def office_day(launch_s: float | None) -> Foresight:
    """What one day in the office leaves."""
    return lived(office, DAY_S, Season.DAY, launch_s)


# -- what is expected -------------------------------------------------------------------------------------------------


def test_a_steady_rise_goes_on() -> None:
    """One more each 10 s: means 4.5, 14.5 … 94.5 after 100 s, so 124.5 in the third step from there."""
    more = expected(lived(lambda t: float(t), 100))
    assert more is not None
    assert more.value == pytest.approx(124.5)
    assert more.way == "trend"


def test_a_constant_demand_is_expected_to_stay() -> None:
    more = expected(lived(lambda _: 7.0, 600))
    assert more is not None
    assert more.value == pytest.approx(7.0)


def test_a_sudden_jump_is_not_expected_to_go_on() -> None:
    for jumped in range(60, 130, 10):
        foresight = lived(lambda t, at=jumped: 20.0 if t >= at else 2.0, 120)  # type: ignore[misc]
        assert all(promise.trend is None or promise.trend <= 20.0 + 1e-9 for promise in foresight.promises)


def test_a_rise_within_the_usual_scatter_is_no_trend() -> None:
    """Between 7 and 13 by chance: more than that is expected in one step of twenty at most."""
    chance = random.Random(5)
    level = [10.0 + chance.uniform(-3.0, 3.0) for _ in range(1000)]
    looks = [lived(lambda t: level[int(t) // 10], until) for until in range(300, 900, 10)]
    said = [promise.trend for foresight in looks for promise in foresight.promises if promise.trend is not None]
    assert len(said) > 100
    assert sum(value > 13.0 for value in said) <= 0.05 * len(said)


def test_a_trend_never_expects_more_than_twice_of_what_there_is() -> None:
    more = expected(lived(lambda t: 2.0 ** (t / 10.0), 100, launch_s=300.0))
    assert more is None or more.value <= 2.0 * 2.0**10


def test_a_minute_must_be_seen_before_anything_is_expected() -> None:
    assert expected(lived(lambda t: float(t), 50)) is None
    assert expected(lived(lambda t: float(t), 60)) is not None


def test_the_same_time_of_the_day_before_is_expected() -> None:
    nearly_nine = DAY_S + 9 * 3600 - 20
    foresight = lived(office, nearly_nine, Season.DAY, 30.0, since=(nearly_nine - 600, office_day(None)))
    more = expected(foresight)
    assert more is not None
    assert (round(more.value, 1), more.way) == (20.0, "season")


def test_without_a_launch_time_nothing_is_expected_but_the_season_is_learned() -> None:
    foresight = office_day(None)
    assert expected(foresight) is None
    assert foresight.profile.at(9 * 12) == 20.0


def test_a_day_twice_as_busy_as_usual_is_expected_to_stay_so() -> None:
    foresight = lived(lambda t: 2.0 * office(t), DAY_S + 12 * 3600, Season.DAY, None, since=(DAY_S, office_day(None)))
    assert foresight.level == pytest.approx(1.9, abs=0.1)


def test_the_season_goes_by_the_local_clock() -> None:
    """Nine in Berlin comes 25 hours after nine in Berlin when the clocks have gone back in the night."""
    berlin, nine = parse_zone("Europe/Berlin"), 1_761_375_600  # 2025-10-25T09:00 there
    foresight = fresh(Season.DAY)
    for now in (*range(nine - 3600, nine + 4500, 10), *range(nine + 85_200, nine + 25 * 3600 - 10, 10)):
        pieces = [Piece(second, 1.0, 10.0 if 0 <= second - nine < 3600 else 1.0) for second in range(now - 64, now)]
        foresight = advance(foresight, Season.DAY, berlin, Series(Totals.of(pieces), 60, 3), float(now), 5.0)
        more = expected(foresight)
        if now == nine + 24 * 3600 - 10:
            assert more is not None
            assert more.value == pytest.approx(1.0, abs=0.1)
    assert more is not None
    foresight = advance(foresight, Season.DAY, berlin, Series(Totals.of(pieces), 60, 3), nine + 25 * 3600, 5.0)
    more = expected(foresight)
    assert more is not None
    assert more.value == pytest.approx(10.0, rel=0.2)


# -- when it is believed ----------------------------------------------------------------------------------------------


def test_a_way_that_does_worse_than_none_is_off_and_on_again_when_it_does_better() -> None:
    """Rises that stop before a launch is over fool the trend; long ones that it foresees win it back."""

    def fooling(t: float) -> float:
        return 2.0 + max(0.0, t % 600 - 480) / 5.0

    def ramps(t: float) -> float:
        return 2.0 + 40.0 * (t % 600) / 600.0

    fooled = lived(fooling, 3600, launch_s=90.0)
    assert not fooled.trend.is_trusted
    assert expected(fooled) is None
    assert "trend off, error" in told(fooled, Season.NONE)
    better = lived(lambda t: fooling(t) if t < 3600 else ramps(t), 3 * 3600, launch_s=90.0)
    assert better.trend.is_trusted
    assert "trend error" in told(better, Season.NONE)


def test_what_is_off_goes_on_being_judged() -> None:
    off = lived(lambda t: 2.0 + max(0.0, t % 600 - 480) / 5.0, 3600, launch_s=90.0)
    assert not off.trend.is_trusted
    assert off.promises
    assert off.trend.weight > 100.0


def test_noise_gains_nothing_and_costs_next_to_nothing() -> None:
    chance = random.Random(7)
    level = [max(0.0, chance.gauss(10.0, 3.0)) for _ in range(2000)]
    score = lived(lambda t: level[int(t) // 10], 4 * 3600).trend
    assert score.error == pytest.approx(score.without, rel=0.05)


def test_a_season_that_is_over_is_off_by_its_errors() -> None:
    """A day busy from nine, then a holiday: what did not come is held against the season."""
    foresight = lived(lambda _: 2.0, DAY_S + 12 * 3600, Season.DAY, 30.0, since=(DAY_S, office_day(None)))
    assert not foresight.season.is_trusted


# -- what a policy makes of it ----------------------------------------------------------------------------------------


def test_a_ramp_is_met_one_launch_time_earlier() -> None:
    def ramp(t: float) -> float:
        return min(40.0, 2.0 + max(0.0, t - 120.0) / 10.0)

    def short(policy: dict[str, Any]) -> float:
        story = Story(config(policy), ramp, launch_s=40.0, launch_measured_s=40.0)
        missing = 0.0
        for t in range(700):
            story.until(t)
            missing += max(0.0, ramp(t) - len(story.ready))
        return missing

    assert short(looking(metricTarget=1.0)) < 0.5 * short(tracking(minCapacity=0, maxCapacity=100, metricTarget=1.0))


@pytest.mark.parametrize(("season", "there"), [("day", 20), ("none", 2)])
def test_the_second_morning_is_expected(season: str, there: int) -> None:
    """Launches of a minute, 2 → 20 requests at nine: who has seen the day before has the instances in time."""
    nine = START - START % DAY_S + DAY_S + 9 * 3600
    learned = office_day(None).profile
    foresight = Foresight(learned if season == "day" else Profile())
    story = Story(
        config(looking(season, metricTarget=1.0)),
        lambda t: office(START + t),
        launch_s=60.0,
        launch_measured_s=60.0,
        memory=Memory(target=2, kept={"p": Kept(ahead=Ahead(Standing(2), foresight))}),
        t=nine - 600 - START,
    )
    story.until(nine - START)
    assert len(story.ready) == there
    decision = story.until(nine - START + 120)
    assert decision.target == 20
    assert len(story.ready) == 20


def test_it_says_what_it_expects_and_how_it_has_done() -> None:
    story = Story(config(looking()), lambda t: 1.0 + t / 20.0, launch_measured_s=30.0)
    reason = story.until(300).reasons[-1]
    assert reason.startswith("forecast=")
    assert "in 30 s by trend; trend error " in reason
    assert ", without " in reason


def test_it_says_why_there_is_no_forecast() -> None:
    assert "no forecast: no launch measured yet" in Story(config(looking()), lambda _: 1.0).until(100).reasons[-1]
    early = Story(config(looking("week")), lambda _: 1.0, launch_measured_s=3.0).until(30).reasons[-1]
    assert early == "no forecast yet; season not seen yet"


def test_it_is_bounded_by_the_maximum() -> None:
    story = Story(config(looking() | {"maxCapacity": 7}), lambda t: t / 2.0, launch_measured_s=60.0)
    assert max(story.until(t).target for t in range(0, 300, 10)) == 7


def test_a_busy_gpu_is_foreseen_by_the_requests_that_make_it_busy() -> None:
    """Half a GPU for each request: rising requests are rising GPUs, and never more than there are requests."""

    def demand(t: float) -> float:
        return 4.0 + t / 20.0

    def ends(policy: dict[str, Any]) -> int:
        story = Story(
            config(policy, target=4),
            demand,
            gauge=lambda t, ready: min(1.0, 0.5 * demand(t) / ready),
            launch_measured_s=60.0,
        )
        return story.until(300).target

    gpu: dict[str, Any] = {"metricType": "GPUSmUtilization", "metricTarget": 0.6}
    without = ends(tracking(minCapacity=1, maxCapacity=100, **gpu))
    with_it = ends(looking(**gpu) | {"minCapacity": 1})
    assert without < with_it <= 20


def test_a_pause_of_the_loop_forgets_no_season() -> None:
    before = office_day(None)
    later = advance(before, Season.DAY, UTC, Series(Totals.of([]), 60, 3), 2.0 * DAY_S, 20.0)
    assert later.profile == before.profile
    assert later.promises == ()
    assert later.recent == ()


def test_another_season_begins_anew() -> None:
    story = Story(config(looking("day")), lambda _: 3.0, launch_measured_s=20.0)
    story.until(400)
    _, decision = step(config(looking("week")), story.memory, Seen(START + 401, 6, launch_s=20.0))
    assert "season not seen yet" in decision.reasons[-1]


def test_a_clock_that_was_wrong_leaves_the_season_and_what_was_said() -> None:
    story = Story(config(looking("day")), surge(20.0, 0.0, 900.0), launch_measured_s=20.0)
    said = story.until(800).target
    memory, decision = step(story.config, story.memory, Seen(START - 5 * 3600, said, launch_s=20.0))
    assert decision.target == said
    before, after = story.memory.kept["p"].ahead, memory.kept["p"].ahead
    assert before is not None
    assert after is not None
    assert after.foresight.profile == before.foresight.profile
    assert after.foresight.promises == ()


def test_a_memory_is_small_and_survives_its_way_to_the_store() -> None:
    story = Story(config(looking("week")), lambda t: 5.0 + t % 7, launch_measured_s=600.0)
    story.until(900)
    text = story.memory.to_json()
    assert Memory.from_json(text) == story.memory
    ahead = story.memory.kept["p"].ahead
    assert ahead is not None
    assert len(ahead.foresight.recent) == RECENT_STEPS
    assert len(ahead.foresight.promises) <= 61
    assert len(text) < 16_000


def test_within_a_step_of_ten_seconds_nothing_is_learned_twice() -> None:
    once = lived(lambda t: float(t), 100)
    pieces = [Piece(second, 1.0, 1000.0) for second in range(50, 109)]
    assert advance(once, Season.NONE, UTC, Series(Totals.of(pieces), 60, 3), 109.9, 20.0) == once


@pytest.mark.parametrize(("error", "trusted"), [(0.29, True), (2.0, True), (2.1, False)])
def test_what_is_nothing_beside_the_demand_turns_nothing_off(error: float, trusted: bool) -> None:
    """A bucket that has seen the first second of the next one is a hair too high all its five minutes."""
    assert Score(weight=100.0, error=error, without=0.0, came=200.0).is_trusted is trusted
