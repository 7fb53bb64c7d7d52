"""What a user asks for: a static target, scheduled actions and target-tracking policies, in Function Compute's JSON.

Names are FC's camelCase at the edge and snake_case inside. Times stay the texts that were sent, so that a client reads
what it wrote; `start_s` and `end_s` give them in UTC seconds. A null is the same as a key left out.
`problems.py` turns what is wrong into sentences; the `description` of each field says there what is allowed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import Field, StrictBool, StringConstraints, ValidationError, model_validator

from provision.asked import Asked
from provision.behavior import Behavior, Rules, ScalingPolicy, asked_behavior
from provision.problems import ConfigError, sentence, sentences, unknown_in
from provision.schedule import EXPRESSIONS, Schedule, parse_expression
from provision.times import parse_time, parse_zone

__all__ = [
    "ConfigError",
    "MetricType",
    "ProvisionConfig",
    "ScheduledAction",
    "TargetTrackingPolicy",
    "parse",
    "spelled_fields",
    "unknown_fields",
]

INSTANCES_MAX: Final = 10_000  # FC's limit for a target
LIST_LENGTH_MAX: Final = 100

# A minute, as FC looks once a minute: an instance is worth keeping for the next request of a minute's rhythm.
STABLE_WINDOW_S: Final = 60
# Long enough that one odd second does not start instances, short enough that a surge does before requests time out.
PANIC_WINDOW_S: Final = 3
# None: scale-in acts on the largest demand in the stable window, so it is late by that window as it is.
SCALE_IN_DELAY_S: Final = 0
# Fields that shape Stoke's own way of scaling, which `behavior` replaces.
STOKES_OWN: Final = (
    "stableWindowSeconds",
    "panicWindowSeconds",
    "scaleInDelaySeconds",
    "panicThreshold",
    "scaleOutLimit",
    "scaleInLimit",
    "forecast",
)
# Beyond, a share that may wait longer cannot be told from none by what is remembered.
PERCENTILE_MAX: Final = 0.999
# A surge that the short window shows is answered whatever its size.
PANIC_THRESHOLD: Final = 1.0

Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Instances = Annotated[int, Field(strict=True, ge=0, le=INSTANCES_MAX)]
AtLeastOne = Annotated[int, Field(strict=True, ge=1, le=INSTANCES_MAX)]
Seconds = Annotated[int, Field(strict=True)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^/@?#\s]+(/[^?#\s]*)?$", max_length=2048)]
Query = Annotated[str, StringConstraints(min_length=1, max_length=2048)]


class MetricType(StrEnum):
    """What a policy keeps near its target. FC's pages spell GPU memory in two ways, and both are taken."""

    CONCURRENCY = "ProvisionedConcurrencyUtilization"
    CPU = "CPUUtilization"
    GPU_SM = "GPUSmUtilization"
    GPU_MEMORY = "GPUMemUtilization"
    GPU_MEMORY_SYNONYM = "GPUMemoryUtilization"
    GPU_ENCODER = "GPUEncoderUtilization"
    GPU_DECODER = "GPUDecoderUtilization"
    # The rest is Stoke's own.
    MEMORY = "MemoryUtilization"
    REQUEST_RATE = "RequestsPerSecond"
    QUEUE_WAIT = "QueueWaitMilliseconds"
    WAITING = "WaitingLength"
    PROMETHEUS = "Prometheus"

    @property
    def is_utilization(self) -> bool:
        """A share of something, at most 1."""
        others = (MetricType.REQUEST_RATE, MetricType.QUEUE_WAIT, MetricType.WAITING, MetricType.PROMETHEUS)
        return self not in others

    @property
    def is_sampled(self) -> bool:
        """Read from instances; the others come with the gateways' reports of requests, or from elsewhere."""
        return self.is_utilization and self is not MetricType.CONCURRENCY

    @property
    def measured(self) -> MetricType:
        """The one spelling of synonyms."""
        return MetricType.GPU_MEMORY if self is MetricType.GPU_MEMORY_SYNONYM else self


