from __future__ import annotations

import pytest

from loadtests.simulator.generated import generate, parse


def per(arrivals_s: tuple[float, ...], begin_s: float, end_s: float) -> float:
    return sum(begin_s <= t < end_s for t in arrivals_s) / (end_s - begin_s)


def test_a_shape_keeps_as_many_requests_in_the_work_as_it_has_users() -> None:
    trace = generate(parse("shape:burst,low=1,high=20,duration_s=1000"), service_s=0.5, seed=3)
    assert per(trace.arrivals_s, 0, 200) == pytest.approx(1 / 0.5, rel=0.2)
    assert per(trace.arrivals_s, 200, 650) == pytest.approx(20 / 0.5, rel=0.1)
    assert trace.duration_s == 1000


def test_a_day_is_ten_times_as_busy_at_its_height_as_at_its_ends_and_has_two_crowds() -> None:
    trace = generate(parse("shape:day,peak_rps=2,duration_s=20000"), service_s=1.0, seed=1)
    rates = [per(trace.arrivals_s, 500.0 * n, 500.0 * (n + 1)) for n in range(40)]
    assert rates[20] > 6 * rates[0]
    assert rates[15] > 1.2 * rates[13]
    assert rates[31] > 1.2 * rates[29]


def test_the_seed_decides_all_of_it() -> None:
    wanted = parse("shape:day,duration_s=3000")
    assert generate(wanted, 1.0, 5) == generate(wanted, 1.0, 5)
    assert generate(wanted, 1.0, 5) != generate(wanted, 1.0, 6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shape:wave", "shape 'wave'; one of steady, step, tidal, burst, day is allowed"),
        ("shape:step,high", "'high' in shape:step,high; KEY=NUMBER is allowed"),
        ("shape:step,peak_rps=2", "'peak_rps' in .*; one of low, high, duration_s is allowed"),
        ("shape:step,low=-1", "low: -1 users; 0 or more are allowed"),
        ("shape:day,peak_rps=0", "peak_rps up to 1000"),
    ],
)
def test_a_wrong_shape_is_refused_with_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(text)
