"""How a policy asks to behave as a Kubernetes HorizontalPodAutoscaler: `"HPA"`, or a `behavior` as in autoscaling/v2.

What is left out is HPA's default. `hpa.py` is the algorithm; names, ranges and defaults here are those of the API's
reference (HPAScalingRules, HPAScalingPolicy) and of the page on horizontal Pod autoscaling.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainSerializer

from provision.asked import Asked

__all__ = ["HPA", "Behavior", "ChangeKind", "Rules", "ScalingPolicy", "Select", "asked_behavior"]

HPA: Final = "HPA"  # the word for all defaults
TOLERANCE: Final = 0.1
UP_WINDOW_S: Final = 0
DOWN_WINDOW_S: Final = 300
PERIOD_S: Final = 15  # of the default policies
POLICIES_MAX: Final = 10


class ChangeKind(StrEnum):
    PODS = "Pods"  # instances, here
    PERCENT = "Percent"


class Select(StrEnum):
    """Which of several policies counts: the one that allows the largest change, the smallest, or none at all."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class ScalingPolicy(Asked):
    """At most so much of a change within a period."""

    type: ChangeKind = Field(description=f"one of {', '.join(ChangeKind)}")
    value: int = Field(strict=True, ge=1, le=1_000_000, description="a whole number from 1 to 1000000")
    period_seconds: int = Field(strict=True, ge=1, le=1800, description="a whole number from 1 to 1800")


UP: Final = (
    ScalingPolicy(type=ChangeKind.PERCENT, value=100, period_seconds=PERIOD_S),
    ScalingPolicy(type=ChangeKind.PODS, value=4, period_seconds=PERIOD_S),
)
DOWN: Final = (ScalingPolicy(type=ChangeKind.PERCENT, value=100, period_seconds=PERIOD_S),)


class Rules(Asked):
    """Of one direction."""

    stabilization_window_seconds: int | None = Field(
        None, strict=True, ge=0, le=3600, description="a whole number from 0 to 3600"
    )
    select_policy: Select | None = Field(None, description=f"one of {', '.join(Select)}")
    policies: tuple[ScalingPolicy, ...] | None = Field(
        None, min_length=1, max_length=POLICIES_MAX, description=f"a list of 1 to {POLICIES_MAX} scaling policies"
    )
    tolerance: float | None = Field(
        None, strict=True, ge=0, le=1, allow_inf_nan=False, description="a number from 0 to 1"
    )

    @property
    def select(self) -> Select:
        return Select.MAX if self.select_policy is None else self.select_policy

    @property
    def within(self) -> float:
        """How far from its target the metric may be without a change."""
        return TOLERANCE if self.tolerance is None else self.tolerance


class Behavior(Asked):
    """Of both directions."""

    scale_up: Rules = Field(Rules(), description="an object of scaling rules")
    scale_down: Rules = Field(Rules(), description="an object of scaling rules")

    @property
    def up_policies(self) -> tuple[ScalingPolicy, ...]:
        return UP if self.scale_up.policies is None else self.scale_up.policies

    @property
    def down_policies(self) -> tuple[ScalingPolicy, ...]:
        return DOWN if self.scale_down.policies is None else self.scale_down.policies

    @property
    def up_window_s(self) -> int:
        given = self.scale_up.stabilization_window_seconds
        return UP_WINDOW_S if given is None else given

    @property
    def down_window_s(self) -> int:
        given = self.scale_down.stabilization_window_seconds
        return DOWN_WINDOW_S if given is None else given


def _spelled_out(given: Any) -> Any:
    return {} if given == HPA else given


def _spelled(behavior: Behavior | None) -> Any:
    """All defaults are given back as the word for them, whichever way they were asked for."""
    if behavior is None:
        return None
    rules = {
        name: part.model_dump(mode="json", by_alias=True)
        for name, part in (("scaleUp", behavior.scale_up), ("scaleDown", behavior.scale_down))
        if part != Rules()
    }
    return rules or HPA


asked_behavior = Annotated[Behavior | None, BeforeValidator(_spelled_out), PlainSerializer(_spelled)]
