"""What usage costs, and what a static peak would have cost beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.metering.bill import bill
from control_plane.metering.meter import Amounts, Line
from control_plane.metering.prices import Prices, read_prices
from control_plane.metering.store import Counted
from runtime.contract import Kind

KEY = ("svc", "LATEST", "f")
HOUR_S = 3600 * 400_000
# 100 s of instances with 2 vCPU, 1 GiB and 8 GiB of a GPU.
USED = Amounts(100_000, 200_000_000, 102_400_000, 819_200_000, 5000)
PRICES = Prices(currency="CNY", gpu_gb_second=0.01, vcpu_second=0.001, gb_second=0.0001, million_requests=2.0)


def counted() -> Counted:
    """Four instances at most, the first of them ten seconds into the hour."""
    return Counted(
        {Line(HOUR_S, KEY, Kind.PROVISIONED): USED}, {(HOUR_S, KEY): 4}, {(HOUR_S, KEY): HOUR_S * 1000 + 10_000}
    )


def test_each_unit_has_its_price() -> None:
    row = bill(counted(), PRICES, HOUR_S + 60.0)["rows"][0]
    assert row["cost"] == pytest.approx(800 * 0.01 + 200 * 0.001 + 100 * 0.0001 + 5000 * 2e-6)
    assert (row["instance_seconds"], row["vcpu_seconds"]) == (100.0, 200.0)
    assert (row["gpu_memory_mb_seconds"], row["memory_mb_seconds"]) == (819_200.0, 102_400.0)


def test_a_static_peak_has_the_most_instances_from_the_first_of_them_to_the_end_and_the_same_requests() -> None:
    found = bill(counted(), PRICES, HOUR_S + 60.0)
    one = found["functions"][0]
    assert one["static_peak"]["instances"] == 4
    assert (one["static_peak"]["span_s"], one["static_peak"]["instance_seconds"]) == (50.0, 200.0)
    assert one["static_peak"]["cost"] == pytest.approx(8.21 * 2 + 0.01)
    assert one["saving"] == pytest.approx(8.21)
    assert found["total"]["saving"] == one["saving"]
    assert found["total"]["static_peak"]["cost"] == one["static_peak"]["cost"]


def test_what_a_second_of_an_instance_cost_is_told_without_the_requests() -> None:
    cost = (800 * 0.01 + 200 * 0.001 + 100 * 0.0001) / 100.0
    assert bill(counted(), PRICES, HOUR_S + 60.0)["functions"][0]["instance_second_cost"] == pytest.approx(cost)
    assert bill(counted(), None, HOUR_S + 60.0)["functions"][0]["instance_second_cost"] is None


def test_without_prices_there_are_no_costs_and_the_peak_is_there_in_seconds() -> None:
    found = bill(counted(), None, HOUR_S + 60.0)
    assert (found["currency"], found["rows"][0]["cost"], found["total"]["saving"]) == (None, None, None)
    assert found["functions"][0]["static_peak"] == {
        "instances": 4, "span_s": 50.0, "instance_seconds": 200.0, "cost": None
    }  # fmt: skip


def test_a_static_peak_never_has_less_than_was_used() -> None:
    found = bill(counted(), PRICES, HOUR_S + 11.0)
    assert found["functions"][0]["static_peak"]["instance_seconds"] == 100.0
    assert found["functions"][0]["saving"] == 0.0


def test_requests_without_an_instance_time_cost_what_they_cost() -> None:
    only = Counted({Line(HOUR_S, KEY, Kind.ON_DEMAND): Amounts(requests=1_000_000)})
    found = bill(only, PRICES, HOUR_S + 60.0)
    assert (found["total"]["cost"], found["total"]["static_peak"]["cost"]) == (2.0, 2.0)


def test_nothing_used_is_nothing_to_pay() -> None:
    found = bill(Counted(), PRICES, 60.0)
    assert (found["rows"], found["functions"], found["total"]["cost"]) == ([], [], 0.0)


def test_prices_are_read_from_a_file_with_their_currency(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text('{"currency": "EUR", "gpuGbSecond": 0.5}')
    assert read_prices(path) == Prices(currency="EUR", gpu_gb_second=0.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"gpuGbSecond": 0.5}', "currency"),
        ('{"currency": "EUR", "gpuGbSecond": -1}', "gpuGbSecond is '-1': Input should be greater than or equal to 0"),
        ('{"currency": "EUR", "gpuSecond": 1}', "gpuSecond is '1': .*its fields are currency, gpuGbSecond, vcpuSecond"),
        ("[", "Invalid JSON"),
        ('{"gbSecond": 0.5}', "currency is missing"),
        ('{"currency": "EUR", "gbSecond": "0.5"}', "gbSecond is '0.5': Input should be a valid number"),
        ('{"currency": "EUR", "gbSecond": true}', "gbSecond is 'True': Input should be a valid number"),
        ("\udcff", "prices: .*prices.json: the file is .*Invalid JSON"),
    ],
)
def test_a_wrong_price_is_named_with_what_is_allowed(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=said):
        read_prices(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"prices: .*none.json cannot be read"):
        read_prices(tmp_path / "none.json")
