"""The nouns of Function Compute 2.0 as Stoke keeps them: service, function, version, alias, trigger.

Each is frozen and spelled in snake_case here, and in FC's camelCase in JSON (`by_alias=True`). Fields that Stoke has
no use for are kept as they came and given back: clients expect what they sent. Ranges are those of FC's API reference.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel

from control_plane import stoke_fields
from runtime.access.jwt import parse_config
from runtime.contract import LATEST

NAME_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_-]*$"
ServiceName = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=128)]
FunctionName = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=64)]
AliasName = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=128)]
TriggerName = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=128)]
RUNTIME_PATTERN: Final = r"^(python3(\.\d{1,2})?|custom(\.debian\d{1,2})?|custom-container)$"
VersionId = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*$")]


Count = Annotated[int, Field(strict=True)]  # a JSON number: neither true nor "1" is one
Number = Annotated[float, Field(strict=True)]  # the same, with a fraction perhaps
Switch = Annotated[bool, Field(strict=True)]  # true or false: neither "no" nor 0


class Noun(BaseModel):
    """A frozen record. Unknown keys are kept, as FC clients send many and read them back."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="allow")


class Service(Noun):
    service_name: ServiceName
    service_id: str = ""
    description: str | None = None
    internet_access: Switch | None = True
    role: str | None = None
    log_config: dict[str, Any] | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    vpc_ids: tuple[str, ...] = ()  # bound to it, and kept: instances run in the machine's own network
    created_time: str = ""  # RFC 3339, UTC
    last_modified_time: str = ""


class CustomContainerConfig(Noun):
    image: str
    command: str | None = None  # FC 2.0: a JSON array in a string
    args: str | None = None
    acceleration_type: str | None = None


class CustomRuntimeConfig(Noun):
    command: list[str] | None = None
    args: list[str] | None = None


class HealthCheckConfig(Noun):
    """FC's customHealthCheckConfig: GET on the port; without it a TCP connect is enough."""

    http_get_url: Annotated[str, StringConstraints(max_length=2048)] = "/"
    initial_delay_seconds: Count = Field(default=0, ge=0, le=120)
    period_seconds: Count = Field(default=3, ge=1, le=120)
    timeout_seconds: Count = Field(default=1, ge=1, le=3)
    failure_threshold: Count = Field(default=3, ge=1, le=120)
    success_threshold: Count = Field(default=1, ge=1, le=120)


class LifecycleHook(Noun):
    handler: str | None = None
    timeout: Count | None = Field(default=None, ge=1, le=300)  # s


class InstanceLifecycleConfig(Noun):
    pre_freeze: LifecycleHook | None = None
    pre_stop: LifecycleHook | None = None


class Function(Noun):
    """A function of a service, as CreateFunction has it. `code_sha256` names its unpacked code in the code store."""

    service_name: ServiceName
    function_name: FunctionName
    function_id: str = ""
    runtime: Annotated[str, StringConstraints(pattern=RUNTIME_PATTERN)]
    handler: str = ""
    description: str | None = None
    memory_size: Count = Field(default=512, ge=64, le=1_048_576)  # MB
    cpu: Number | None = Field(default=None, ge=0.05, le=256)  # vCPU
    disk_size: Count | None = None  # MB
    timeout: Count = Field(default=3, ge=1, le=86_400)  # s
    instance_type: str | None = "e1"
    gpu_memory_size: Count | None = Field(default=None, ge=0)  # MB
    instance_concurrency: Count = Field(default=1, ge=1, le=1000)
    instance_soft_concurrency: Count | None = None
    ca_port: Count | None = Field(default=9000, ge=1, le=65_535)
    custom_container_config: CustomContainerConfig | None = None
    custom_runtime_config: CustomRuntimeConfig | None = None
    custom_health_check_config: HealthCheckConfig | None = None
    initializer: str | None = None
    initialization_timeout: Count | None = Field(default=3, ge=1, le=300)  # s
    instance_lifecycle_config: InstanceLifecycleConfig | None = None
    environment_variables: dict[str, str] | None = None
    disable_ondemand: Switch | None = None  # only provisioned instances serve it
    invocation_restriction: dict[str, Any] | None = None  # {"disable": true, "reason", …}: no request enters
    code_sha256: str = ""
    code_size: int = 0  # bytes
    code_checksum: str = ""  # CRC-64/XZ in decimal, as FC reports it
    created_time: str = ""
    last_modified_time: str = ""

    @model_validator(mode="after")
    def _check_traffic(self) -> Self:
        stoke_fields.function_traffic(self.model_extra)
        return self

    @property
    def revision(self) -> str:
        """Changes whenever a new instance would differ from one that runs already; times and ids do not count."""
        same = {
            "function_id",
            "created_time",
            "last_modified_time",
            "description",
            "disable_ondemand",
            "invocation_restriction",
            "tags",
            stoke_fields.FIELD,
        }
        values = _without_password(self.model_dump(mode="json", exclude=same))
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _without_password(values: dict[str, Any]) -> dict[str, Any]:
    """Of the image's registry: another one makes no other instance."""
    container = values.get("custom_container_config") or {}
    config = container.get("registryConfig")
    if not isinstance(config, dict) or not isinstance(config.get("authConfig"), dict):
        return values
    auth = {key: value for key, value in config["authConfig"].items() if key != "password"}
    return {**values, "custom_container_config": {**container, "registryConfig": {**config, "authConfig": auth}}}


