from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from loadtests.simulator.compare import FILES, TRACES
from loadtests.simulator.formats import MINUTES, read_trace, recognise
from loadtests.simulator.trace import BEGAN_UTC_S

LLM = "TIMESTAMP,ContextTokens,GeneratedTokens"


def of_minutes(*counts: str) -> str:
    """A day of one function, whose first minutes had so many requests and the others none."""
    head = ["HashFunction", *(str(minute + 1) for minute in range(MINUTES))]
    return f"{','.join(head)}\n{','.join(['f', *counts, *['0'] * (MINUTES - len(counts))])}\n"


def written(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize(("name", "requests"), [("conversation", 19_366), ("code", 8_819)])
def test_the_azure_traces_are_recognised_and_whole(name: str, requests: int) -> None:
    trace = read_trace(TRACES / FILES[name])
    assert len(trace.arrivals_s) == requests
    assert trace.arrivals_s[0] == 0.0
    assert 3400.0 < trace.duration_s <= 3600.0
    assert trace.service_s == ()


def test_times_of_day_become_seconds_since_the_first_arrival(tmp_path: Path) -> None:
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:04.5,1,1\n2023-11-16 18:17:03.2500009,1,1\n"
    trace = read_trace(written(tmp_path, text))
    assert trace.arrivals_s == pytest.approx((0.0, 1.25))
    assert trace.began_utc_s == 1700158623.25


def test_mooncake_counts_milliseconds(tmp_path: Path) -> None:
    lines = '{"timestamp": 0, "input_length": 5}\n{"timestamp": 2500, "input_length": 7}\n'
    trace = read_trace(written(tmp_path, lines, "conversation.jsonl.gz"))
    assert trace.arrivals_s == (0.0, 2.5)
    assert trace.began_utc_s == BEGAN_UTC_S


def test_counts_per_minute_become_that_many_requests_in_each_minute(tmp_path: Path) -> None:
    head = ["HashOwner", "HashApp", "HashFunction", "Trigger", *(str(n + 1) for n in range(MINUTES))]
    counts = ["3", "0", "2", *["0"] * (MINUTES - 3)]
    text = f"{','.join(head)}\na,b,c,http,{','.join(counts)}\na,b,d,http,{','.join(counts)}\n"
    trace = read_trace(written(tmp_path, text), seed=7)
    assert [sum(60.0 * n <= t < 60.0 * (n + 1) for t in trace.arrivals_s) for n in range(4)] == [6, 0, 4, 0]
    assert trace.duration_s == 60.0 * MINUTES
    assert trace == read_trace(tmp_path / "trace.csv", seed=7)
    assert trace != read_trace(tmp_path / "trace.csv", seed=8)


def test_counts_that_monitoring_writes_with_a_point_are_whole_numbers_all_the_same(tmp_path: Path) -> None:
    assert len(read_trace(written(tmp_path, "time,width_s,requests\n0,60,240.0\n60,60,\n")).arrivals_s) == 240
    assert len(read_trace(written(tmp_path, of_minutes("3.0", "", "1"))).arrivals_s) == 4


def test_ones_own_csv_has_arrivals_and_perhaps_service_times_in_any_order(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "arrival,service\n3.5,\n1,0.25\n"))
    assert trace.arrivals_s == (1.0, 3.5)
    assert [trace.service_of(index, 9.0) for index in (0, 1)] == [0.25, 9.0]
    assert trace.duration_s == 4.0


def test_ones_own_csv_may_have_times_of_day(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "timestamp\n2026-03-01T12:00:00Z\n2026-03-01T13:00:01+01:00\n"))
    assert trace.arrivals_s == (0.0, 1.0)


def test_a_named_format_wins_over_the_first_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"row 1 of trace.csv is 'arrival'; a line of JSON"):
        read_trace(written(tmp_path, "arrival\n1\n"), "mooncake")
    with pytest.raises(ValueError, match=r"is not in the format azure-llm: .*no column timestamp"):
        read_trace(written(tmp_path, "arrival\n1\n"), "azure-llm")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (
            "a,b\n1,2\n",
            "first line of no known format; one of azure-llm, azure-functions, mooncake, counts, csv is",
        ),
        ("arrival\nsoon\n", "row 2 of trace.csv is 'soon'"),
        ("arrival,service\n1,-2\n", "service time -2.0 s; a finite number above 0 is allowed"),
        ("arrival\ninf\n", "a finite time is allowed"),
        ("arrival\n", "no request in it"),
        ("arrival\n-5\n3\n", "arrival -5.0; seconds count from the beginning, so 0 or more are allowed"),
        ("timestamp\n1700000000000\n", "row 2 of trace.csv is '1700000000000'; .*may be milliseconds"),
        (f"{LLM}\n2023-11-16 18:17:03,1,1\nsoon,1,1\n", "row 3 of trace.csv is 'soon,1,1'; seconds or"),
        ('{"timestamp": 1}\n{"timestamp": "soon"}\n', "row 2 of trace.csv is .*; a line of JSON with its timestamp"),
        ('{"timestamp": 1}\n[1]\n', "row 2 of trace.csv is"),
        ('{"timestamp": 1}\n{"timest', "row 2 of trace.csv is"),
        (of_minutes("1", "-3"), "row 2 of trace.csv is 'f,1,-3,0.*'-3' requests: a whole number, 0 or more"),
        (of_minutes("many"), "row 2 of trace.csv is 'f,many,0"),
        (of_minutes("999999999"), "trace.csv counts 999,999,999 requests; at most 20,000,000 are allowed"),
        ("time,width_s,requests\n0,60,1e12\n", "trace.csv counts 1,000,000,000,000 requests"),
        ("time,width_s,requests\n0,60,2.5\n", "'2.5' requests: a whole number, 0 or more, is needed"),
        ("time,width_s,requests\nnan,60,2\n", "row 2 of trace.csv is 'nan,60,2'"),
        ("time,width_s,requests\n0,inf,2\n", "row 2 of trace.csv is '0,inf,2'"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_trace(written(tmp_path, text))


def test_an_unknown_format_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="format 'nonsense'; one of azure-llm"):
        read_trace(written(tmp_path, "arrival\n1\n"), "nonsense")
    with pytest.raises(ValueError, match="cannot be read"):
        read_trace(tmp_path / "none.csv")


def test_nothing_is_recognised_in_other_lines() -> None:
    assert recognise("one,two") is None
