"""The policy with a percentile: what it may be asked for, and stories of bursts told in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from provision import choice
from provision.choice import DOUBT, choose
from provision.columns import Columns
from provision.config import ConfigError, parse
from provision.decide import Memory, Seen, step
from provision.experience import costs, late_shares, late_shares_long, standing
from provision.pace import Pace
from provision.queues import FADE_S, advance, bucket_s, faded, fresh
from provision.shadow import BY_RATE, MANNERS, STANDING, Shadow, SloMemory, Way, floors_between, heights_of, ways_of
from provision.slo import by_slo
from provision.tracking import Standing
from provision.traffic import Traffic
from provision.ways import columns_of, heir_of
from provision.windows import Gauge, Usage
from provision.wishes import View
from tests.support import launches as one_queue
from tests.unit.provision_story import START

SECOND = Pace(service_s=1.0, launch_s=8.0, limit_s=4.0, slots=1)


def asked(**changes: Any) -> dict[str, Any]:
    values = {
        "name": "p", "metricType": "QueueWaitMilliseconds", "metricTarget": 4000.0, "percentile": 0.99,
        "minCapacity": 0, "maxCapacity": 100,
    }  # fmt: skip
    return values | changes


def problems(**changes: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse({"targetTrackingPolicies": [asked(**changes)]})
    return caught.value.problems


def launched(inside: float, per_s: float, ready: float, coming_s: float = 0.0, share: float = 1.0) -> float:
    return one_queue.launched(SECOND, inside, per_s, ready, ready + (1 if coming_s else 0), coming_s, share)


# -- what may be asked for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("percentile", [0.5, 0.9, 0.99, 0.999])
def test_a_percentile_comes_back_as_it_was_sent(percentile: float) -> None:
    config = parse({"targetTrackingPolicies": [asked(percentile=percentile)]})
    assert config.model_dump(by_alias=True)["targetTrackingPolicies"][0]["percentile"] == percentile


@pytest.mark.parametrize("percentile", [0, 0.49, 0.9999, 1, 99, "0.99", True])
def test_another_percentile_is_refused_by_name(percentile: Any) -> None:
    (problem,) = problems(percentile=percentile)
    assert problem.startswith("targetTrackingPolicies[0].percentile is ")
    assert problem.endswith("must be a number from 0.5 to 0.999")


def test_a_percentile_goes_only_with_the_wait_in_the_queue() -> None:
    (problem,) = problems(metricType="WaitingLength")
    assert "percentile is 0.99: must be left out with metricType WaitingLength" in problem


@pytest.mark.parametrize(
    ("field", "value"),
    [("stableWindowSeconds", 60), ("panicWindowSeconds", 3), ("scaleInDelaySeconds", 0), ("scaleOutLimit", 1)],
)
def test_windows_and_limits_of_the_other_policies_are_refused_beside_it(field: str, value: int) -> None:
    (problem,) = problems(**{field: value})
    assert f"{field} is {value}: must be left out with percentile" in problem


def test_behavior_is_refused_beside_it() -> None:
    (problem,) = problems(behavior="HPA")
    assert "must be left out with percentile" in problem


# -- useful launches --------------------------------------------------------------------------------------------------


def test_a_backlog_that_is_drained_before_a_launch_is_ready_launches_nothing() -> None:
    assert launched(inside=50.0, per_s=0.0, ready=7.0) == 0.0  # 3.5 in work on average; 46.5 are done in 6.7 s


def test_what_would_be_left_is_brought_within_the_limit() -> None:
    # 114 inside less half of the 14 in work, 14 a second and as many answered: 107 are left, 27 answer them in 4 s.
    assert launched(inside=114.0, per_s=14.0, ready=14.0) == 13.0


def test_instances_that_start_count_with_the_time_they_will_have_worked() -> None:
    assert launched(inside=60.0, per_s=0.0, ready=5.0) == 0.0  # 57.5 - 40 are left, and 5 answer 20 in 4 s
    assert launched(inside=90.0, per_s=0.0, ready=5.0) == 7.0
    assert launched(inside=90.0, per_s=0.0, ready=5.0, coming_s=8.0) == 4.0


def test_what_would_be_launched_again_at_once_is_not_given_back() -> None:
    """100 inside and 5 a second: 140 in a launch time and the limit are 12 instances' work."""
    assert one_queue.needed(SECOND, 100.0, 5.0) == 12.0
    assert launched(inside=100.0, per_s=5.0, ready=12.0) == 0.0