class Version(Noun):
    """A published snapshot of a service with all its functions (FC 2.0 versions belong to the service)."""

    version_id: VersionId
    description: str | None = None
    created_time: str = ""
    last_modified_time: str = ""


class Alias(Noun):
    alias_name: AliasName
    version_id: VersionId
    description: str | None = None
    additional_version_weight: dict[VersionId, Annotated[Number, Field(ge=0.0, le=1.0)]] | None = None
    resolve_policy: str | None = None
    route_policy: dict[str, Any] | None = None
    created_time: str = ""
    last_modified_time: str = ""


class HttpTriggerConfig(Noun):
    auth_type: Literal["anonymous", "function", "jwt"] = "function"
    auth_config: dict[str, Any] | str | None = None  # of jwt; a string of JSON in FC 3.0, and given back as it came
    methods: list[Literal["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]] = Field(min_length=1)
    disable_url_internet: Switch = Field(default=False, alias="disableURLInternet")

    @model_validator(mode="after")
    def _check_traffic(self) -> Self:
        stoke_fields.trigger_traffic(self.model_extra)
        return self

    @model_validator(mode="after")
    def _check_auth_config(self) -> Self:
        if self.auth_type == "jwt":
            parse_config(self.auth_config or {})
        return self

    @model_serializer(mode="wrap")
    def _without_empty_auth_config(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        return {name: value for name, value in values.items() if value is not None or name != "authConfig"}


class Trigger(Noun):
    """A trigger of a function. Only `http` triggers are served; `trigger_config` is checked by their type."""

    trigger_name: TriggerName
    trigger_type: str
    trigger_id: str = ""
    trigger_config: HttpTriggerConfig
    qualifier: str | None = LATEST
    description: str | None = None
    source_arn: str | None = None
    invocation_role: str | None = None
    subdomain: str = ""
    created_time: str = ""
    last_modified_time: str = ""


class QualifiedFunction(Noun):
    """What a provision config or an async invoke config is about: a function of a service by a qualifier."""

    service_name: ServiceName
    qualifier: str
    function_name: FunctionName

    def __str__(self) -> str:
        return f"{self.service_name}.{self.qualifier}/{self.function_name}"


class Setting(StrEnum):
    """What else is set for a function by a qualifier, beside its provision config: one small record of each kind."""

    ON_DEMAND = "on-demand"  # {"maximumInstanceCount"}
    ASYNC_INVOKE = "async-invoke"  # destinations, retries and age of asynchronous invocations
    SCALING = "scaling"  # FC 3.0's other spelling of a provision config, as it was given
    CONCURRENCY = "concurrency"  # {"reservedConcurrency"}


# Labels of a host name. The last one begins with a letter, so no IP address is taken for a domain.
DOMAIN_PATTERN: Final = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"
DOMAIN_PATH_PATTERN: Final = r"^/[^*?#]*(\*)?$"


class PathRoute(Noun):
    """One path of a custom domain: exact, or all below it when it ends in `/*`."""

    path: Annotated[str, StringConstraints(pattern=DOMAIN_PATH_PATTERN, max_length=1024)]
    service_name: ServiceName
    function_name: FunctionName
    qualifier: str | None = LATEST
    methods: list[Literal["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]] | None = None


class RouteConfig(Noun):
    routes: list[PathRoute] = Field(default_factory=list, max_length=100)


class CustomDomain(Noun):
    domain_name: Annotated[str, StringConstraints(pattern=DOMAIN_PATTERN, max_length=253)]
    protocol: Literal["HTTP", "HTTPS", "HTTP,HTTPS"] = "HTTP"
    route_config: RouteConfig = Field(default_factory=RouteConfig)
    created_time: str = ""
    last_modified_time: str = ""
