"""What gateway, instance and control plane say to each other: paths, headers, states, keys and messages.

Only values live here, no behaviour beyond turning them into JSON and back. A reader may be older than a writer, so
unknown keys are ignored and every field that was added later has a default.

Over Redis go three things:

* `ROUTES_KEY` (hash) and `INSTANCES_KEY` (hash): what a gateway must know to serve, written by the control plane;
* `FEED_KEY` (stream): each change of those two hashes, appended in the same transaction, so that a gateway loads the
  hashes once and then follows the stream; a gap in it means: load again;
* `USAGE_CHANNEL` (pub/sub, nothing stored): what each gateway saw, once a second and at once when a request must wait.

What is asked of a node, and what it says of instances, is in `runtime/node_contract.py`.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol, Self

# -- Redis ----------------------------------------------------------------------------------------------------------

ROUTES_KEY: Final = "stoke:routes"
INSTANCES_KEY: Final = "stoke:instances"
FEED_KEY: Final = "stoke:feed"
FEED_LENGTH_MAX: Final = 10_000
USAGE_CHANNEL: Final = "stoke:usage"

# -- HTTP -----------------------------------------------------------------------------------------------------------

PROXY_PREFIX: Final = "/2016-08-15/proxy/"
API_VERSIONS: Final = ("2016-08-15", "2021-04-06")  # FC 2.0: one tree of paths, under either prefix
API_VERSION_3: Final = "2023-03-30"  # FC 3.0: functions without services
LATEST: Final = "LATEST"

HEADER_REQUEST_ID: Final = "x-fc-request-id"
HEADER_INSTANCE_ID: Final = "x-fc-instance-id"
HEADER_LOG_TYPE: Final = "x-fc-log-type"
HEADER_LOG_RESULT: Final = "x-fc-log-result"
HEADER_ERROR_TYPE: Final = "x-fc-error-type"
HEADER_INVOCATION_DURATION: Final = "x-fc-invocation-duration"  # ms
HEADER_SERVICE_VERSION: Final = "x-fc-invocation-service-version"
HEADER_INVOCATION_TARGET: Final = "x-fc-invocation-target"
HEADER_CONTROL_PATH: Final = "x-fc-control-path"
HEADER_BASE_PATH: Final = "x-fc-base-path"
HEADER_RETRY_COUNT: Final = "x-fc-retry-count"
HEADER_ASYNC_TASK_ID: Final = "x-fc-async-task-id"
HEADER_STATEFUL_ID: Final = "x-fc-stateful-async-invocation-id"
HEADER_STATEFUL: Final = "x-fc-stateful-async-invocation-enable"
HEADER_CLIENT_IP: Final = "x-fc-client-ip"
HEADER_STATUS: Final = "x-fc-status"
HEADER_COLD_START: Final = "x-stoke-cold-start"  # "true" when this request waited for an instance to start

ASYNC_RETRY_ATTEMPTS_MAX: Final = 3  # FC's defaults
ASYNC_EVENT_AGE_S_MAX: Final = 86_400.0

PATH_INITIALIZE: Final = "/initialize"
PATH_PRE_STOP: Final = "/pre-stop"
PATH_INVOKE: Final = "/invoke"
CONTROL_PATH_HTTP: Final = "/http-invoke"

# Which handlers of Python runtimes name a model rather than code: an ONNX file, a folder (with its slash at the end),
# or the model.yaml in it. "./" is the code's own folder.
MODEL_HANDLER: Final = re.compile(
    r"(?:\./)?(?:(?:[A-Za-z0-9_][\w.-]*/)*(?:[A-Za-z0-9_][\w.-]*\.onnx|model\.yaml)|(?:[A-Za-z0-9_][\w.-]*/)+)|\./",
    re.ASCII,
)

# How the reason of an instance begins whose initializer failed: FC tells of that as the function's own error.
INITIALIZER_FAILED: Final = "Function initializer failed"


# -- an instance's life ---------------------------------------------------------------------------------------------


class InstanceState(StrEnum):
    """Where one instance is in its life. `TRANSITIONS` has every step that may be taken."""

    LAUNCHING = "LAUNCHING"
    INITIALIZING = "INITIALIZING"
    READY = "READY"
    DRAINING = "DRAINING"
    STOPPED = "STOPPED"
    FAILED = "FAILED"

    @property
    def is_starting(self) -> bool:
        return self in (InstanceState.LAUNCHING, InstanceState.INITIALIZING)

    @property
    def is_live(self) -> bool:
        """It serves or is about to: DRAINING is neither live nor final."""
        return self is InstanceState.READY or self.is_starting

    @property
    def is_final(self) -> bool:
        return self in (InstanceState.STOPPED, InstanceState.FAILED)


# LAUNCHING ends when the health check (or a TCP connect to the port) passes, INITIALIZING when POST /initialize has
# answered 2xx. DRAINING takes nothing new. Any state may fail; the two final ones are left by nothing.
TRANSITIONS: Final[dict[InstanceState, frozenset[InstanceState]]] = {
    InstanceState.LAUNCHING: frozenset(
        {
            InstanceState.INITIALIZING,
            InstanceState.READY,
            InstanceState.DRAINING,
            InstanceState.STOPPED,
            InstanceState.FAILED,
        }
    ),
    InstanceState.INITIALIZING: frozenset(
        {InstanceState.READY, InstanceState.DRAINING, InstanceState.STOPPED, InstanceState.FAILED}
    ),
    InstanceState.READY: frozenset({InstanceState.DRAINING, InstanceState.STOPPED, InstanceState.FAILED}),
    InstanceState.DRAINING: frozenset({InstanceState.STOPPED, InstanceState.FAILED}),
    InstanceState.STOPPED: frozenset(),
    InstanceState.FAILED: frozenset(),
}


class Kind(StrEnum):
    """Why an instance exists: kept by a provision config, or started for requests that found no free slot."""

    PROVISIONED = "provisioned"
    ON_DEMAND = "on-demand"


# -- function versions ----------------------------------------------------------------------------------------------

VersionKey = tuple[str, str, str]  # service, version, function


class OfVersion(Protocol):
    """What says which function version it is of."""

    @property
    def service(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def function(self) -> str: ...


def version_key(one: OfVersion) -> VersionKey:
    """What a function version is known by, wherever something is counted or kept by version."""
    return (one.service, one.version, one.function)


# -- messages -------------------------------------------------------------------------------------------------------


_FIELD_NAMES: Final[dict[type, frozenset[str]]] = {}  # of each message that has been read


@dataclass(frozen=True, slots=True)
class Message:
    """A frozen dataclass that travels as one JSON object."""

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Unknown keys are ignored; a missing key without a default raises TypeError, as does what is no object."""
        known = _FIELD_NAMES.get(cls)
        if known is None:
            known = _FIELD_NAMES[cls] = frozenset(f.name for f in dataclasses.fields(cls))
        try:
            names = values.keys()
        except AttributeError:
            raise TypeError(f"{cls.__name__} is {str(values)[:80]!r}; an object is allowed") from None
        if names <= known:
            return cls(**values)
        return cls(**{name: value for name, value in values.items() if name in known})