def test_a_moment_with_many_in_work_holds_nothing_where_all_have_time_to_wait() -> None:
    pace = Pace(service_s=0.2, launch_s=20.0, limit_s=10.0, slots=1)
    assert one_queue.needed(pace, 4.0, 3.4) == 1.0


def test_never_more_launches_than_requests_are_left() -> None:
    pace = Pace(service_s=60.0, launch_s=8.0, limit_s=0.5, slots=1)
    assert one_queue.launched(pace, 3.0, 0.0, 0.0, 0.0) == 3.0


# -- shadow queues ----------------------------------------------------------------------------------------------------


def test_floors_go_by_ones_and_then_by_tenths() -> None:
    assert floors_between(0, 10, 100) == tuple(range(11))
    assert floors_between(3, 4, 16) == (3, 4)
    assert floors_between(14, 24, 24) == (14, 15, 16, 17, 18, 19, 20, 22, 24)
    assert len(floors_between(0, 10_000, 10_000)) < 100


def test_heights_go_by_thirds_each_with_the_floors_below_it() -> None:
    assert heights_of(tuple(range(11))) == (1, 2, 3, 5, 7, 10)
    assert heights_of(floors_between(0, 100, 40))[:6] == (1, 2, 3, 5, 7, 10), (
        "more floors leave the lower ones as they are"
    )
    columns = columns_of((0, 1, 2, 3))
    lifted = list(zip(columns.floor[columns.lifted :], columns.height[columns.lifted :], strict=True))
    assert lifted == [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]


def test_ways_that_are_imagined_later_begin_with_what_the_nearest_one_has_seen() -> None:
    few, more = tuple(range(4)), tuple(range(8))
    of_few, of_more = columns_of(few), columns_of(more)
    for column, heir in enumerate(heir_of(more, few).tolist()):
        assert of_few.floor[heir] == min(of_more.floor[column], 3)
        assert of_few.height[heir] <= of_more.height[column]
        if of_more.height[column] <= 3:
            assert of_few.height[heir] == of_more.height[column], "what was there goes on"
            assert of_few.share[heir] == of_more.share[column]


def test_a_report_that_comes_between_two_looks_loses_no_request() -> None:
    """A look is told of a second of which the end was not yet over at the report: it seems to begin a little later."""
    shadow = advance(fresh(SECOND, 0, 40, START), SECOND, START, START + 1.5, 30.0)
    shadow = advance(shadow, SECOND, START + 2.4, START + 3.4, 4.0)
    shadow = advance(shadow, SECOND, START + 3.4, START + 9.0, 0.0)
    assert shadow.requests == pytest.approx(34.0, rel=0.02)


def test_where_only_one_number_is_allowed_there_is_no_height() -> None:
    shadow = fresh(SECOND, 3, 3, START)
    for second in range(60):
        shadow = advance(shadow, SECOND, START + second, START + second + 1.0, 9.0)
    assert heights_of(shadow.floors) == ()
    way = choose(shadow, 0.99, SECOND)
    assert (way.floor, way.height) == (3, 3)


def test_what_was_told_before_a_time_that_nobody_has_seen_is_kept() -> None:
    shadow = advance(fresh(SECOND, 0, 40, START), SECOND, START, START + 1.5, 30.0)
    shadow = advance(shadow, SECOND, START + 600.0, START + 601.0, 0.0)
    assert shadow.requests == pytest.approx(30.0, rel=0.02), "and nothing fades in it"


def test_time_is_cut_finely_but_into_no_more_than_64_pieces_of_a_launch() -> None:
    assert bucket_s(SECOND) == 0.25
    assert bucket_s(Pace(0.2, 20.0, 10.0, 1)) == 0.5
    assert bucket_s(Pace(1.0, 120.0, 4.0, 1)) == 2.0


def test_a_burst_is_late_with_few_and_in_time_with_enough() -> None:
    """60 requests of a second at once: with 14 all wait 4 s at most, with 8 those behind 36 wait longer."""
    shadow = advance(fresh(SECOND, 0, 100, START), SECOND, START, START + 0.25, 60.0)
    shadow = advance(shadow, SECOND, START + 0.25, START + 8.25, 0.0)
    shares = late_shares(shadow, 0.0)[: len(shadow.floors) * MANNERS].reshape(-1, MANNERS)
    lazy = STANDING - 1
    assert shares[14, lazy] == 0.0
    assert shares[8, lazy] == pytest.approx((60 - 8 * 4.5) / 60)
    assert shares[0, lazy] == 1.0


