"""How counts are said."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import provision.words
import runtime.words

COUNTED = [provision.words.counted, runtime.words.counted]


@pytest.mark.parametrize("counted", COUNTED, ids=["provision", "runtime"])
def test_one_is_said_of_one_alone(counted: Callable[..., str]) -> None:
    assert [counted(n, "request") for n in (0, 1, 2)] == ["0 requests", "1 request", "2 requests"]
    assert [counted(n, "launch", "launches") for n in (1, 2)] == ["1 launch", "2 launches"]
    assert [counted(f"{n:,}", "request") for n in (1, 1000)] == ["1 request", "1,000 requests"]