@dataclass(frozen=True, slots=True)
class FunctionRoute(Message):
    """One version of a function, as a gateway needs it. `version` is "LATEST" or a decimal string."""

    service: str
    function: str
    version: str
    revision: str  # changes whenever a new instance would differ from an old one
    instance_concurrency: int = 1
    timeout_s: float = 3.0
    on_demand_instances_max: int = 100
    retryable: bool = False  # may a request that was already sent be sent again after its instance died?
    headers: dict[str, str] = field(default_factory=dict)  # x-fc-* told to the instance with every request
    is_disabled: bool = False  # by its owner: no request enters
    disabled_reason: str = ""
    requests_per_s: float = 0.0  # that may enter; 0 = no limit
    requests_burst: float = 0.0  # that may enter at once; 0 = as many as in a second
    queue_wait_s_max: float = 0.0  # refused at once if it is expected to wait longer for a slot; 0 = no limit


@dataclass(frozen=True, slots=True)
class AliasRoute(Message):
    """An alias of a service: the version it names, and the share in [0, 1] of requests that others get."""

    service: str
    alias: str
    version: str
    additional_version_weight: dict[str, float] = field(default_factory=dict)
    route_policy: dict[str, Any] = field(default_factory=dict)  # FC's; {} = the weights decide


@dataclass(frozen=True, slots=True)
class TriggerRoute(Message):
    """One HTTP trigger. `subdomain` is the first label of the Host it is also reached by."""

    service: str
    function: str
    qualifier: str
    name: str
    auth_type: str  # "anonymous" | "function" | "jwt"
    methods: list[str]
    subdomain: str
    internet_disabled: bool = False
    auth_config: dict[str, Any] = field(default_factory=dict)  # of "jwt", as FC has it
    priority: int = 5  # of its requests, 0 (last) to 9 (first)
    session_by: str = ""  # "Header" | "Cookie": what tells a session, whose requests like to go to one instance
    session_name: str = ""


@dataclass(frozen=True, slots=True)
class AsyncRoute(Message):
    """How asynchronous invocations of a function by one qualifier are treated. Without one, the defaults here hold."""

    service: str
    function: str
    qualifier: str
    retry_attempts_max: int = ASYNC_RETRY_ATTEMPTS_MAX
    event_age_s_max: float = ASYNC_EVENT_AGE_S_MAX
    on_success: str = ""  # destinations, as `runtime.async_invocation.destinations` spells them; "" = none
    on_failure: str = ""
    stateful: bool = False  # payload, result and record are kept for long after the end, and listed


