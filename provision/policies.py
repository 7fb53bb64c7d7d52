"""What one policy says now, by the way of scaling that it asks for, and what it remembers beside its standing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from provision.ahead import Ahead, look_ahead
from provision.config import TargetTrackingPolicy
from provision.forecast import Foresight, Promise, Score, without_recent
from provision.hpa import Past
from provision.like_hpa import HpaMemory, like_hpa
from provision.season import Profile
from provision.shadow import SloMemory
from provision.tracking import Standing, settle
from provision.wishes import View, wish

__all__ = ["NOTHING_KEPT", "Kept", "say"]


@dataclass(frozen=True, slots=True)
class Kept:
    """Of a policy with a forecast, one that behaves as an HPA, or one with a percentile."""

    ahead: Ahead | None = None
    hpa: HpaMemory | None = None
    slo: SloMemory | None = None

    def after_a_clock_was_set(self) -> Kept:
        """Without anything that holds a time."""
        if self.slo is not None:
            return Kept(slo=self.slo.after_a_clock_was_set())
        if self.ahead is None:
            return Kept()
        ahead = self.ahead
        return Kept(Ahead(Standing(ahead.standing.said), without_recent(ahead.foresight), ahead.per_unit))

    def to_values(self) -> dict[str, Any]:
        """As JSON has it."""
        values: dict[str, Any] = {}
        if (ahead := self.ahead) is not None:
            seen = ahead.foresight
            values["ahead"] = {
                "standing": ahead.standing.to_values(),
                "perUnit": ahead.per_unit,
                "profile": seen.profile.to_text(),
                "step": seen.step,
                "recent": seen.recent,
                "promises": seen.promises,
                "trend": seen.trend,
                "season": seen.season,
                "bucket": (seen.bucket, seen.bucket_sum, seen.bucket_steps),
                "levels": seen.levels,
                "level": seen.level,
            }
        if (hpa := self.hpa) is not None:
            past = hpa.past
            values["hpa"] = (hpa.synced, past.proposals, past.ups, past.downs, hpa.why)
        if self.slo is not None:
            values["slo"] = self.slo.to_values()
        return values

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """Raises ValueError, TypeError or KeyError for another form."""
        ahead = hpa = None
        if (found := values.get("ahead")) is not None:
            bucket, bucket_sum, bucket_steps = found["bucket"]
            foresight = Foresight(
                profile=Profile.from_text(found["profile"]),
                step=found["step"],
                recent=tuple(found["recent"]),
                promises=tuple(Promise(*promise) for promise in found["promises"]),
                trend=Score(*found["trend"]),
                season=Score(*found["season"]),
                bucket=bucket,
                bucket_sum=bucket_sum,
                bucket_steps=bucket_steps,
                levels=tuple((seen, usual) for seen, usual in found["levels"]),
                level=found["level"],
            )
            ahead = Ahead(Standing(*found["standing"]), foresight, found["perUnit"])
        if (kept := values.get("hpa")) is not None:
            synced, proposals, ups, downs, why = kept
            past = Past(_events(proposals), _events(ups), _events(downs))
            hpa = HpaMemory(synced, past, why)
        slo = SloMemory.from_values(values["slo"]) if "slo" in values else None
        return cls(ahead, hpa, slo)


NOTHING_KEPT: Final = Kept()


def say(
    policy: TargetTrackingPolicy, before: Standing, kept: Kept, view: View
) -> tuple[Standing, Standing, Kept, tuple[str, ...]]:
    """What the policy says, its own standing for the next time, what else to remember, and why.

    The first is the second but where a forecast has raised it.
    """
    if policy.behavior is not None:
        hpa, standing, why = like_hpa(policy, kept.hpa, before, view)
        return standing, standing, Kept(hpa=hpa), why
    if policy.percentile is not None:
        from provision.slo import by_slo  # with arrays: 20 MiB that nobody else needs

        slo, standing, why = by_slo(policy, kept.slo, before, view)
        return standing, standing, Kept(slo=slo), why
    wished = wish(policy, view)
    own, why = settle(policy, before, wished, view)
    if policy.forecast is None:
        return own, own, NOTHING_KEPT, why
    ahead, standing, why = look_ahead(policy, kept.ahead, own, wished, why, view)
    return standing, own, Kept(ahead=ahead), why


def _events(values: list[list[Any]]) -> tuple[tuple[float, int], ...]:
    return tuple((at, count) for at, count in values)
