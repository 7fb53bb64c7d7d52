"""Whatever was recorded, the hours that are read from it are a valid schedule."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from loadtests.simulator.busy import actions, hourly
from provision.config import parse
from tests.support.examples import examples


@examples(50)
@given(
    st.lists(st.integers(0, 9), min_size=24, max_size=24),
    st.floats(0.0, 4000.0),
    st.sampled_from(["UTC", "Asia/Shanghai", "Europe/Berlin", "America/St_Johns"]),
)
def test_a_schedule_of_any_hours_is_a_valid_config(levels: list[int], lead_s: float, zone_name: str) -> None:
    found = actions(levels, lead_s, zone_name)
    assert len(parse({"scheduledActions": found}).scheduled_actions) == len(found)
    assert bool(found) is (len(set(levels)) > 1)


@examples(20)
@given(st.integers(0, 10_000), st.floats(0.0, 2e9))
def test_a_larger_share_of_the_seconds_never_needs_fewer(seed: int, began_s: float) -> None:
    chance = random.Random(seed)
    most = [chance.randint(0, 20) for _ in range(chance.randint(3600, 7200))]
    low, high = (hourly(most, began_s, "Europe/Berlin", share, 2) for share in (0.5, 0.9))
    assert all(a <= b for a, b in zip(low, high, strict=True))
    assert max(hourly(most, began_s, "UTC", 1.0, 2)) == -(-max(most) // 2)
