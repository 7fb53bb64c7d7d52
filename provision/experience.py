"""What the imagined queues have shown: of each way how many would have waited too long and what it would have cost."""

from __future__ import annotations

import numpy as np

from provision.launches import Numbers
from provision.queues import BURST, COST, LATE, LONG_BURST, LONG_LATE, LONG_SQUARES, SQUARES
from provision.shadow import ABOVE_HEIGHT, MANNERS, ROWS, STANDING, Shadow, heights_of, ways_of


def costs(shadow: Shadow) -> Numbers:
    """Of each way, in instance-seconds, faded."""
    table = _table(shadow)
    return np.zeros(ways_of(shadow.floors)) if table is None else table[COST].copy()


def late_shares(shadow: Shadow, deviations: float) -> Numbers:
    """Of each way, the share of requests that would have waited too long lately.

    It is a bound from above: bursts come by chance, so what a few of them have added is given the deviation of a sum of
    as many (the root of the sum of their squares). A floor's share is the largest of its own and of all higher ones in
    the same manner, or up to the same height: a floor is enough where more would have been, too.
    """
    return _shares(shadow, shadow.requests, deviations, (LATE, SQUARES, BURST))


def late_shares_long(shadow: Shadow, deviations: float) -> Numbers:
    """The same with the long memory."""
    return _shares(shadow, shadow.requests_long, deviations, (LONG_LATE, LONG_SQUARES, LONG_BURST))


def standing(shadow: Shadow, allowed: float) -> tuple[int, float] | None:
    """The fewest instances that would have kept the share if they had always stood and none had been launched, and
    their cost. As it was: of what has been there is no doubt."""
    table = _table(shadow)
    if table is None:
        return None
    floors = shadow.floors
    those = table[:, STANDING : len(floors) * MANNERS : MANNERS]
    enough = those[LATE] <= allowed * shadow.requests
    index = int(enough.argmax())
    return (floors[index], float(those[COST, index])) if enough[index] else None


def _table(shadow: Shadow) -> Numbers | None:
    if not shadow.table or shadow.requests <= 0.0:
        return None
    return np.frombuffer(shadow.table).reshape(ROWS, -1)


def _shares(shadow: Shadow, requests: float, deviations: float, rows: tuple[int, int, int]) -> Numbers:
    table, floors = _table(shadow), shadow.floors
    if table is None:
        return np.zeros(ways_of(floors))
    late, squares, burst = (table[row] for row in rows)
    shares: Numbers = np.minimum(1.0, (late + deviations * np.sqrt(squares + burst * burst)) / requests)
    lifted = len(floors) * MANNERS
    of_floors = shares[:lifted].reshape(-1, MANNERS)
    of_floors[:] = np.maximum.accumulate(of_floors[::-1], axis=0)[::-1]
    begin = lifted
    for height in heights_of(floors):
        place = floors.index(height)
        below = shares[begin : begin + place]
        below[:] = np.maximum.accumulate(below[::-1])[::-1]
        np.maximum(below, of_floors[place, ABOVE_HEIGHT], out=below)
        begin += place
    return shares
