"""How often the control plane looks for garbage in circles."""

from __future__ import annotations

import gc
from typing import Final

# After so many new objects, after as many of such looks, and so on. With ten thousand functions there are millions of
# objects that stay, and a decision makes a hundred that are freed without a look: Python's own 700, 10, 10 took a sixth
# of a tick to find nothing.
THRESHOLDS: Final = (20_000, 20, 20)


def collect_rarely() -> None:
    gc.set_threshold(*THRESHOLDS)
