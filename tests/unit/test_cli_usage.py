"""`stoke usage`: which function and which time is meant, and how people read what was used."""

from __future__ import annotations

import pytest

from control_plane.cli.failures import BadInput
from control_plane.cli.usage import function_of, moment, row, summed
from control_plane.metering.bill import bill
from control_plane.metering.meter import Amounts, Line
from control_plane.metering.prices import Prices
from control_plane.metering.store import Counted
from runtime.contract import Kind

KEY = ("svc", "LATEST", "f")
HOUR_S = 1_700_002_800
USED = Amounts(90_000, 180_000_000, 92_160_000, 737_280_000, 1234)
COUNTED = Counted({Line(HOUR_S, KEY, Kind.PROVISIONED): USED}, {(HOUR_S, KEY): 4}, {(HOUR_S, KEY): HOUR_S * 1000})


@pytest.mark.parametrize(("named", "found"), [([], ("", "")), (["svc/f"], ("svc", "f"))])
def test_a_function_is_named_with_its_service(named: list[str], found: tuple[str, str]) -> None:
    assert function_of(named, needed=False) == found


@pytest.mark.parametrize("named", [["f"], ["svc/"], ["/f"], ["a/b/c"], ["svc/f", "svc/g"]])
def test_anything_else_is_refused(named: list[str]) -> None:
    with pytest.raises(BadInput, match="SERVICE/FUNCTION is expected"):
        function_of(named, needed=False)


def test_an_export_needs_a_function() -> None:
    with pytest.raises(BadInput, match="SERVICE/FUNCTION is expected"):
        function_of([], needed=True)


@pytest.mark.parametrize(
    ("text", "at_s"),
    [
        ("90s", 1_000_000 - 90),
        ("30m", 1_000_000 - 1800),
        ("1.5h", 1_000_000 - 5400),
        ("7d", 1_000_000 - 604_800),
        ("1970-01-02", 86_400),
        ("1970-01-01T01:00:00+01:00", 0),
    ],
)
def test_a_time_is_so_long_ago_or_a_moment(text: str, at_s: float) -> None:
    assert moment("since", text, 1_000_000.0) == at_s


def test_a_time_that_is_none_is_refused_by_its_option() -> None:
    with pytest.raises(BadInput, match="--since: 'soon'; 90s, 30m, 24h, 7d or an ISO 8601 time is allowed"):
        moment("since", "soon", 0.0)


def test_people_read_what_was_used_and_what_it_cost() -> None:
    prices = Prices(currency="CNY", gpu_gb_second=0.01)
    found = bill(COUNTED, prices, HOUR_S + 45.0)
    assert row(found["rows"][0], "CNY") == {
        "begin": "2023-11-14T23:00Z",
        "function": "svc/f",
        "qualifier": "LATEST",
        "kind": "provisioned",
        "instance-s": "90.0",
        "GPU MB-s": "737,280",
        "memory MB-s": "92,160",
        "vCPU-s": "180.0",
        "requests": "1,234",
        "cost": "7.2000 CNY",
    }
    assert summed(found) == [
        "svc/f LATEST: 90.0 instance-s, 1,234 requests; static peak (4 instances for 45 s): 180.0 instance-s; "
        "50% saved; 7.2000 CNY instead of 14.4000"
    ]


def test_without_prices_the_saving_is_told_in_time() -> None:
    (line,) = summed(bill(COUNTED, None, HOUR_S + 45.0))
    assert line.endswith("180.0 instance-s; 50% saved")


def test_several_functions_are_summed() -> None:
    other = ("svc", "1", "g")
    both = Counted(
        COUNTED.lines | {Line(HOUR_S, other, Kind.ON_DEMAND): USED},
        COUNTED.peaks | {(HOUR_S, other): 2},
        COUNTED.firsts_ms | {(HOUR_S, other): HOUR_S * 1000},
    )
    lines = summed(bill(both, None, HOUR_S + 45.0))
    assert len(lines) == 3
    assert lines[-1] == (
        "all: 180.0 instance-s, 2,468 requests; static peak (each at its peak): 270.0 instance-s; 33% saved"
    )