@dataclass(frozen=True, slots=True)
class InstanceRecord(Message):
    """One instance as the control plane knows it. `address` is "unix:PATH" or "tcp:HOST:PORT", "" until it listens."""

    instance_id: str
    service: str
    function: str
    version: str
    revision: str
    kind: Kind
    state: InstanceState
    slots: int
    node: str
    address: str = ""
    pid: int = 0
    launched_at_s: float = 0.0  # UTC seconds
    ready_at_s: float = 0.0
    draining_since_s: float = 0.0
    reason: str = ""  # why it FAILED, or why it is DRAINING
    device: str = ""  # the uuid of the card or slice that it is on; "" = none
    gpu_memory_mib: int = 0  # what it holds of that, until it has ended
    pool: str = ""  # the pool of nodes that it was launched into; "" = there are none
    reclaim_at_s: float = 0.0  # UTC seconds at which its machine will be taken away; 0 = nothing is known of that
    is_hindered: bool = False  # LAUNCHING, and `reason` is what is in its way: no machine has room, no image is found

    def __post_init__(self) -> None:
        # JSON gives plain strings; inside the program they are the enums.
        object.__setattr__(self, "kind", Kind(self.kind))
        object.__setattr__(self, "state", InstanceState(self.state))


@dataclass(frozen=True, slots=True)
class DomainRoute(Message):
    """A custom domain: which function each path leads to. A path is exact, or ends in `/*` for all below it."""

    domain: str
    paths: list[dict[str, Any]]  # {"path", "service", "function", "qualifier", "methods"}; no methods: the trigger's


def function_field(service: str, version: str, function: str) -> str:
    """The field of `ROUTES_KEY` that holds a FunctionRoute; no name may contain a slash."""
    return f"function/{service}/{version}/{function}"


def alias_field(service: str, alias: str) -> str:
    """The field of `ROUTES_KEY` that holds an AliasRoute."""
    return f"alias/{service}/{alias}"


def trigger_field(service: str, function: str, name: str) -> str:
    """The field of `ROUTES_KEY` that holds a TriggerRoute."""
    return f"trigger/{service}/{function}/{name}"


def async_field(service: str, qualifier: str, function: str) -> str:
    """The field of `ROUTES_KEY` that holds an AsyncRoute."""
    return f"async/{service}/{qualifier}/{function}"


def domain_field(domain: str) -> str:
    """The field of `ROUTES_KEY` that holds a DomainRoute."""
    return f"domain/{domain}"


# An entry of FEED_KEY has these fields: "key" (ROUTES_KEY or INSTANCES_KEY), "field", and "value" (JSON, "" = removed).


@dataclass(frozen=True, slots=True)
class FunctionUsage(Message):
    """What one gateway saw of one function version during one report's interval.

    The `*_request_seconds` are integrals over time of a number of requests, so dividing by `interval_s` gives an exact
    mean, however short a request was.
    """

    service: str
    function: str
    version: str
    in_flight: int  # now, on any instance
    in_flight_on_demand: int  # now, on on-demand instances
    queued: int  # now, waiting for a slot; asynchronous events that wait in the store among them, up to a bound
    demand_request_seconds: float  # integral of in flight + queued
    provisioned_request_seconds: float  # integral of in flight on provisioned instances
    demand_peak: int  # largest in flight + queued in the interval
    arrived: int = 0
    finished: int = 0
    failed: int = 0  # platform errors, not the function's own
    queue_wait_s_sum: float = 0.0
    # What is written down for good, as it must not be lost while nobody listens: since a report was last heard.
    served_provisioned: int = 0  # requests that an instance has had, by its kind at their end
    served_on_demand: int = 0
    service_s_sum: float = 0.0  # seconds that these had a slot
    arrivals: list[list[int]] = field(default_factory=list)  # [tenths of a second since the epoch, requests]


@dataclass(frozen=True, slots=True)
class UsageReport(Message):
    """One gateway's report, published on USAGE_CHANNEL.

    Functions without requests since the last report and without queued ones are left out. `in_flight` has every
    instance that holds requests; `drained` the instances that this gateway knows as DRAINING and holds no request of.
    `last_used_s` is the UTC time at which an instance last finished a request, for those used since the last report.
    """

    gateway: str
    sequence: int
    now_s: float  # UTC seconds
    interval_s: float
    functions: list[dict[str, Any]]  # FunctionUsage, as dicts
    in_flight: dict[str, int] = field(default_factory=dict)
    last_used_s: dict[str, float] = field(default_factory=dict)
    drained: list[str] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)  # instances whose address refused a connection
