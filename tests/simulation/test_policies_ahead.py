"""Policies that look ahead, behave like an HPA or ask Prometheus, as the whole control side carries them out."""

from __future__ import annotations

import asyncio

import pytest

from control_plane.prometheus import Prometheus
from provision.memory import Memory
from provision.wishes import READING_AGE_MAX_S
from tests.simulation.scene import NAME, POLICY, Scene, ready, until
from tests.support.virtual_time import in_virtual_time

URL = "http://127.0.0.1:9090"
BY_READING = {**POLICY, "metricType": "Prometheus", "metricTarget": 50, "url": URL, "query": "sum(tokens)"}


class Answers:
    """A Prometheus that answers after a while, or not."""

    def __init__(self) -> None:
        self.now = 0.0
        self.away = False
        self.takes_s = 0.2

    async def value(self, url: str, query: str) -> float:
        await asyncio.sleep(self.takes_s)
        if self.away:
            raise ValueError("cannot be asked: connection refused")
        return self.now

    async def close(self) -> None:
        """Nothing is open."""


async def asking(scene: Scene, answers: Answers) -> Prometheus:
    prometheus = Prometheus(scene.clock, [URL], lambda: answers)
    scene.readings = prometheus
    await scene.begin()
    scene.tasks.append(asyncio.create_task(prometheus.run()))
    await scene.deploy()
    return prometheus


@in_virtual_time
async def test_what_prometheus_says_is_followed_within_seconds() -> None:
    scene, answers = Scene(), Answers()
    await asking(scene, answers)
    answers.now = 180.0
    await scene.provision(0, BY_READING)
    await until(lambda: ready(scene) == 4, timeout_s=3.0)
    answers.now = 400.0
    await until(lambda: ready(scene) == 8, timeout_s=8.0)
    (newest, *_) = scene.autoscaler.explained(NAME)
    assert newest.inputs.metrics["Prometheus sum(tokens)"] == 400.0
    assert newest.reasons[0].startswith("reading=400 asks for 8, ")
    await scene.crash()


@in_virtual_time
async def test_a_prometheus_that_is_away_changes_no_number_and_is_shown() -> None:
    scene, answers = Scene(), Answers()
    await asking(scene, answers)
    answers.now = 300.0
    await scene.provision(0, BY_READING)
    await until(lambda: ready(scene) == 6, timeout_s=5.0)
    assert (await scene.status()).current_error == ""
    answers.away = True
    await asyncio.sleep(READING_AGE_MAX_S + 600.0)
    status = await scene.status()
    assert (status.target, status.current) == (6, 6)
    assert status.current_error == f"{URL}: cannot be asked: connection refused"
    assert status.reading_error == status.current_error
    assert "cannot be asked" in status.reasons[0]
    answers.away, answers.now = False, 100.0
    await until(lambda: ready(scene) == 2, timeout_s=120.0)
    assert (await scene.status()).current_error == ""
    await scene.crash()


@in_virtual_time
async def test_a_slow_prometheus_holds_no_decision_up() -> None:
    scene, answers = Scene(), Answers()
    answers.takes_s = 3600.0
    await asking(scene, answers)
    await scene.provision(0, BY_READING, {**POLICY, "name": "q"})
    await until(lambda: ready(scene) == 2, timeout_s=3.0)
    scene.burst(4)
    await until(lambda: ready(scene) == 8, timeout_s=6.0)
    await scene.crash()


@in_virtual_time
async def test_a_server_that_is_not_allowed_any_more_is_shown_and_not_asked() -> None:
    scene, answers = Scene(), Answers()
    await asking(scene, answers)
    await scene.provision(0, BY_READING | {"url": "http://10.0.0.1:9090"})
    await until(lambda: ready(scene) == 2, timeout_s=3.0)
    assert (await scene.status()).current_error == f"url is http://10.0.0.1:9090: must be under one of {URL}"
    await scene.crash()


@in_virtual_time
async def test_a_rise_is_met_by_the_launch_time_that_was_measured() -> None:
    """One request more every 10 s, launches of 30 s: with a forecast hardly any instance comes late."""

    async def late(policy: dict[str, object]) -> float:
        scene = Scene(launch_s=30.0)
        await scene.begin()
        await scene.deploy()
        await scene.provision(2, policy)
        await until(lambda: ready(scene) == 2)
        missing = 0.0
        for second in range(400):
            scene.requests = 1 + second // 10
            missing += max(0, scene.requests - ready(scene))
            await asyncio.sleep(1.0)
        (newest, *_) = scene.autoscaler.explained(NAME)
        if "forecast" in policy:
            assert any("in 30 s by trend" in reason or "in 30.1 s by trend" in reason for reason in newest.reasons)
        await scene.crash()
        return missing

    tracked = POLICY | {"maxCapacity": 60, "metricTarget": 1.0}
    without = await late(tracked)
    assert await late(tracked | {"forecast": {"season": "none"}}) < 0.5 * without


@in_virtual_time
async def test_like_an_hpa_on_the_real_loops() -> None:
    scene = Scene()

    def target() -> int:
        return scene.autoscaler.explained(NAME)[0].target

    await scene.begin()
    await scene.deploy()
    await scene.provision(2, POLICY | {"behavior": "HPA", "metricTarget": 1.0, "maxCapacity": 30})
    await until(lambda: ready(scene) == 2)
    scene.requests = 20
    await until(lambda: target() > 2, timeout_s=16.0)
    assert target() in (3, 4, 5, 6), "four more in fifteen seconds"
    await until(lambda: target() == 20, timeout_s=61.0)
    scene.requests = 1
    await asyncio.sleep(270.0)
    assert target() == 20
    await until(lambda: target() == 2, timeout_s=60.0)
    await scene.crash()


@pytest.mark.parametrize("season", ["day", "week"])
def test_a_restart_forgets_no_season(season: str) -> None:
    @in_virtual_time
    async def story() -> None:
        scene = Scene(launch_s=5.0)
        await scene.begin()
        await scene.deploy()
        await scene.provision(2, POLICY | {"forecast": {"season": season}})
        scene.requests = 3
        await asyncio.sleep(700.0)
        await scene.crash()
        before = Memory.from_json(scene.memories.memories[str(NAME)]).kept["p"].ahead
        assert before is not None
        assert before.foresight.profile.mean() == pytest.approx(3.0)
        await scene.begin()
        await asyncio.sleep(20.0)
        after = Memory.from_json(scene.memories.memories[str(NAME)]).kept["p"].ahead
        assert after is not None
        assert after.foresight.profile.mean() == pytest.approx(3.0)
        assert after.foresight.trend.weight > before.foresight.trend.weight - 1.0
        await scene.crash()

    story()
