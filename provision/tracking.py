"""How far one target-tracking policy goes towards what its metric asks for: bounds, delays and the size of steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from provision.config import MetricType, TargetTrackingPolicy
from provision.wishes import View, Wish, whole

# FC scales in by a part of the way and keeps the size of the part to itself. Half: 8 idle instances are 4, 2, 1 after
# three steps, and a lull that ends meanwhile has cost at most half of what served.
SCALE_IN_PART: Final = 0.5
# A step's instances drain and the rest take over their requests, before the next step is thought of.
SCALE_IN_STEP_S: Final = 10.0
# The span that a limit of growth is about; a launch of a usual length is over and has been measured.
SCALE_OUT_STEP_S: Final = 10.0
# What an instance shows does not say how many more would help, so growth by it goes in rounds: as many again as there
# were, or a few where there were hardly any. The number is the one that Kubernetes' HPA has for it.
ROUND_LEAST: Final = 4
_ROUNDING: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Standing:
    """What a policy has said, kept for its next time."""

    said: int
    below_since: float | None = None  # since when fewer would do, without a break
    stepped_at: float | None = None  # the last step down
    grew_from: int = 0  # what was said when the round of growth began
    grew_at: float | None = None  # when it began

    def to_values(self) -> tuple[int, float | None, float | None, int, float | None]:
        """As JSON has it, and as they are handed to `Standing` again."""
        return (self.said, self.below_since, self.stepped_at, self.grew_from, self.grew_at)


def settle(
    policy: TargetTrackingPolicy, standing: Standing, wished: Wish, view: View
) -> tuple[Standing, tuple[str, ...]]:
    """What the policy says now, and why.

    1. More than before: at once, by as many as a round of growth may add.
    2. Too little seen to say that fewer would do: as before.
    3. Fewer: after the delay, then by steps with a time between them.
    """
    if (within := bounded(policy, standing.said)) != standing.said:
        standing = replace(standing, said=within)
    said, why = standing.said, [wished.why]
    grow = _pressing(policy, wished, said)
    if grow is not None and whole(grow) > said:
        return _grown(policy, standing, whole(grow), why, view.now)
    if wished.shrink is None:
        return _unbroken(standing), tuple(why)
    asked = max(wished.shrink, wished.grow or 0.0)
    if bounded(policy, whole(asked)) >= said:
        return _unbroken(standing), _noted(policy, why, whole(asked))
    standing = replace(standing, below_since=view.now if standing.below_since is None else standing.below_since)
    held_s = _held_s(policy, standing, view.now)
    if held_s > 0.0:
        return standing, (*why, f"scale-in held for {math.ceil(held_s)} s")
    stepped = _step_down(policy, said, asked, view.capacity_limit)
    return replace(standing, said=stepped, stepped_at=view.now), (*why, f"scale-in {said}→{stepped}")


def _unbroken(standing: Standing) -> Standing:
    """As many are asked for as were said, or nobody knows: nothing is below it."""
    return standing if standing.below_since is None else replace(standing, below_since=None)


def bounded(policy: TargetTrackingPolicy, count: int) -> int:
    return min(max(count, policy.min_capacity), policy.max_capacity)


# -- out --------------------------------------------------------------------------------------------------------------


def _pressing(policy: TargetTrackingPolicy, wished: Wish, said: int) -> float | None:
    """What asks to grow: the short window only where it asks for so many times what the long one does."""
    if said == 0 or wished.panic is None or wished.stable is None:
        return wished.grow
    return wished.grow if wished.panic + _ROUNDING >= policy.panic_factor * wished.stable else wished.stable


def _grown(
    policy: TargetTrackingPolicy, standing: Standing, wanted: int, why: list[str], now: float
) -> tuple[Standing, tuple[str, ...]]:
    within = bounded(policy, wanted)
    reasons = _noted(policy, why, wanted)
    if within == standing.said:  # at its maximum already
        return _unbroken(standing), reasons
    if standing.grew_at is None or not 0.0 <= now - standing.grew_at < SCALE_OUT_STEP_S:
        standing = replace(standing, grew_from=standing.said, grew_at=now)
    most = _most(policy, standing.grew_from)
    if most is not None and within > most:
        reached = max(most, standing.said)
        reasons = (*reasons, f"scale-out {within}→{reached}, +{most - standing.grew_from} in {SCALE_OUT_STEP_S:.0f} s")
        within = reached
    return replace(standing, said=within, below_since=None), reasons


def _most(policy: TargetTrackingPolicy, began: int) -> int | None:
    """The most that a round of growth may reach, None if that has no limit."""
    if policy.scale_out_limit is not None:
        return began + policy.scale_out_limit
    if policy.metric_type.is_sampled or policy.metric_type is MetricType.QUEUE_WAIT:
        return began + max(began, ROUND_LEAST)
    return None


# -- in ---------------------------------------------------------------------------------------------------------------


def _held_s(policy: TargetTrackingPolicy, standing: Standing, now: float) -> float:
    assert standing.below_since is not None
    due = standing.below_since + policy.scale_in_delay_s
    if standing.stepped_at is not None:
        due = max(due, standing.stepped_at + SCALE_IN_STEP_S)
    return due - now


def _step_down(policy: TargetTrackingPolicy, said: int, asked: float, capacity_limit: int | None) -> int:
    """FC's step: current - k · current · (1 - metric / metricTarget), rounded up; and at least one instance.

    current × metric / metricTarget is what is asked for, so it is k of the way there. Rounding up alone would never
    end: half of the way from 2 to 1 is 1.5, and that is 2 again. Instances that there was no room for take no steps.
    """
    there = said if capacity_limit is None else max(min(said, capacity_limit), policy.min_capacity)
    part_of_way = math.ceil(there - SCALE_IN_PART * (there - asked) - _ROUNDING)
    if policy.scale_in_limit is not None:
        part_of_way = max(part_of_way, there - policy.scale_in_limit)
    return max(bounded(policy, whole(asked)), min(part_of_way, said - 1))


def _noted(policy: TargetTrackingPolicy, why: list[str], wanted: int) -> tuple[str, ...]:
    """With the bounds named, where they have a say."""
    within = bounded(policy, wanted)
    return (*why, f"bounded {wanted}→{within}") if within != wanted else tuple(why)
