"""Stoke's own settings of functions and triggers: the field `stoke`, which Function Compute does not have.

It is kept and given back as it came, as every field is that FC does not know; here it is checked and read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

FIELD: Final = "stoke"

_HEADER_OR_COOKIE = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")]  # a token


_Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$")]


class _Checked(BaseModel):
    """Wrong names are refused: a limit that was misspelled would be none."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="forbid")


class FunctionPlacement(_Checked):
    """Of a function: where its instances may be, and who is placed first where there is too little room."""

    labels: dict[_Label, _Label] = Field(default_factory=dict, max_length=16)  # that a node must have, all of them
    priority: int = Field(default=0, strict=True, ge=0, le=9)  # higher ones are placed first


class FunctionTraffic(_Checked):
    """Of a function: what may enter, how long it may wait, where it is placed, and how its instances start."""

    requests_per_second: float = Field(default=0.0, ge=0.0, le=1e9, allow_inf_nan=False)  # 0: no limit
    requests_burst: float = Field(default=0.0, ge=0.0, le=1e9, allow_inf_nan=False)  # 0: as many as in a second
    import_before_fork: bool = Field(default=True, strict=True)  # the handler's module: once, for all instances
    queue_wait_seconds: float = Field(default=0.0, ge=0.0, le=86_400.0, allow_inf_nan=False)  # 0: the gateway's limit
    placement: FunctionPlacement = FunctionPlacement()


class SessionAffinity(_Checked):
    type: Literal["Header", "Cookie"]
    key: _HEADER_OR_COOKIE


class TriggerTraffic(_Checked):
    """Of an HTTP trigger's config: how its requests are treated."""

    priority: int = Field(default=5, strict=True, ge=0, le=9)  # higher ones leave a queue first
    session_affinity: SessionAffinity | None = None


class _OfFunction(BaseModel):
    """What is around the field, so that an error says where it is."""

    stoke: FunctionTraffic = FunctionTraffic()


class _OfTrigger(BaseModel):
    stoke: TriggerTraffic = TriggerTraffic()


def function_traffic(extra: Mapping[str, Any] | None) -> FunctionTraffic:
    """Of the fields that FC does not know. Raises ValidationError: something under `stoke` is not allowed."""
    return _OfFunction.model_validate(_around(extra)).stoke


def trigger_traffic(extra: Mapping[str, Any] | None) -> TriggerTraffic:
    """As `function_traffic`."""
    return _OfTrigger.model_validate(_around(extra)).stoke


def _around(extra: Mapping[str, Any] | None) -> dict[str, Any]:
    given = (extra or {}).get(FIELD)
    return {} if given is None else {FIELD: given}
