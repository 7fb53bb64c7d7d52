"""What became of the share that may be late: how many requests really waited beyond the limit, and what that proves.

Requests are served in the order in which they came. So of those that wait now, all but as many as came within the limit
have waited beyond it.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple, Self

# Time after which an outcome counts for a third.
OUTCOME_S: Final = 3600.0
# What is late within one such span is one burst's.
BURST_S: Final = 30.0
# Shares are of as many requests at least, in multiples of those among which one may be late: of the first ones some are
# always late.
REQUESTS_LEAST: Final = 5.0
# A look is added to the one before it where they are closer than this part of the limit.
LOOKS: Final = 32.0


class Budget(NamedTuple):
    """All but `recent` and the times fade. Fresh, nothing has come yet."""

    at: float = 0.0  # UTC seconds
    recent: tuple[tuple[float, float], ...] = ()  # requests that came within the limit, by UTC second
    came: float = 0.0  # requests
    late: float = 0.0  # requests
    burst: float = 0.0  # late requests in the span that goes on
    squares: float = 0.0  # of the late requests of each span before
    began: float = 0.0  # the span that goes on, UTC seconds

    def after(self, now: float, arrived: float, waiting: float, limit_s: float) -> Budget:
        """With the requests that came since the last look; `waiting`: those without a slot now."""
        recent, over, late = self.recent, 0.0, 0.0
        if recent and recent[0][0] <= now - limit_s:
            over = math.fsum([count for at, count in recent if at <= now - limit_s])
            recent = tuple([look for look in recent if look[0] > now - limit_s])
        if arrived:
            recent = _added(recent, now, arrived, limit_s / LOOKS)
        if over and waiting:
            late = min(over, max(0.0, waiting - math.fsum([count for _, count in recent])))
        kept = math.exp(-max(0.0, now - self.at) / OUTCOME_S)
        burst, squares, began = self.burst * kept + late, self.squares * kept * kept, self.began
        if now - began >= BURST_S:
            burst, squares, began = 0.0, squares + burst * burst, now
        return Budget(now, recent, self.came * kept + arrived, self.late * kept + late, burst, squares, began)

    def excess(self, allowed: float) -> float:
        """By how many times the share that was late exceeds the one allowed: 0 within it, 1 where it is twice as large.

        A bound from below: late requests are counted less one deviation of the sum of their bursts, so a single burst
        proves nothing, and of four equal ones two count.
        """
        proven = max(0.0, self.late - math.sqrt(self.squares + self.burst * self.burst))
        return max(0.0, proven / (max(self.came, REQUESTS_LEAST / allowed) * allowed) - 1.0)

    def to_values(self) -> list[Any]:
        """As JSON has it."""
        return [self.at, self.recent, self.came, self.late, self.burst, self.squares, self.began]

    @classmethod
    def from_values(cls, values: list[Any]) -> Self:
        """Raises ValueError or TypeError for another form."""
        at, recent, *numbers = values
        return cls(at, tuple((second, count) for second, count in recent), *numbers)


def _added(
    recent: tuple[tuple[float, float], ...], now: float, arrived: float, apart_s: float
) -> tuple[tuple[float, float], ...]:
    """One more look, or the last one made larger: with the newer time, as nobody is to be late too early."""
    if len(recent) >= 2 and now - recent[-2][0] < apart_s:
        return (*recent[:-1], (now, recent[-1][1] + arrived))
    return (*recent, (now, arrived))
