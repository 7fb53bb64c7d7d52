from __future__ import annotations

import pytest

from control_plane.fleet import launch_times
from control_plane.fleet.launch_times import LAUNCH_S_MAX, RECENT_MAX, LaunchTimes

KEY = ("shop", "1", "digits")
OTHER = ("shop", "2", "digits")


def noted(*seconds: float) -> LaunchTimes:
    times = LaunchTimes()
    for number, took_s in enumerate(seconds):
        times.note(KEY, 1000.0 * number, 1000.0 * number + took_s)
    return times


def test_nothing_is_known_before_the_first_launch() -> None:
    assert LaunchTimes().seconds_of(KEY) is None
    assert noted(5.0).seconds_of(OTHER) is None


def test_one_slow_launch_is_not_the_median() -> None:
    assert noted(2.0, 2.1, 90.0, 1.9, 2.0).seconds_of(KEY) == pytest.approx(2.0)


def test_only_the_recent_launches_count() -> None:
    assert noted(*[60.0] * 20, *[2.0] * RECENT_MAX).seconds_of(KEY) == pytest.approx(2.0)


@pytest.mark.parametrize("took_s", [-0.5, -3600.0, LAUNCH_S_MAX + 1.0])
def test_a_launch_during_which_the_clock_was_set_does_not_count(took_s: float) -> None:
    assert noted(took_s).seconds_of(KEY) is None
    assert noted(3.0, took_s).seconds_of(KEY) == 3.0


def test_versions_that_launched_longest_ago_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch_times, "VERSIONS_MAX", 2)
    times = LaunchTimes()
    for name in ("1", "2", "1", "3"):
        times.note(("s", name, "f"), 0.0, 4.0)
    assert [times.seconds_of(("s", name, "f")) for name in ("1", "2", "3")] == [4.0, None, 4.0]
