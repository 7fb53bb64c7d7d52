"""How many examples a property is tried with: a share of them in each run, all of them in `scripts/test --long`.

Each run makes up other ones, so what one run leaves out another one tries.
"""

from __future__ import annotations

import math
from typing import Any, Final

from hypothesis import settings

THOROUGH_EXAMPLES: Final = 100  # of a property that says nothing of its own
QUICK_EXAMPLES: Final = 20
LEAST: Final = 4


def register_profiles() -> None:
    """Both, and the quick one to begin with: pytest's --hypothesis-profile loads the other before a test is read."""
    settings.register_profile("thorough", max_examples=THOROUGH_EXAMPLES)
    settings.register_profile("quick", max_examples=QUICK_EXAMPLES)
    settings.load_profile("quick")


def examples(count: int, **more: Any) -> settings:
    """Settings with so many examples in a thorough run and a share of them in a quick one, without a deadline."""
    share = settings().max_examples / THOROUGH_EXAMPLES
    return settings(max_examples=max(min(count, LEAST), math.ceil(count * share)), deadline=None, **more)
