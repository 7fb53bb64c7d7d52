"""A config suggested by what a real Stoke has recorded, put on it again."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.stoke import ROOT, Load, Stoke, eventually

pytestmark = [pytest.mark.alone, pytest.mark.long]

SLEEPER = """
import time

def handler(environ, start_response):
    time.sleep(0.05)
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"done"]
"""
ASKED = ("--wait-ms", "400", "--percentile", "95")


@pytest.fixture(scope="module")
def stoke(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stoke]:
    folder = tmp_path_factory.mktemp("suggest")
    prices = folder / "prices.json"
    prices.write_text(json.dumps({"currency": "EUR", "gbSecond": 4.0}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STOKE_PRICES", str(prices))
        running = Stoke(folder / "data", "--listen", "127.0.0.1:0").up()
    try:
        yield running
    finally:
        running.down()


def run(stoke: Stoke, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from control_plane.cli import main; main()"
    command = [sys.executable, "-c", program, *arguments, "--data", str(stoke.data)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=100.0, check=False)


def cli(stoke: Stoke, *arguments: str) -> str:
    done = run(stoke, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def counted(stoke: Stoke) -> int:
    return int(stoke.call("GET", "/stoke/v1/usage?service=svc&function=f")["total"]["requests"])


def test_what_is_suggested_by_recorded_usage_is_put_and_kept(stoke: Stoke, tmp_path: Path) -> None:
    stoke.deploy("f", {"app.py": SLEEPER})
    stoke.provision("f", 2)
    stoke.await_current("f", 2)
    load = Load(stoke.trigger_url("f"), users=2)
    until_s = time.monotonic() + 12.0
    with load.running():
        load.await_more(150)
        eventually(lambda: time.monotonic() > until_s, "it went on for a while")
        ended = datetime.now(UTC).isoformat()  # what is idle afterwards is no part of it, however long that is
    assert load.failures == {}
    eventually(lambda: counted(stoke) == load.done, f"all {load.done} requests are counted")

    out = tmp_path / "provision.json"
    asked = ("provision", "suggest", "--recorded", "svc/f", *ASKED)
    found = json.loads(cli(stoke, *asked, "--until", ended, "--out", str(out), "-o", "json"))
    assert 0.9 * load.done <= found["trace"]["requests"] <= load.done
    assert found["trace"]["duration_s"] < 60.0, "the time before the first request is left out"
    assert found["currency"] == "EUR"
    taken = next(one for one in found["candidates"] if one["candidate"] == found["suggested"])
    assert taken["price"] == pytest.approx(taken["outcome"]["instance_seconds"], rel=1e-3)  # 256 MB at 4 EUR a GB
    assert min(taken["attainment"], taken["attainment_held_out"]) >= 0.95

    early = run(stoke, *asked, "--since", "1h", "--until", "30m")
    assert early.returncode == 2
    assert "no request in it" in early.stderr

    cli(stoke, "provision", "put", "--config", str(out), "--service-name", "svc", "--function-name", "f")
    kept = stoke.call("GET", "/stoke/v1/usage/recorded?service=svc&function=f")["config"]
    assert kept == json.loads(out.read_text())


def test_what_was_recorded_of_nobody_is_too_little(stoke: Stoke) -> None:
    stoke.deploy("nobody", {"app.py": SLEEPER})
    told = run(stoke, "provision", "suggest", "--recorded", "svc/nobody", *ASKED)
    assert told.returncode == 2
    assert "no request in it" in told.stderr
