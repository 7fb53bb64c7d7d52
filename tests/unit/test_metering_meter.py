"""What instances and requests come to: exact, by hour, from launch to end, and never twice."""

from __future__ import annotations

from dataclasses import replace

from control_plane.metering.meter import Amounts, Batch, Line, Meter, Size
from runtime.contract import InstanceRecord, InstanceState, Kind

KEY = ("svc", "LATEST", "f")
HOUR_S = 1_700_000_000 // 3600 * 3600
T = HOUR_S + 600.0  # ten minutes into an hour
GPU = Size(2000, 1024, 16_384)


def record(
    instance_id: str = "i1", launched_at_s: float = T, kind: Kind = Kind.PROVISIONED, revision: str = "r1"
) -> InstanceRecord:
    state = InstanceState.LAUNCHING
    return InstanceRecord(
        instance_id, "svc", "f", "LATEST", revision, kind, state, 1, "local", launched_at_s=launched_at_s
    )


def meter(counted_until_ms: int | None = None) -> Meter:
    made = Meter(counted_until_ms)
    made.sized(KEY, "r1", GPU)
    return made


def used(batch: Batch, kind: Kind = Kind.PROVISIONED, hour_s: int = HOUR_S) -> Amounts:
    return batch.lines.get(Line(hour_s, KEY, kind), Amounts())


def test_an_instance_counts_from_its_launch_though_it_is_heard_of_later() -> None:
    made = meter()
    made.saw(record(launched_at_s=T), T + 0.25)
    made.ended("i1", T + 10.0)
    assert used(made.take(T + 60.0)) == Amounts(10_000, 20_000_000, 10_240_000, 163_840_000, 0)


def test_what_was_taken_is_not_given_again() -> None:
    made = meter()
    made.saw(record(), T)
    assert used(made.take(T + 5.0)).instance_ms == 5000
    made.ended("i1", T + 7.5)
    batch = made.take(T + 9.0)
    assert used(batch).instance_ms == 2500
    assert (batch.from_ms, batch.until_ms) == (round(T * 1000) + 5000, round(T * 1000) + 9000)


def test_an_hour_that_ends_gets_its_part_and_the_next_one_the_rest() -> None:
    made = meter()
    made.saw(record(launched_at_s=HOUR_S + 3590.0), HOUR_S + 3590.0)
    batch = made.take(HOUR_S + 3600.0 + 4.0)
    assert used(batch).instance_ms == 10_000
    assert used(batch, hour_s=HOUR_S + 3600).instance_ms == 4000
    assert batch.peaks == {(HOUR_S, KEY): 1, (HOUR_S + 3600, KEY): 1}


def test_a_change_of_label_moves_what_follows_to_the_other_kind() -> None:
    made = meter()
    made.saw(record(kind=Kind.ON_DEMAND), T)
    made.saw(record(kind=Kind.PROVISIONED), T + 3.0)
    batch = made.take(T + 10.0)
    assert used(batch, Kind.ON_DEMAND).instance_ms == 3000
    assert used(batch).instance_ms == 7000
    assert batch.peaks == {(HOUR_S, KEY): 1}


def test_a_draining_instance_counts_until_its_record_goes() -> None:
    made = meter()
    made.saw(record(), T)
    made.saw(replace(record(), state=InstanceState.DRAINING), T + 5.0)
    made.ended("i1", T + 8.0)
    made.ended("i1", T + 9.0)
    assert used(made.take(T + 20.0)).instance_ms == 8000


def test_requests_are_counted_by_kind_in_the_hour_they_are_told() -> None:
    made = meter()
    made.served(KEY, Kind.PROVISIONED, 3, T)
    made.served(KEY, Kind.ON_DEMAND, 1, T)
    made.served(KEY, Kind.PROVISIONED, 2, T + 3600.0)
    batch = made.take(T + 3601.0)
    assert used(batch).requests == 3
    assert used(batch, Kind.ON_DEMAND).requests == 1
    assert used(batch, hour_s=HOUR_S + 3600).requests == 2


def test_the_peak_is_the_most_instances_of_both_kinds_at_once() -> None:
    made = meter()
    made.saw(record("i1"), T)
    made.saw(record("i2", kind=Kind.ON_DEMAND), T + 1.0)
    made.ended("i1", T + 2.0)
    made.saw(record("i3", launched_at_s=T + 3.0), T + 3.0)
    batch = made.take(T + 4.0)
    assert batch.peaks == {(HOUR_S, KEY): 2}
    assert batch.firsts_ms == {(HOUR_S, KEY): round(T * 1000)}


def test_after_a_restart_an_instance_counts_on_from_where_it_was_written_down() -> None:
    until_ms = round((T + 30.0) * 1000)
    made = meter(until_ms)
    made.saw(record("old", launched_at_s=T), T + 47.0)
    made.saw(record("new", launched_at_s=T + 40.0), T + 47.0)
    batch = made.take(T + 50.0)
    assert batch.from_ms == until_ms
    assert used(batch).instance_ms == 20_000 + 10_000


def test_instances_of_two_revisions_are_each_counted_with_their_own_size() -> None:
    made = meter()
    made.sized(KEY, "r2", Size(0, 512, 0))
    made.saw(record("i1"), T)
    made.saw(record("i2", revision="r2"), T)
    assert used(made.take(T + 1.0)) == Amounts(2000, 2_000_000, 1_024_000 + 512_000, 16_384_000, 0)


def test_sizes_are_told_once_while_somebody_lives_and_taken_back_afterwards() -> None:
    made = meter()
    made.sized(KEY, "unused", Size())
    made.saw(record(), T)
    assert made.take(T + 1.0).sizes == {(KEY, "r1"): GPU}
    assert made.take(T + 2.0).sizes == {}
    made.ended("i1", T + 3.0)
    assert made.take(T + 4.0).sizes_gone == [(KEY, "r1")]
    assert made.take(T + 5.0).sizes_gone == []


def test_a_revision_of_no_known_size_is_named() -> None:
    made = Meter(sizes={(KEY, "r1"): GPU})
    made.saw(record(), T)
    made.saw(record("i2", revision="r2"), T)
    assert made.unsized() == {(KEY, "r2")}


def test_two_batches_never_end_in_the_same_millisecond() -> None:
    made = meter()
    made.saw(record(), T)
    made.take(T + 5.0)
    assert [made.is_due(at_s) for at_s in (T + 5.0, T + 5.0004, T + 5.001)] == [False, False, True]
