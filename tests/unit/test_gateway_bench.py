"""What the gateway's benchmark reads and concludes, without running it."""

from __future__ import annotations

from typing import Any

import pytest

from loadtests.bench.gateway import Round, summary
from loadtests.bench.wire import Load, Seen, parse_wrk

WRK = """Running 2s test @ http://127.0.0.1:33119/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     0.93ms  405.65us   5.89ms   83.11%
  Latency Distribution
     50%  850.00us
     75%    1.05ms
     90%    1.38ms
     99%    2.45ms
  71947 requests in 2.10s, 20.24MB read
Requests/sec:  34260.72
Transfer/sec:      9.64MB
"""


def test_what_wrk_prints_is_read_with_its_units() -> None:
    assert parse_wrk(WRK) == Seen(71947, 34260.72, 0.85, 2.45, 0)
    failed = WRK.replace("Requests/sec", "  Socket errors: connect 1, read 2, write 0, timeout 3\nRequests/sec")
    failed = failed.replace("Requests/sec", "  Non-2xx or 3xx responses: 4\nRequests/sec")
    assert parse_wrk(failed).failed == 10
    with pytest.raises(ValueError, match="wrk did not print"):
        parse_wrk("unable to connect")


def rounds(requests_per_s: float, cpu_us: float, busy: float = 0.97) -> list[Round]:
    return [Round(requests_per_s + more, 1.0, 2.0, cpu_us, busy) for more in (-1000.0, 0.0, 5.0)]


def test_medians_are_compared() -> None:
    result: dict[str, Any] = summary(
        {"gateway": rounds(8000, 125), "nginx": rounds(10_000, 100), "haproxy": rounds(16_000, 125)}, Load("")
    )
    assert (result["ratio_to_nginx"], result["cpu_ratio_to_nginx"], result["notes"]) == (0.8, 0.8, [])


def test_a_proxy_that_was_not_busy_and_a_missing_nginx_are_said() -> None:
    result: dict[str, Any] = summary({"gateway": rounds(8000, 125, 0.5)}, Load("wrk"))
    assert result["ratio_to_nginx"] is None
    assert result["notes"] == [
        "gateway was busy for 50% of its core: the load was the limit, compare processor time instead",
        "nginx is not installed: nothing to compare with",
        "haproxy is not installed: nothing to compare with",
    ]
