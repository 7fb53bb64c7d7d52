"""How often the control plane looks for garbage in circles."""

from __future__ import annotations

import gc
from typing import Final

# After so many objects more than before, after as many of such looks, and so on. With ten thousand functions there are
# millions of objects that stay, a decision makes a hundred that are freed without a look, and a report of all functions
# makes twenty thousand that live until the tick after it. With Python's own 700, 10, 10 a sixth of a tick was spent on
# finding nothing; with 20,000 each report led to a look at all that the last tick had made, which took half a tick.
THRESHOLDS: Final = (100_000, 20, 20)


def collect_rarely() -> None:
    gc.set_threshold(*THRESHOLDS)
