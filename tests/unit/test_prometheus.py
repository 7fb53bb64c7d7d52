"""What an answer of Prometheus says, who may be asked, and what is kept of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from control_plane.prometheus import FORGOTTEN_AFTER_S, QUERIES_MAX, Prometheus, is_allowed, refused_urls
from control_plane.prometheus_http import read_answer
from provision.config import ProvisionConfig, parse
from tests.unit.provision_story import tracking

ALLOWED = ("http://127.0.0.1:9090", "https://metrics.example/prometheus")


def answer(kind: str, result: Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (answer("vector", [{"metric": {"job": "x"}, "value": [1_435_781_451.781, "1.5"]}]), 1.5),
        (answer("scalar", [1_435_781_451.781, "12"]), 12.0),
        (answer("scalar", [1, "-3"]), 0.0),
    ],
)
def test_a_vector_of_one_series_or_a_scalar_is_a_number(body: bytes, value: float) -> None:
    assert read_answer(200, body) == value


SAMPLE = {"metric": {}, "value": [1, "1"]}


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, answer("vector", []), "gives no series: one is needed"),
        (200, answer("vector", [SAMPLE] * 3), "gives 3 series: one is needed, as of sum"),
        (200, answer("matrix", [{"metric": {}, "values": [[1, "1"]]}]), "gives a matrix: a vector of one series"),
        (200, answer("string", [1, "x"]), "gives a string"),
        (200, answer("scalar", [1, "NaN"]), "gives NaN: a finite number is needed"),
        (200, answer("scalar", [1, "+Inf"]), "a finite number is needed"),
        (200, answer("scalar", [1]), "gives no number"),
        (200, answer("vector", [{"metric": {}, "histogram": [1, {}]}]), "gives no number"),
        (400, b'{"status":"error","errorType":"bad_data","error":"parse error"}', "bad_data: parse error"),
        (503, b'{"status":"error","errorType":"timeout","error":"too slow"}', "timeout: too slow"),
        (502, b"<html>bad gateway</html>", "answered 502, and not as Prometheus does"),
        (200, b"[]", "answered 200, and not as Prometheus does"),
        (200, b'{"status":"success"}', "and not as Prometheus does"),
        (200, b"[" * 100_000, "and not as Prometheus does"),
    ],
)
def test_anything_else_is_an_error_in_words(status: int, body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_answer(status, body)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:9090", True),
        ("http://127.0.0.1:9090/", True),
        ("http://127.0.0.1:9090/tenant", True),
        ("https://metrics.example/prometheus", True),
        ("https://METRICS.example:443/prometheus/a", True),
        ("https://metrics.example/prometheus-other", False),
        ("https://metrics.example/", False),
        ("https://metrics.example/prometheus/../admin", False),
        ("https://metrics.example/prometheus/%2e%2e/admin", False),
        ("https://metrics.example/prometheus/%252e%252e/admin", False),
        ("https://metrics.example//prometheus", False),
        ("http://metrics.example/prometheus", False),
        ("http://127.0.0.1:9091", False),
        ("http://127.0.0.1", False),
        ("http://127.0.0.1:9090@evil.example/", False),
        ("http://evil.example\\@127.0.0.1:9090", False),
        ("http://169.254.169.254/latest/meta-data", False),
        ("http://127.0.0.1:99999", False),
        ("file:///etc/passwd", False),
    ],
)
def test_only_servers_that_are_listed_may_be_asked(url: str, allowed: bool) -> None:
    assert is_allowed(url, ALLOWED) is allowed


def by_reading(url: str = ALLOWED[0], query: str = "sum(up)") -> ProvisionConfig:
    policy = tracking(metricType="Prometheus", metricTarget=5.0, url=url, query=query)
    return parse({"targetTrackingPolicies": [policy]})


def test_a_url_that_is_not_allowed_is_named_with_what_is() -> None:
    assert refused_urls(by_reading(), ALLOWED) == []
    (line,) = refused_urls(by_reading("http://10.0.0.1:9090"), ALLOWED)
    assert line == (
        "targetTrackingPolicies[0].url is http://10.0.0.1:9090: must be under one of http://127.0.0.1:9090, "
        "https://metrics.example/prometheus (setting prometheus_urls)"
    )
    assert "no server is allowed" in refused_urls(by_reading(), ())[0]


class HeldClock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def utc_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nothing waits {seconds} s here")


class Answers:
    """A source that says what a test puts in."""

    def __init__(self) -> None:
        self.value_or_error: float | str = 7.0
        self.asked: list[tuple[str, str]] = []
        self.closed = False

    async def value(self, url: str, query: str) -> float:
        self.asked.append((url, query))
        await asyncio.sleep(0)
        if isinstance(self.value_or_error, str):
            raise ValueError(self.value_or_error)
        return self.value_or_error

    async def close(self) -> None:
        self.closed = True


async def test_a_value_stands_with_its_time_when_the_next_try_fails() -> None:
    clock, answers = HeldClock(), Answers()
    asking = Prometheus(clock, ALLOWED, lambda: answers)
    config = by_reading()
    assert asking.of(config)[0].value is None
    await asking.ask_all()
    clock.now_s, answers.value_or_error = 1005.0, "cannot be asked: refused"
    await asking.ask_all()
    (reading,) = asking.of(config)
    assert (reading.value, reading.at) == (7.0, 1000.0)
    assert reading.error == "http://127.0.0.1:9090: cannot be asked: refused"
    answers.value_or_error = 9.0
    await asking.ask_all()
    (reading,) = asking.of(config)
    assert (reading.value, reading.at, reading.error) == (9.0, 1005.0, "")
    await asking.close()
    assert answers.closed


async def test_two_policies_with_one_query_ask_once() -> None:
    answers = Answers()
    asking = Prometheus(HeldClock(), ALLOWED, lambda: answers)
    asking.of(by_reading())
    asking.of(by_reading())
    asking.of(by_reading(query="sum(other)"))
    await asking.ask_all()
    assert sorted(query for _, query in answers.asked) == ["sum(other)", "sum(up)"]


async def test_a_server_that_is_not_allowed_is_never_asked() -> None:
    answers = Answers()
    asking = Prometheus(HeldClock(), ALLOWED, lambda: answers)
    (reading,) = asking.of(by_reading("http://10.0.0.1:9090"))
    await asking.ask_all()
    assert answers.asked == []
    assert "must be under one of" in reading.error


def test_there_is_a_limit_of_queries() -> None:
    asking = Prometheus(HeldClock(), ALLOWED, Answers)
    for number in range(QUERIES_MAX):
        assert asking.of(by_reading(query=f"q{number}"))[0].error == ""
    assert asking.of(by_reading(query="one more"))[0].error == "1000 queries are asked already: no more are allowed"


async def test_a_query_that_no_policy_has_any_more_is_forgotten() -> None:
    clock, answers = HeldClock(), Answers()
    asking = Prometheus(clock, ALLOWED, lambda: answers)
    asking.of(by_reading())
    clock.now_s += FORGOTTEN_AFTER_S + 1.0
    asking.of(by_reading(query="sum(other)"))
    asking.forget(clock.now_s)
    await asking.ask_all()
    assert [query for _, query in answers.asked] == ["sum(other)"]


async def test_a_long_error_is_shortened() -> None:
    answers = Answers()
    answers.value_or_error = "x" * 5000
    asking = Prometheus(HeldClock(), ALLOWED, lambda: answers)
    asking.of(by_reading())
    await asking.ask_all()
    assert len(asking.of(by_reading())[0].error) == 200


async def test_an_error_of_several_lines_is_told_in_one() -> None:
    answers = Answers()
    answers.value_or_error = "bad_data: parse error at char 5:\n  unexpected <x>\r\n"
    asking = Prometheus(HeldClock(), ALLOWED, lambda: answers)
    asking.of(by_reading())
    await asking.ask_all()
    assert asking.of(by_reading())[0].error.endswith("bad_data: parse error at char 5: unexpected <x>")
