from __future__ import annotations

import pytest

from loadtests.simulator.cut import cut, from_first_request
from loadtests.simulator.trace import Trace

BEGAN_S = 1_767_225_600.0
TRACE = Trace("t", (10.5, 20.0, 30.0, 40.0), 60.0, (1.0, 2.0, None, 4.0), BEGAN_S, launch_s=3.0)


def test_a_part_begins_and_ends_when_it_was_asked_to_and_keeps_what_was_known() -> None:
    part = cut(TRACE, BEGAN_S + 15.0, BEGAN_S + 40.0)
    assert part == Trace("t", (5.0, 15.0), 25.0, (2.0, None), BEGAN_S + 15.0, launch_s=3.0)


def test_an_end_that_nobody_names_stays_as_it_is() -> None:
    assert cut(TRACE, None, None) is TRACE
    assert cut(TRACE, BEGAN_S - 100.0, BEGAN_S + 100.0) is TRACE
    assert cut(TRACE, BEGAN_S + 30.0, None).arrivals_s == (0.0, 10.0)
    assert cut(TRACE, None, BEGAN_S + 30.0).duration_s == 30.0


def test_cutting_twice_is_cutting_once() -> None:
    once = cut(TRACE, BEGAN_S + 15.0, BEGAN_S + 35.0)
    assert cut(cut(TRACE, BEGAN_S + 15.0, None), None, BEGAN_S + 35.0) == once


@pytest.mark.parametrize(("since_s", "until_s"), [(50.0, None), (None, 5.0), (31.0, 39.0), (40.0, 20.0)])
def test_a_part_without_requests_is_refused_with_the_span_there_is(
    since_s: float | None, until_s: float | None
) -> None:
    ends = [None if at_s is None else BEGAN_S + at_s for at_s in (since_s, until_s)]
    with pytest.raises(ValueError, match="since, until: no request of t came from 2026") as refused:
        cut(TRACE, *ends)
    assert "it goes from 2026-01-01T00:00:00Z until 2026-01-01T00:01:00Z" in str(refused.value)


def test_what_was_recorded_before_the_first_request_is_left_out_in_whole_seconds() -> None:
    part = from_first_request(TRACE)
    assert part.arrivals_s[0] == 0.5
    assert (part.duration_s, part.began_utc_s) == (50.0, BEGAN_S + 10.0)
