"""How many instances several provision configs of one function version come to, one for each qualifier.

All of them see the same requests: what arrives is counted by version, whichever alias it came by, and any instance of
the version serves it. So what was asked for as a number adds up, and what was seen counts once.
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.decide import Decision


def together(decisions: Iterable[Decision]) -> int:
    """The sum of the floors, or the largest target where that is more.

    LATEST keeps 3; `prod` tracks from 2 and wants 4: 3 + 2 = 5. When `prod` wants 8: 8.
    """
    made = tuple(decisions)
    return max(sum(decision.floor for decision in made), max((decision.target for decision in made), default=0))