def test_a_launch_shorter_than_the_limit_needs_no_floor() -> None:
    pace = Pace(service_s=1.0, launch_s=0.5, limit_s=10.0, slots=1)
    shadow = fresh(pace, 0, 100, START)
    for second in range(120):
        shadow = advance(shadow, pace, START + second, START + second + 1.0, 20.0 if second % 40 == 0 else 0.0)
    assert choose(shadow, 0.99, pace).floor == 0


def test_a_floor_is_chosen_that_keeps_bursts_within_the_limit() -> None:
    shadow = fresh(SECOND, 0, 100, START)
    for second in range(600):
        shadow = advance(shadow, SECOND, START + second, START + second + 1.0, 60.0 if second % 60 == 0 else 0.0)
    way = choose(shadow, 0.99, SECOND)
    assert 12 <= way.floor <= 14
    assert f"floor {way.floor}: up to 0.0% of recent requests" in way.why
    assert f"with {way.floor - 1}" in way.why


def after_bursts(quiet_s: int, last: float = 90.0) -> Way:
    """Ten bursts a minute apart, of 60 requests but for the last, and then nothing for a time."""
    shadow = fresh(SECOND, 0, 100, START)
    for second in range(600):
        arrived = (last if second == 540 else 60.0) if second % 60 == 0 else 0.0
        shadow = advance(shadow, SECOND, START + second, START + second + 1.0, arrived)
    shadow = advance(shadow, SECOND, START + 600.0, START + 600.0 + quiet_s, 0.0)
    return choose(shadow, 0.99, SECOND)


def test_however_long_nobody_asks_no_way_is_taken_that_most_were_late_with() -> None:
    """What stands ready costs more and more the longer it is not needed, but it is no matter of price."""
    assert after_bursts(quiet_s=3600).floor >= 11


