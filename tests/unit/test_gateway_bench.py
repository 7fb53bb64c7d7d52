"""What the gateway's benchmark reads and concludes, without running it."""

from __future__ import annotations

from typing import Any

import pytest

from loadtests.bench import bodies, latency
from loadtests.bench.gateway import Round, summary
from loadtests.bench.open_loop import Latency, answer_end, moments
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


def test_requests_by_the_clock_come_at_the_same_moments_for_the_same_seed() -> None:
    due = list(moments(1000.0, 2.0, 7))
    assert due == list(moments(1000.0, 2.0, 7))
    assert due == sorted(due)
    assert 1850 < len(due) < 2150
    assert due[-1] < 2.0


def test_an_answer_ends_where_its_length_says() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    assert answer_end(head[:-1]) == answer_end(head + b"o") == 0
    assert answer_end(head + b"ok") == answer_end(head + b"ok and more") == len(head) + 2
    with pytest.raises(ValueError, match="without content-length"):
        answer_end(b"HTTP/1.1 200 OK\r\n\r\n")


def test_what_a_proxy_adds_is_told_by_rounds_that_were_beside_each_other() -> None:
    def taken(*p50_ms: float) -> list[Latency]:
        return [Latency(100, each, 2 * each, 0.0, 0.0, 0) for each in p50_ms]

    found: dict[str, Any] = latency.summary({"straight": taken(1, 5, 1), "gateway": taken(1.5, 5.2, 1.3)}, 1000.0)
    assert found["added_ms"] == {"gateway": {"p50": 0.3, "p99": 0.6}}


def test_bodies_are_compared_by_bytes_and_by_processor_time() -> None:
    measured = {"1 MiB up": {"gateway": [bodies.Round(300.0, 0.5, 0.95)], "nginx": [bodies.Round(400.0, 0.4, 0.5)]}}
    found: dict[str, Any] = bodies.summary(measured)
    assert found["ratio_to_nginx"] == {"1 MiB up": 0.75}
    assert found["cases"]["1 MiB up"]["cpu_ratio_to_nginx"] == 0.8
    assert found["notes"] == [
        "1 MiB up: nginx was busy for 50% of its core: the load was the limit, see processor time"
    ]


def test_bodies_that_took_less_than_the_kernel_counts_are_not_compared_by_processor_time() -> None:
    measured = {"1 MiB up": {"gateway": [bodies.Round(300.0, 0.0, 0.0)], "nginx": [bodies.Round(400.0, 0.4, 0.5)]}}
    found: dict[str, Any] = bodies.summary(measured)
    assert found["cases"]["1 MiB up"]["cpu_ratio_to_nginx"] is None
    assert found["ratio_to_nginx"] == {"1 MiB up": 0.75}
