"""What is set for a function by a qualifier, as the API and deployment files have it: one small noun of each kind."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from control_plane.model import Count, Noun, Switch

ON_DEMAND_MAX: Final = 10_000


class OnDemandConfig(Noun):
    maximum_instance_count: Count = Field(ge=0, le=ON_DEMAND_MAX)


class ConcurrencyConfig(Noun):
    reserved_concurrency: Count = Field(ge=0, le=ON_DEMAND_MAX)


class Destination(Noun):
    destination: Annotated[str, Field(max_length=2048)] = ""


class DestinationConfig(Noun):
    on_success: Destination | None = None
    on_failure: Destination | None = None


class AsyncInvokeConfig(Noun):
    destination_config: DestinationConfig | None = None
    max_async_event_age_in_seconds: Count | None = Field(default=None, ge=1, le=2_592_000)
    max_async_retry_attempts: Count | None = Field(default=None, ge=0, le=8)
    stateful_invocation: Switch | None = None
    async_task: Switch | None = None
