"""How many of the slots there are each gateway should have, for one function version. Pure arithmetic.

1. Enough for all: each has what its requests need. What is left stays where it is; when somebody lacks one, or now and
   then (`even`), it is spread evenly, so that the next request finds a slot where it comes in.
2. Too few: shares are in proportion to the requests at each gateway. A slot moves when somebody is a whole one short
   of its share. Fractions add up over time (`Turns`): one slot that two gateways want goes to and fro.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# A gateway that is half a slot short of its share gets its turn after half of this: long against the few milliseconds
# in which a slot moves, short against what a client notices.
TURN_S = 0.1
# Idle slots are evened out when one gateway has so many more than another, and a quarter of an even share.
EVEN_FROM = 2
SLACK = 1e-9  # of sums of fractions


@dataclass(slots=True)
class Turns:
    """What each gateway was short of its share until now, in slots × turns; within ±1."""

    at_s: float = 0.0  # monotonic
    short: dict[str, float] = field(default_factory=dict)

    def passed(self, now_s: float, fair: Mapping[str, float], held: Mapping[str, int]) -> None:
        """Count the time since the last look, at the shares of now."""
        turns = min(1.0, max(0.0, now_s - self.at_s) / TURN_S)
        self.at_s = now_s
        self.short = {
            name: max(-1.0, min(1.0, self.short.get(name, 0.0) + (fair[name] - held[name]) * turns)) for name in fair
        }


def share(
    slots: int,
    requests: Mapping[str, int],
    background: Mapping[str, int],
    held: Mapping[str, int],
    turns: Turns,
    now_s: float,
    *,
    even: bool = False,
) -> dict[str, int]:
    """How many of `slots` each gateway should have; together all of them. The three mappings have the same gateways.

    `held` is how many each has; together at most `slots`.
    """
    if not slots:
        return dict(held)
    if not held:
        return {}
    if sum(requests.values()) > slots:
        return _too_few(slots, requests, held, turns, now_s)
    turns.at_s, turns.short = now_s, {}
    spare = slots - sum(requests.values())
    base = dict(requests)
    for name in sorted(base):
        more = min(background[name], spare, max(0, held[name] - base[name]))
        base[name] += more  # what asynchronous events can use of a gateway's own idle slots stays there
        spare -= more
    for name in sorted(base):
        more = min(requests[name] + background[name] - base[name], spare)
        base[name] += max(0, more)
        spare -= max(0, more)
    lacking = any(held[name] < base[name] for name in base) or sum(held.values()) < slots
    idle = [held[name] - base[name] for name in base]
    uneven = max(idle) - min(idle) >= max(EVEN_FROM, slots / (4 * len(base)))
    if not lacking and not (even and uneven):
        return dict(held)
    return _spread(spare, base, held)


def split(
    targets: Mapping[str, int],
    slots: int,
    requests: Mapping[str, int],
    held: Mapping[str, int],
    inside: Mapping[str, int],
    inside_others: Mapping[str, int],
) -> dict[str, int]:
    """How many of each gateway's target are on provisioned instances, which have `slots`, all of them shared out.

    What is inside one stays there, as it does on the other instances: it cannot move. Then those have them that have
    requests, then those that held them.
    """
    parts: dict[str, int] = {}
    for name in sorted(targets):
        parts[name] = min(inside[name], targets[name], slots - sum(parts.values()))
    staying = {name: min(inside_others[name], targets[name] - parts[name]) for name in parts}
    for most in (
        {name: min(requests[name], targets[name] - staying[name]) for name in parts},
        {name: min(held[name], targets[name] - staying[name]) for name in parts},
        {name: targets[name] - staying[name] for name in parts},
        targets,
    ):
        _fill(parts, most, slots - sum(parts.values()))
    return parts


def _fill(parts: dict[str, int], most: Mapping[str, int], slots: int) -> None:
    """Share out `slots` more, one by one to whom the most is missing."""
    for _ in range(slots):
        name = max(parts, key=lambda each: most[each] - parts[each], default="")
        if not name or most[name] <= parts[name]:
            return
        parts[name] += 1


def _spread(spare: int, base: Mapping[str, int], held: Mapping[str, int]) -> dict[str, int]:
    """The same for each on top of `base`; what does not divide stays with those that have it."""
    each, odd = divmod(spare, len(base))
    targets = {name: base[name] + each for name in base}
    keep = sorted(base, key=lambda name: (targets[name] - held[name], name))
    for name in keep[:odd]:
        targets[name] += 1
    return targets


def _too_few(
    slots: int, requests: Mapping[str, int], held: Mapping[str, int], turns: Turns, now_s: float
) -> dict[str, int]:
    total = sum(requests.values())
    fair = {name: slots * requests[name] / total for name in requests}
    turns.passed(now_s, fair, held)
    targets = dict(held)
    for _ in range(slots - sum(held.values())):  # free ones: to whom the most is missing
        targets[max(sorted(targets), key=lambda name: fair[name] - targets[name])] += 1
    while True:
        short = {name: fair[name] - targets[name] + turns.short[name] for name in sorted(targets)}
        receiver = max(short, key=lambda name: short[name])
        donor = min((name for name in short if targets[name]), key=lambda name: short[name])
        # The second condition makes the difference smaller with each move, so this ends.
        if short[receiver] < 1.0 - SLACK or short[receiver] - short[donor] <= 1.0 + SLACK:
            return targets
        targets[receiver] += 1
        targets[donor] -= 1