class TargetType(StrEnum):
    """What `metricTarget` of a reading from elsewhere is: its part for one instance, or the whole of it."""

    AVERAGE_VALUE = "AverageValue"
    VALUE = "Value"


class Season(StrEnum):
    """What traffic repeats by."""

    DAY = "day"
    WEEK = "week"
    NONE = "none"


class Forecast(Asked):
    """Look one launch time ahead."""

    season: Season = Field(description=f"one of {', '.join(Season)}")


class Timed(Asked):
    """Something that counts from `startTime` until before `endTime`; either may be missing."""

    name: Name = Field(description="a text of 1 to 128 characters")
    start_time: str | None = Field(None, description="a time like 2026-01-31T16:00:00Z")
    end_time: str | None = Field(None, description="a time like 2026-01-31T16:00:00Z")
    time_zone: str | None = Field(None, description="an IANA time zone such as UTC, Asia/Shanghai or Europe/Berlin")

    @property
    def start_s(self) -> float:
        """UTC seconds, -inf if it has no start."""
        return -math.inf if self.start_time is None else parse_time(self.start_time, self.time_zone)

    @property
    def end_s(self) -> float:
        """UTC seconds, inf if it has no end."""
        return math.inf if self.end_time is None else parse_time(self.end_time, self.time_zone)

    def holds_at(self, now: float) -> bool:
        return self.start_s <= now < self.end_s

    def wrong_times(self) -> list[str]:
        """What is wrong with zone, start and end."""
        try:
            parse_zone(self.time_zone)
        except ValueError as error:
            return [sentence("timeZone", self.time_zone, str(error))]
        wrong = []
        for field, text in (("startTime", self.start_time), ("endTime", self.end_time)):
            try:
                if text is not None:
                    parse_time(text, self.time_zone)
            except ValueError as error:
                wrong.append(sentence(field, text, str(error)))
        if not wrong and not self.start_s < self.end_s:
            wrong.append(sentence("endTime", self.end_time, f"must be after startTime ({self.start_time})"))
        return wrong


class ScheduledAction(Timed):
    """A target from each firing of the expression on, until another action fires or `endTime` comes."""

    target: Instances = Field(description=f"a whole number from 0 to {INSTANCES_MAX}")
    schedule_expression: str = Field(description=EXPRESSIONS)

    @property
    def schedule(self) -> Schedule:
        return parse_expression(self.schedule_expression, self.time_zone)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        wrong = self.wrong_times()
        if not any(problem.startswith("timeZone") for problem in wrong):
            try:
                parse_expression(self.schedule_expression, self.time_zone)
            except ValueError as error:
                wrong.append(sentence("scheduleExpression", self.schedule_expression, str(error)))
        return _accept(self, wrong)


