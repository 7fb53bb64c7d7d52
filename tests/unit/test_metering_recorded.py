"""What is recorded can be replayed: entries, rows, a file, and the trace that a simulation makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.metering.recorded import RecordedRow, rows, to_csv
from control_plane.metering.recorder import SLOTS_MAX, Recorder
from loadtests.simulator.formats import read_trace, recognise

KEY = ("svc", "LATEST", "f")
T = 1_763_720_000.0
SLOT = round(T * 10)


def entries() -> list[str]:
    """Two writes: three requests, then one more and a launch."""
    recorder = Recorder()
    recorder.arrived(KEY, [[SLOT + 1, 2], [SLOT + 13, 1]])
    recorder.served(KEY, T + 1.5, 2, 0.5)
    first = recorder.take()[KEY]
    recorder.arrived(KEY, [[SLOT + 13, 1]])
    recorder.served(KEY, T + 3.04, 2, 0.8)
    recorder.launched(KEY, T + 2.25, 0.125)
    return [first, recorder.take()[KEY]]


def test_rows_have_what_happened_in_each_tenth_of_a_second_and_both_ends() -> None:
    assert rows(entries(), T, T + 10.0) == [
        RecordedRow(T, 0),
        RecordedRow(T + 0.1, 2),
        RecordedRow(T + 1.3, 2),
        RecordedRow(T + 1.5, 0, 0.25),
        RecordedRow(T + 2.2, 0, None, 0.125),
        RecordedRow(T + 3.0, 0, 0.4),
        RecordedRow(T + 10.0, 0),
    ]


def test_what_lies_outside_the_span_is_left_out() -> None:
    assert [row.requests for row in rows(entries(), T + 1.0, T + 1.4)] == [0, 2, 0]


def test_a_recorder_that_was_taken_from_begins_anew() -> None:
    recorder = Recorder()
    recorder.launched(KEY, T, 1.0)
    assert list(recorder.take()) == [KEY]
    assert recorder.take() == {}


def test_no_more_than_the_newest_arrivals_are_kept() -> None:
    recorder = Recorder()
    recorder.arrived(KEY, [[SLOT + number, 1] for number in range(SLOTS_MAX + 500)])
    found = rows([recorder.take()[KEY]], T, T + 10_000.0)
    assert sum(row.requests for row in found) == SLOTS_MAX
    assert found[1].at_s == pytest.approx(T + 50.0)


def test_an_exported_file_is_recognised_and_has_the_same_requests_launch_and_service_times(tmp_path: Path) -> None:
    path = tmp_path / "recorded.csv"
    path.write_text(to_csv(rows(entries(), T, T + 10.0)))
    assert recognise(path.read_text().splitlines()[0]) == "counts"
    trace = read_trace(path)
    assert trace.arrivals_s == pytest.approx((0.125, 0.175, 1.325, 1.375))
    assert [trace.service_of(index, 9.0) for index in range(4)] == [0.25, 0.25, 0.25, 0.25]
    assert (trace.began_utc_s, trace.launch_s) == (T, 0.125)
    assert trace.duration_s == pytest.approx(10.1)


def written(folder: Path, *lines: str) -> Path:
    path = folder / "counts.csv"
    path.write_text("\n".join(["time,width_s,requests,service_s", *lines]) + "\n")
    return path


def test_wide_buckets_place_their_requests_by_chance_and_seed(tmp_path: Path) -> None:
    path = written(tmp_path, "0,60,5,", "60,60,0,", "120,60,1,0.5")
    trace = read_trace(path, seed=3)
    assert sum(0.0 <= at_s < 60.0 for at_s in trace.arrivals_s) == 5
    assert 120.0 <= trace.arrivals_s[5] < 180.0
    assert trace.duration_s == 180.0
    assert trace == read_trace(path, seed=3)
    assert trace != read_trace(path, seed=4)


def test_a_request_takes_as_long_as_those_that_were_done_next(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "0,1,1,", "5,1,0,0.25", "10,1,1,", "20,1,0,0.75", "30,1,1,"))
    assert trace.service_s == (0.25, 0.75, 0.75)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0,0,1,", "row 2 of counts.csv is '0,0,1,'; time, width_s, requests are needed"),
        ("0,1,-1,", "-1. requests: a whole number, 0 or more"),
        ("soon,1,1,", "soon"),
        ("0", "row 2"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_trace(written(tmp_path, line))
