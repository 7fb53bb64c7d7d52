"""Averages and peaks over the last seconds."""

from __future__ import annotations

import pytest

from provision.columns import Columns, Piece, Totals, mean, sliding_mean_max
from provision.windows import Bucket, Gauge, Usage


def seen(demand: float, peak: int = 0, provisioned: float = 0.0, slots: float = 0.0) -> Bucket:
    return Bucket(0, 1.0, demand, provisioned, slots, peak)


def pieces(*values: float) -> Totals:
    return Totals.of(Piece(second, 1.0, value) for second, value in enumerate(values))


def read(usage: Usage) -> Columns:
    return Columns(usage)


def test_an_interval_is_spread_over_the_seconds_it_covers() -> None:
    usage = Usage().add(12.5, 2.0, seen(4.0, peak=7), keep_s=60)
    assert usage.buckets == [
        Bucket(10, 0.5, 2.0, 0.0, 0.0, 7),
        Bucket(11, 1.0, 4.0, 0.0, 0.0, 7),
        Bucket(12, 0.5, 2.0, 0.0, 0.0, 7),
    ]


@pytest.mark.parametrize("parts", [1, 2, 5, 50, 500])
def test_many_short_intervals_are_one_long_one(parts: int) -> None:
    usage = Usage()
    for number in range(1, parts + 1):
        usage = usage.add(100 + 10 * number / parts, 10 / parts, seen(3.0, 4), keep_s=60)
    assert [bucket.second for bucket in usage.buckets] == list(range(100, 110))
    for bucket in usage.buckets:
        assert (bucket.covered_s, bucket.demand) == pytest.approx((1.0, 3.0))
        assert bucket.peak == 4


def test_an_interval_without_length_is_nothing() -> None:
    assert Usage().add(10.0, 0.0, seen(5.0, 5), keep_s=60) == Usage()


def test_what_is_too_old_is_dropped_and_never_more_is_kept() -> None:
    usage = Usage()
    for second in range(1000):
        usage = usage.add(float(second), 1.0, seen(1.0), keep_s=20)
        assert len(usage.buckets) <= 20
    assert usage.add(1000.0, 900.0, seen(1.0), keep_s=20).buckets[0].second == 981


def test_a_mean_weighs_by_what_was_covered() -> None:
    usage = Usage().add(10.0, 1.0, seen(0.0), 60).add(10.1, 0.1, seen(11.0), 60)
    assert mean(read(usage).demand(), 10.1, 60) == pytest.approx(1.0)


def test_a_mean_of_nothing_is_none() -> None:
    assert mean(Totals.of([]), 10.0, 60) is None
    assert mean(pieces(1.0), 100.0, 60) is None
    assert sliding_mean_max(Totals.of([]), 10.0, 60, 3) is None
    assert read(Usage()).peak(10.0, 60) is None
    assert read(Usage()).utilization(10.0, 60) is None


def test_a_window_takes_the_second_it_begins_in_by_its_part() -> None:
    assert mean(pieces(1.0, 2.0, 3.0, 6.0), 4.0, 2) == 4.5
    assert mean(pieces(1.0, 2.0, 3.0, 6.0), 4.0, 1) == 6.0
    assert mean(pieces(1.0, 2.0, 3.0, 6.0), 3.75, 2) == pytest.approx((2.0 * 0.25 + 3.0 + 6.0) / 2.25)
    usage = Usage().add(10.0, 10.0, seen(1.0), 60)
    assert read(usage).covered_s(10.0, 4) == 4.0
    assert read(usage).covered_s(10.25, 4) == 3.75


def test_the_sliding_mean_is_the_most_the_short_window_has_said() -> None:
    assert sliding_mean_max(pieces(0, 0, 9, 0, 0, 0, 3, 0), 7.0, 8, 3) == 3.0
    assert sliding_mean_max(pieces(0, 0, 9, 9, 9, 0, 0, 0), 7.0, 8, 3) == 9.0


def test_a_spike_fades_from_the_sliding_mean_and_does_not_grow_at_the_windows_edge() -> None:
    spike = pieces(0, 0, 9, 0, 0, 0, 0, 0)
    assert [sliding_mean_max(spike, float(now), 4, 3) for now in range(4, 10)] == [3.0, 3.0, 3.0, 3.0, 3.0, 0.0]


def test_a_gap_in_what_was_seen_does_not_dilute_the_sliding_mean() -> None:
    assert sliding_mean_max(Totals.of([Piece(0, 1.0, 4.0), Piece(5, 0.5, 4.0)]), 5.0, 10, 3) == 8.0


def test_the_peak_is_the_largest_in_the_window() -> None:
    usage = Usage().add(10.0, 1.0, seen(1.0, 9), 60).add(20.0, 1.0, seen(1.0, 4), 60)
    assert (read(usage).peak(20.0, 60), read(usage).peak(20.0, 5)) == (9, 4)


def test_a_second_that_is_seen_twice_covers_one_second() -> None:
    usage = Usage()
    for _ in range(5):
        usage = usage.add(11.0, 1.0, seen(2.0), 60)
    assert read(usage).covered_s(11.0, 60) == 1.0
    assert mean(read(usage).demand(), 11.0, 60) == 2.0


def test_a_late_report_is_put_in_its_place() -> None:
    usage = Usage().add(11.0, 1.0, seen(1.0), 60).add(13.0, 1.0, seen(3.0), 60).add(13.0, 3.0, seen(1.0), 60)
    assert [(bucket.second, bucket.demand) for bucket in usage.buckets] == [(10, 2.0), (11, 1.0), (12, 4.0)]


def test_a_gauge_keeps_the_largest_of_a_second() -> None:
    gauge = Gauge().put(5, 0.2).put(4, 0.9).put(5, 0.7).put(5, 0.1)
    assert gauge.readings == ((4, 0.9), (5, 0.7))
    assert gauge.put(5, 0.7) is gauge
    assert gauge.since(5).readings == ((5, 0.7),)
    assert gauge.since(4) is gauge
    assert gauge.since(6) == Gauge()


def test_what_rounding_leaves_of_a_weight_is_no_average() -> None:
    """Requests answered for 0.1 s each, then none: 0.1 + 0.2 − 0.1 − 0.2 is not quite 0, and nothing was waited for."""
    waits = Totals((0, 1, 2, 3, 4, 5, 6), (0.1, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0), (0.3, 0.6, 0.0, 0.0, 0.0, 0.0, 0.0))
    assert sliding_mean_max(waits, 7.0, 3, 2) is None