class TargetTrackingPolicy(Timed):
    """Keep a metric near `metric_target` with `min_capacity` to `max_capacity` instances, while it is in force."""

    metric_type: MetricType = Field(description=f"one of {', '.join(MetricType)}")
    metric_target: float = Field(
        strict=True, gt=0, allow_inf_nan=False, description="a number above 0, and at most 1 for a utilization"
    )
    min_capacity: Instances = Field(description=f"a whole number from 0 to {INSTANCES_MAX}")
    max_capacity: AtLeastOne = Field(description=f"a whole number from 1 to {INSTANCES_MAX}")
    # The rest is Stoke's own; FC has no say in these.
    stable_window_seconds: Seconds | None = Field(None, ge=10, le=600, description="a whole number from 10 to 600")
    panic_window_seconds: Seconds | None = Field(None, ge=1, le=60, description="a whole number from 1 to 60")
    scale_in_delay_seconds: Seconds | None = Field(None, ge=0, le=3600, description="a whole number from 0 to 3600")
    panic_threshold: float | None = Field(
        None, strict=True, ge=1, le=10, allow_inf_nan=False, description="a number from 1 to 10"
    )
    scale_out_limit: AtLeastOne | None = Field(None, description=f"a whole number from 1 to {INSTANCES_MAX}")
    scale_in_limit: AtLeastOne | None = Field(None, description=f"a whole number from 1 to {INSTANCES_MAX}")
    forecast: Forecast | None = Field(None, description="an object with the season")
    percentile: float | None = Field(
        None,
        strict=True,
        ge=0.5,
        le=PERCENTILE_MAX,
        allow_inf_nan=False,
        description=f"a number from 0.5 to {PERCENTILE_MAX}",
    )
    behavior: asked_behavior = Field(None, description="HPA, or an object with scaleUp and scaleDown")
    url: Url | None = Field(None, description="a text that begins with http:// or https://, without a user or a query")
    query: Query | None = Field(None, description="a text of 1 to 2048 characters, in PromQL")
    metric_target_type: TargetType | None = Field(None, description=f"one of {', '.join(TargetType)}")

    @property
    def gauge(self) -> str | None:
        """What its readings are kept under; None for a metric of requests."""
        if self.metric_type is MetricType.PROMETHEUS:
            asked = f"{self.url} {self.query}".encode()
            return f"{self.metric_type} {hashlib.sha256(asked).hexdigest()[:16]}"
        return self.metric_type.measured.value if self.metric_type.is_sampled else None

    @property
    def stable_window_s(self) -> int:
        return STABLE_WINDOW_S if self.stable_window_seconds is None else self.stable_window_seconds

    @property
    def panic_window_s(self) -> int:
        given = PANIC_WINDOW_S if self.panic_window_seconds is None else self.panic_window_seconds
        return min(given, self.stable_window_s)

    @property
    def scale_in_delay_s(self) -> int:
        return SCALE_IN_DELAY_S if self.scale_in_delay_seconds is None else self.scale_in_delay_seconds

    @property
    def panic_factor(self) -> float:
        """How many times what the stable window asks for the panic window must ask for, to count."""
        return PANIC_THRESHOLD if self.panic_threshold is None else self.panic_threshold

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        wrong = self.wrong_times()
        if self.metric_type.is_utilization and self.metric_target > 1:
            allowed = "must be a number above 0, and at most 1 for a utilization"
            wrong.append(sentence("metricTarget", self.metric_target, allowed))
        if self.min_capacity > self.max_capacity:
            allowed = f"must be at most maxCapacity ({self.max_capacity})"
            wrong.append(sentence("minCapacity", self.min_capacity, allowed))
        if self.panic_window_seconds is not None and self.panic_window_seconds > self.stable_window_s:
            allowed = f"must be at most stableWindowSeconds ({self.stable_window_s})"
            wrong.append(sentence("panicWindowSeconds", self.panic_window_seconds, allowed))
        return _accept(self, [*wrong, *misplaced(self)])


class ProvisionConfig(Asked):
    """What is to be kept warm of a function by one qualifier."""

    target: Instances = Field(0, description=f"a whole number from 0 to {INSTANCES_MAX}")
    default_target: Instances | None = Field(None, description=f"a whole number from 0 to {INSTANCES_MAX}")
    always_allocate_cpu: StrictBool = Field(True, alias="alwaysAllocateCPU", description="true or false")
    always_allocate_gpu: StrictBool = Field(True, alias="alwaysAllocateGPU", description="true or false")
    scheduled_actions: tuple[ScheduledAction, ...] = Field(
        (), max_length=LIST_LENGTH_MAX, description=f"a list of at most {LIST_LENGTH_MAX} scheduled actions"
    )
    target_tracking_policies: tuple[TargetTrackingPolicy, ...] = Field(
        (), max_length=LIST_LENGTH_MAX, description=f"a list of at most {LIST_LENGTH_MAX} target-tracking policies"
    )

    @property
    def static_target(self) -> int:
        """What counts while nothing is in force: FC 3.0's `defaultTarget`, else FC 2.0's `target`."""
        return self.target if self.default_target is None else self.default_target

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        wrong = [
            *_repeated("scheduledActions", (action.name for action in self.scheduled_actions)),
            *_repeated("targetTrackingPolicies", (policy.name for policy in self.target_tracking_policies)),
        ]
        return _accept(self, wrong)