def lived(rates: Sequence[float], each_s: int) -> Shadow:
    """Requests a second, each rate for so many seconds."""
    shadow = fresh(SECOND, 0, 100, START)
    for second in range(len(rates) * each_s):
        shadow = advance(shadow, SECOND, START + second, START + second + 1.0, rates[second // each_s])
    return shadow


def test_as_few_as_would_have_been_enough_if_they_had_always_stood_are_known() -> None:
    """60 requests at once, once a minute: 14 answer what they do not begin at once within 4 s, as 14 × 4.5 is 63."""
    shadow = fresh(SECOND, 0, 100, START)
    for second in range(600):
        shadow = advance(shadow, SECOND, START + second, START + second + 0.25, 60.0 if second % 60 == 0 else 0.0)
        shadow = advance(shadow, SECOND, START + second + 0.25, START + second + 1.0, 0.0)
    found = standing(shadow, 0.01)
    assert found is not None
    assert found[0] == 14
    others = costs(shadow)[12 * MANNERS + STANDING]
    assert found[1] == pytest.approx(others * 14 / shadow.floors[12]), "each is paid for all the time"


def test_far_below_the_price_of_those_that_always_stand_the_safest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    shadow = lived([1.0, 1.0, 1.0, 12.0, 12.0, 1.0, 1.0, 1.0, 1.0, 6.0], each_s=60)
    safest = choose(shadow, 0.99, SECOND)
    monkeypatch.setattr(choice, "STANDING_PART", 0.0)
    cheapest = choose(shadow, 0.99, SECOND)
    stands = standing(shadow, 0.01)
    assert stands is not None
    share, cost = of_way(shadow, safest)
    share_before, cost_before = of_way(shadow, cheapest)
    assert share < share_before
    assert cost_before < cost <= 0.7 * stands[1]
    assert f"{stands[0]} that always stand would have been enough" in safest.why
    assert "always stand" not in cheapest.why


def test_bursts_longer_than_a_launch_are_met_by_few_that_stand_and_more_as_soon_as_half_of_them_are_busy() -> None:
    """8 s of 4 a second, then 24 s of 14, every 104 s. A launch takes 8 s, and 4 s may be waited."""
    shadow = lived(([4.0, 14.0, 14.0, 14.0] + [0.0] * 9) * 10, each_s=8)
    way = choose(shadow, 0.99, SECOND)
    stands = standing(shadow, 0.01)
    assert stands is not None
    assert way.floor < 10 < stands[0] <= way.height
    share, cost = of_way(shadow, way)
    assert share <= 0.05, "the first burst, before anything was known, and what is remembered of it"
    assert cost < 0.8 * stands[1]
    assert way.why.startswith(f"floor {way.floor}, {way.height} as soon as half are busy: up to 0.")


def test_safety_from_what_was_long_ago_is_bought_at_the_price_of_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two large bursts, and an hour of small ones."""
    shadow = lived([20.0, 0.0, 0.0, 20.0] + [0.0, 0.0, 4.0] * 40, each_s=25)
    monkeypatch.setattr(choice, "STANDING_PART", 0.0)
    way = choose(shadow, 0.99, SECOND)
    share, cost = of_way(shadow, way)
    monkeypatch.setattr(choice, "late_shares_long", lambda shadow, _: np.zeros(ways_of(shadow.floors)))
    share_short, cost_short = of_way(shadow, choose(shadow, 0.99, SECOND))
    assert share < share_short
    assert cost_short < cost <= cost_short * (1.0 + DOUBT * (share_short - share) / 0.01)


def of_way(shadow: Shadow, way: Way) -> tuple[float, float]:
    """The long memory's share, and the cost."""
    columns = columns_of(shadow.floors)
    (column,) = [
        index
        for index, found in enumerate(zip(*(c.tolist() for c in columns[:-1]), strict=True))
        if found == (way.floor, way.height, way.rate, way.share)
    ]
    return float(late_shares_long(shadow, 1.0)[column]), float(costs(shadow)[column])


def test_those_that_always_stand_are_no_way_to_be_taken() -> None:
    """Traffic that never changes: as many as always stand would do, and launches are as good as never needed."""
    way = choose(lived([6.0], each_s=400), 0.99, SECOND)
    assert (way.rate, way.share) in BY_RATE
    assert way.floor <= 6


def test_what_an_older_version_has_learned_is_learned_anew_and_what_is_held_stays() -> None:
    found = SloMemory.from_values([[0] * 15, 12.5, 10.0, 7.0, START, 0.0, [START, [], 0.0, 0.0, 0.0, 0.0, START]])
    assert found == SloMemory(None, 12.5, 10.0, 7.0, START)


def test_a_large_burst_is_imagined_with_as_many_floors_as_it_needs() -> None:
    shadow = advance(fresh(SECOND, 0, 10_000, START), SECOND, START, START + 1.0, 2000.0)
    shadow = advance(shadow, SECOND, START + 1.0, START + 9.0, 0.0)
    assert shadow.floors[-1] >= 1000
    assert late_shares(shadow, 0.0)[(len(shadow.floors) - 1) * MANNERS] == 0.0


def test_who_is_idle_keeps_the_same_numbers() -> None:
    shadow = advance(fresh(SECOND, 0, 100, START), SECOND, START, START + 1.0, 5.0)
    shadow = advance(shadow, SECOND, START + 1.0, START + 400.0, 0.0)
    later = advance(shadow, SECOND, START + 400.0, START + 401.0, 0.0)
    assert later.table is shadow.table


def test_the_past_fades_slower_the_less_there_is_of_it() -> None:
    assert faded(1e6, 300.0, FADE_S)[0] == pytest.approx(0.3679, abs=1e-4)
    assert faded(400.0, 300.0, FADE_S)[0] == pytest.approx(0.5)
    assert faded(10.0, 3000.0, FADE_S)[0] == pytest.approx(0.8)


# -- decisions --------------------------------------------------------------------------------------------------------


def decided(*looks: Seen, **changes: Any) -> tuple[int, tuple[str, ...]]:
    config, memory = parse({"targetTrackingPolicies": [asked(**changes)]}), Memory()
    for look in looks:
        memory, decision = step(config, memory, look)
    return decision.target, decision.reasons


def test_before_anything_was_answered_there_is_one_instance_for_the_first_requests() -> None:
    look = Seen(now=START, current=0, interval_s=1.0, arrived=3.0, demand=3.0, demand_peak=3, waiting=3)
    assert decided(look) == (1, ("no request answered yet",))


def test_without_history_the_minimum_stands_and_launches_help() -> None:
    first = Seen(now=START, current=1, interval_s=1.0, arrived=1.0, finished=1.0, provisioned_in_flight=1.0)
    flood = Seen(
        now=START + 1.0, current=1, interval_s=1.0, arrived=15.0, finished=1.0, provisioned_in_flight=1.0,
        in_flight=1, waiting=14, launch_s=8.0,
    )  # fmt: skip
    target, reasons = decided(first, flood, minCapacity=1)
    assert target > 10
    assert reasons[0] == "floor 1: 1 of 20 requests seen"
    assert "would be left in 8.1 s, at 15.0 requests a second in 1 s" in reasons[1]


def test_an_idle_function_with_no_minimum_goes_to_zero() -> None:
    looks = [Seen(now=START + n, current=1, interval_s=1.0, arrived=1.0 * (n < 5), finished=1.0 * (n < 5),
                  provisioned_in_flight=1.0 * (n < 5), launch_s=8.0) for n in range(120)]  # fmt: skip
    assert decided(*looks)[0] == 0


def said_after_a_lull(recent: float) -> int:
    """A launch time of 20 s after the last look, nobody in work, and a floor of 0 that was enough before."""
    (policy,) = parse({"targetTrackingPolicies": [asked(metricTarget=10_000.0)]}).target_tracking_policies
    pace = Pace(service_s=0.2, launch_s=20.0, limit_s=10.0, slots=1)
    shadow = fresh(pace, 0, 100, START)._replace(requests=1000.0, recent=(recent,) * 32)
    memory = SloMemory(shadow, 200.0, 1000.0, held=1.0, held_at=START - 20.0, chosen=(0.99, Way(0, 0, 2, 1.0, "")))
    view = View(START, 1, 1, Columns(Usage()), Gauge(), None, None, launch_s=20.0)
    return by_slo(policy, memory, Standing(1), view)[1].said


def test_the_last_instance_stays_while_requests_come_though_none_is_in_work_when_somebody_looks() -> None:
    assert said_after_a_lull(recent=1.5) == 1
    assert said_after_a_lull(recent=0.0) == 0


def said_with_a_height(
    in_flight: int, ready: int, starting: int = 0, surge: float = 90.0, held: float = 0.0
) -> tuple[int, str]:
    """A floor of 4 and a height of 10, nobody waiting."""
    (policy,) = parse({"targetTrackingPolicies": [asked()]}).target_tracking_policies
    shadow = fresh(SECOND, 0, 100, START)._replace(requests=1000.0, surge=surge)
    memory = SloMemory(shadow, 1000.0, 1000.0, held=held, held_at=START, chosen=(0.99, Way(4, 10, 2, 1.0, "why")))
    traffic = Traffic(in_flight=in_flight, starting_at=(START,) * starting)
    view = View(
        START, ready, 1, Columns(Usage()), Gauge(), None, None, launch_s=8.0, traffic=traffic, starting=starting
    )
    _, standing_now, why = by_slo(policy, memory, Standing(ready), view)
    return standing_now.said, why[-1]


def test_once_half_are_busy_the_height_is_launched_before_anybody_waits() -> None:
    assert said_with_a_height(in_flight=2, ready=4)[0] == 4
    assert said_with_a_height(in_flight=3, ready=4) == (10, "6 launches up to 10: over half are busy")
    assert said_with_a_height(in_flight=3, ready=4, starting=6, held=10.0)[0] == 10, "not twice"
    assert said_with_a_height(in_flight=3, ready=4, surge=30.0)[0] == 4, "four answer the largest surge there was"


def test_what_would_be_launched_up_to_the_height_again_is_not_given_back() -> None:
    assert said_with_a_height(in_flight=5, ready=10)[0] == 10
    assert said_with_a_height(in_flight=2, ready=10)[0] == 4


def of_batches(looks: int) -> list[Seen]:
    """Ten requests of 0.2 s every third second, with two instances: somebody waits at each look but the last one."""
    return [
        Seen(now=START + n, current=2, interval_s=1.0, arrived=10.0 * (n % 3 == 0), finished=3.3,
             provisioned_in_flight=0.66, in_flight=2, waiting=4 if n + 1 < looks else 0, launch_s=20.0)
        for n in range(looks)
    ]  # fmt: skip


def test_a_queue_that_fewer_answer_in_time_holds_no_others_and_nobody_is_sent_away_before_it_is_empty() -> None:
    assert decided(*of_batches(60)[:-1], metricTarget=10_000.0)[0] == 2
    assert decided(*of_batches(60), metricTarget=10_000.0)[0] == 1


def test_a_changed_limit_begins_to_learn_anew() -> None:
    looks = [
        Seen(
            now=START + n, current=9, interval_s=1.0, arrived=9.0, finished=9.0, provisioned_in_flight=9.0, in_flight=9
        )
        for n in range(30)
    ]
    config, memory = parse({"targetTrackingPolicies": [asked()]}), Memory()
    for look in looks:
        memory, before = step(config, memory, look)
    changed = parse({"targetTrackingPolicies": [asked(metricTarget=1000.0)]})
    _, after = step(changed, memory, Seen(now=START + 30.0, current=9, in_flight=9))
    assert "requests seen" not in before.reasons[0]
    assert after.reasons[0] == "floor 0: 0 of 20 requests seen"
    assert after.target == 9, "what serves is kept"
