"""Usage on a real Stoke: exact while parts die, written down for good, and never counted twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from loadtests.simulator.formats import read_trace
from tests.support.stoke import ROOT, Load, Stoke, eventually

pytestmark = pytest.mark.alone

SLEEPER = """
import time

def handler(environ, start_response):
    time.sleep(0.02)
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"done"]
"""


@pytest.fixture
def stoke(tmp_path: Path) -> Iterator[Stoke]:
    with Stoke(tmp_path / "data", "--listen", "127.0.0.1:0") as running:
        yield running


def usage(stoke: Stoke) -> dict[str, Any]:
    answer: dict[str, Any] = stoke.call("GET", "/stoke/v1/usage?service=svc&function=f")
    return answer


def test_instance_time_is_exact_though_the_control_plane_is_killed_again_and_again(stoke: Stoke) -> None:
    stoke.deploy("f", {"app.py": SLEEPER})
    stoke.provision("f", 2)
    stoke.await_current("f", 2)
    launched_s = [row["launched_at_s"] for row in stoke.instances("f")]
    for _ in range(3):
        pid = stoke.kill("control-plane")
        stoke.await_restart("control-plane", pid)
        eventually(lambda: len(ready_or_none(stoke)) == 2, "both instances are known again")
    found = usage(stoke)
    lived_s = sum(found["until_s"] - at_s for at_s in launched_s)
    assert found["total"]["instance_seconds"] == pytest.approx(lived_s, abs=0.05)
    assert found["total"]["memory_mb_seconds"] == pytest.approx(lived_s * 256, abs=0.05 * 256)
    assert [row["kind"] for row in found["rows"]] == ["provisioned"] * len(found["rows"])
    assert found["functions"][0]["static_peak"]["instances"] == 2


def ready_or_none(stoke: Stoke) -> list[dict[str, Any]]:
    try:
        return stoke.ready("f")
    except AssertionError:
        return []  # the control plane is not back yet


def test_requests_that_are_served_while_the_control_plane_is_away_are_counted_once(stoke: Stoke) -> None:
    stoke.deploy("f", {"app.py": SLEEPER})
    stoke.provision("f", 2)
    stoke.await_current("f", 2)
    load = Load(stoke.trigger_url("f"), users=2)
    with load.running():
        load.await_more(20)
        usage(stoke)  # written down until here
        pid = stoke.kill("control-plane")
        load.await_more(20)
        stoke.await_restart("control-plane", pid)
        load.await_more(100)
    eventually(lambda: counted(stoke) == load.done, f"all {load.done} requests are counted")
    assert load.failures == {}
    time_of_reports_s = time.monotonic() + 1.5
    eventually(lambda: time.monotonic() > time_of_reports_s, "another report of each kind has come")
    assert counted(stoke) == load.done


def counted(stoke: Stoke) -> int:
    """-1 while the control plane is away."""
    answer = stoke.client.get(f"{stoke.endpoint}/stoke/v1/usage?service=svc&function=f")
    return int(answer.json()["total"]["requests"]) if answer.status_code == 200 else -1


def test_usage_and_explanations_survive_a_restart_of_everything(tmp_path: Path) -> None:
    with Stoke(tmp_path / "data", "--listen", "127.0.0.1:0") as first:
        first.deploy("f", {"app.py": SLEEPER})
        first.provision("f", 3)
        first.await_current("f", 3)
        before = usage(first)["total"]["instance_seconds"]
        told = explained(first)
    with Stoke(tmp_path / "data", "--listen", "127.0.0.1:0") as second:
        eventually(lambda: explained(second), "something is decided")
        again = explained(second)
        assert again[-1] == told[-1], "the first decision of all"
        assert [one for one in told[1:] if one not in again] == [], "nor did any other change get lost"
        assert len(again) > len(told[1:])
        assert usage(second)["total"]["instance_seconds"] > before


def explained(stoke: Stoke) -> list[dict[str, Any]]:
    answer = stoke.call("GET", "/stoke/v1/provision/explain?service=svc&function=f")
    decisions: list[dict[str, Any]] = answer["decisions"]
    return decisions


def test_usage_is_shown_with_prices_and_exported_as_a_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"currency": "EUR", "gbSecond": 1.0, "millionRequests": 1e6}))
    monkeypatch.setenv("STOKE_PRICES", str(prices))
    with Stoke(tmp_path / "data", "--listen", "127.0.0.1:0") as stoke:
        stoke.deploy("f", {"app.py": SLEEPER})
        stoke.provision("f", 1)
        stoke.await_current("f", 1)
        for _ in range(5):
            assert stoke.client.get(stoke.trigger_url("f")).status_code == 200
        eventually(lambda: counted(stoke) == 5, "all requests are counted")
        found = usage(stoke)["functions"][0]
        assert found["cost"] == pytest.approx(5.0 + found["memory_mb_seconds"] / 1024, abs=1e-5)
        shown = cli(stoke, "usage", "svc/f", "--since", "1h")
        assert "svc/f" in shown
        assert "EUR" in shown
        assert "static peak (1 instance for" in shown
        trace = tmp_path / "trace.csv"
        trace.write_text(cli(stoke, "usage", "export", "svc/f", "--since", "10m"))
        read = read_trace(trace)
        assert len(read.arrivals_s) == 5
        assert read.service_of(0, 9.0) < 1.0
        assert read.launch_s is not None
        simulated = json.loads(cli(stoke, "simulate", "--recorded", "svc/f", "--since", "10m", "-o", "json"))
        assert simulated["outcomes"][0]["requests"] == 5
        assert simulated["outcomes"][0]["lost"] == 0


def test_what_is_kept_is_bounded_and_expires(stoke: Stoke) -> None:
    stoke.deploy("f", {"app.py": SLEEPER})
    stoke.provision("f", 1)
    stoke.await_current("f", 1)
    assert stoke.client.get(stoke.trigger_url("f")).status_code == 200
    eventually(lambda: counted(stoke) == 1, "it is counted")
    store = Redis.from_url(stoke.stoke_json()["store"])
    try:
        keys = [key.decode() for key in store.scan_iter("stoke:usage:*")]
        expiring = [key for key in keys if key.startswith(("stoke:usage:hour:", "stoke:usage:day:"))]
        assert expiring
        assert all(0 < int(store.ttl(key)) <= 401 * 86_400 for key in expiring)
        assert 0 < int(store.ttl("stoke:recorded:svc/LATEST/f")) <= 21_600
    finally:
        store.close()


def cli(stoke: Stoke, *arguments: str) -> str:
    command = [
        sys.executable,
        "-c",
        "from control_plane.cli import main; main()",
        *arguments,
        "--data",
        str(stoke.data),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60.0, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