MODELS: Final[dict[str, type[Asked]]] = {
    "": ProvisionConfig,
    "scheduledActions": ScheduledAction,
    "targetTrackingPolicies": TargetTrackingPolicy,
    "targetTrackingPolicies.forecast": Forecast,
    "targetTrackingPolicies.behavior": Behavior,
    "targetTrackingPolicies.behavior.scaleUp": Rules,
    "targetTrackingPolicies.behavior.scaleDown": Rules,
    "targetTrackingPolicies.behavior.scaleUp.policies": ScalingPolicy,
    "targetTrackingPolicies.behavior.scaleDown.policies": ScalingPolicy,
}


def parse(given: str | bytes | dict[str, Any]) -> ProvisionConfig:
    """JSON text, or the object it stands for.

    Raises:
        ConfigError: everything that is wrong, a line each: the field, its value, and what is allowed.
    """
    if not isinstance(given, dict):
        given = _object(given)
    try:
        return ProvisionConfig.model_validate(given)
    except ValidationError as error:
        raise ConfigError(sentences(error, _allowed)) from None


def unknown_fields(given: dict[str, Any]) -> list[str]:
    """A line for each key that no field has, with the field that may have been meant. Never raises.

    `parse` ignores such keys, as an API must; where a person wrote the file, they are slips to be told of.
    """
    return unknown_in(given, {path: spelled_fields(model) for path, model in MODELS.items()})


def spelled_fields(model: type[Asked]) -> list[str]:
    """The fields of a part of a provision config as JSON spells them."""
    return [info.alias or name for name, info in model.model_fields.items()]


def misplaced(policy: TargetTrackingPolicy) -> list[str]:
    """What is wrong with fields that go only with some metrics, or not with each other."""
    wrong: list[str] = []

    def without(fields: Iterable[str], reason: str) -> None:
        given = policy.model_dump(mode="json", by_alias=True)
        wrong.extend(sentence(f, given[f], f"must be left out {reason}") for f in fields if f in given)

    elsewhere = policy.metric_type is MetricType.PROMETHEUS
    if elsewhere:
        required = (("url", policy.url), ("query", policy.query))
        wrong += [
            f"{name} is missing: must be given with metricType Prometheus" for name, value in required if not value
        ]
    else:
        without(("url", "query", "metricTargetType"), f"with metricType {policy.metric_type}")
    if policy.metric_type in (MetricType.QUEUE_WAIT, MetricType.WAITING):
        without(("forecast",), f"with metricType {policy.metric_type}, which tells nothing of how many requests come")
    if policy.percentile is not None:
        if policy.metric_type is not MetricType.QUEUE_WAIT:
            without(("percentile",), f"with metricType {policy.metric_type}, as it is a share of waits")
        without((*STOKES_OWN, "behavior"), "with percentile, which learns from the requests how to scale")
    elif policy.behavior is not None:
        without(STOKES_OWN, "with behavior, which has its own windows and limits")
    return wrong


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"the provision config is not JSON: {error}"]) from None
    if not isinstance(given, dict):
        raise ConfigError([sentence("the provision config", given, "must be a JSON object")])
    return given


def _allowed(path: str, field: str) -> str | None:
    """What a field of one of the models may be."""
    for name, info in MODELS[path].model_fields.items():
        if field in (name, info.alias):
            return info.description
    return None


def _repeated(path: str, names: Iterable[str]) -> list[str]:
    wrong, seen = [], set[str]()
    for index, name in enumerate(names):
        if name in seen:
            wrong.append(sentence(f"{path}[{index}].name", name, "must be another name than those before it"))
        seen.add(name)
    return wrong


Model = TypeVar("Model", bound=Asked)


def _accept(model: Model, wrong: list[str]) -> Model:
    if wrong:
        raise ValueError(*wrong)
    return model
