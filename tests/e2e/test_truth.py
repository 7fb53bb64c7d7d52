"""The simulator tells the truth: a live run, replayed from what was recorded of it, has the same targets."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.bench.truth import CODE, POLICY, agreement, live
from loadtests.simulator.outcome import outcome
from tests.support.stoke import Stoke, eventually

pytestmark = pytest.mark.long

# The shortest windows there are, so that half a minute has steps up and down; no promotion at the edge of a window.
QUICK = POLICY | {"stableWindowSeconds": 10, "panicWindowSeconds": 3}
USERS = (1, 5, 1)
STEP_S = 8.0


@pytest.fixture
def stoke(tmp_path: Path) -> Stoke:
    return Stoke(tmp_path / "data", "--listen", "127.0.0.1:0")


def test_a_live_run_replayed_from_its_recorded_usage_has_the_same_targets(stoke: Stoke) -> None:
    try:
        stoke.up()
        stoke.deploy("f", {"app.py": CODE})
        stoke.provision("f", 1, QUICK)
        stoke.await_current("f", 1)
        stoke.client.base_url = stoke.endpoint
        lived = live(stoke.client, stoke.trigger_url("f"), "svc", "f", USERS, STEP_S, rest_s=4.0)
        eventually(lambda: stoke.status("f")["starting"] == 0, "nothing starts any more")
    finally:
        stoke.down()
    found, record = agreement(lived)
    ticks = [(tick.live, tick.simulated) for tick in found.ticks]
    assert lived.failures == 0
    assert max(live for live, _ in ticks) >= 5, "the load was seen"
    assert found.holds, f"{found.share:.1%} of the ticks agree: {ticks}"
    assert outcome(record).lost == 0
    simulated = sum(request.finished_s is not None for request in record.requests)
    assert simulated == pytest.approx(lived.requests, abs=2 * max(USERS)), "each request was recorded once"
