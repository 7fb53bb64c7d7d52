"""What gateways and instances are told of a function, an alias, a trigger and a custom domain. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any, Final

from control_plane import nas
from control_plane.model import Alias, CustomDomain, Function, HttpTriggerConfig, Service, Trigger
from control_plane.stoke_fields import function_traffic, trigger_traffic
from runtime.contract import LATEST, AliasRoute, DomainRoute, FunctionRoute, TriggerRoute
from runtime.traffic.rules import CONTENT

ON_DEMAND_INSTANCES_MAX: Final = 100  # FC's default for an account
_LABEL_CHARS_MAX: Final = 63  # of one label of a host name
_DIGEST_CHARS: Final = 10  # 50 bits: among a million triggers, one chance in two thousand that any two meet


def common_headers(
    function: Function, version: str, service: Service | None, *, region: str, account_id: str
) -> dict[str, str]:
    """The `x-fc-*` headers that an instance gets with each request and each hook.

    The three credential headers are there and empty, as FC sends them for a service without a role.
    """
    log = (service.log_config if service is not None else None) or {}
    headers = {
        "x-fc-function-name": function.function_name,
        "x-fc-function-handler": function.handler,
        "x-fc-function-memory": str(function.memory_size),
        "x-fc-function-timeout": str(function.timeout),
        "x-fc-service-name": function.service_name,
        "x-fc-service-logproject": str(log.get("project") or ""),
        "x-fc-service-logstore": str(log.get("logstore") or ""),
        "x-fc-region": region,
        "x-fc-account-id": account_id,
        "x-fc-version-id": version,
        "x-fc-access-key-id": "",
        "x-fc-access-key-secret": "",
        "x-fc-security-token": "",
    }
    if function.initializer:
        headers["x-fc-function-initializer"] = function.initializer
        headers["x-fc-initialization-timeout"] = str(function.initialization_timeout or 3)
    return headers


def function_route(
    function: Function,
    version: str,
    service: Service | None,
    *,
    region: str,
    account_id: str,
    on_demand_max: int | None = None,
) -> FunctionRoute:
    restriction = function.invocation_restriction or {}
    traffic = function_traffic(function.model_extra)
    return FunctionRoute(
        service=function.service_name,
        function=function.function_name,
        version=version,
        revision=nas.revision(function, service),
        instance_concurrency=function.instance_concurrency,
        timeout_s=float(function.timeout),
        on_demand_instances_max=on_demand_instances_max(function, on_demand_max),
        is_disabled=restriction.get("disable") is True,
        disabled_reason=str(restriction.get("reason") or ""),
        # Not a field of FC's: a user says with it that a request may be run twice.
        retryable=(function.model_extra or {}).get("retryable") is True,
        headers=common_headers(function, version, service, region=region, account_id=account_id),
        requests_per_s=traffic.requests_per_second,
        requests_burst=traffic.requests_burst,
        queue_wait_s_max=traffic.queue_wait_seconds,
    )


def on_demand_instances_max(function: Function, configured: int | None) -> int:
    """How many on-demand instances a function version may have; `configured` is what an on-demand config says."""
    if function.disable_ondemand:
        return 0
    return ON_DEMAND_INSTANCES_MAX if configured is None else configured


def domain_route(domain: CustomDomain) -> DomainRoute:
    return DomainRoute(
        domain=domain.domain_name,
        paths=[
            {
                "path": route.path,
                "service": route.service_name,
                "function": route.function_name,
                "qualifier": route.qualifier or LATEST,
                "methods": list(route.methods or ()),
            }
            for route in domain.route_config.routes
        ],
    )


def alias_route(service: str, alias: Alias) -> AliasRoute:
    return AliasRoute(
        service=service,
        alias=alias.alias_name,
        version=alias.version_id,
        additional_version_weight=dict(alias.additional_version_weight or {}),
        route_policy=dict(alias.route_policy or {}) if alias.resolve_policy == CONTENT else {},
    )


def trigger_route(service: str, function: str, trigger: Trigger) -> TriggerRoute:
    config = trigger.trigger_config
    traffic = trigger_traffic(config.model_extra)
    session = traffic.session_affinity
    return TriggerRoute(
        service=service,
        function=function,
        qualifier=trigger.qualifier or LATEST,
        name=trigger.trigger_name,
        auth_type=config.auth_type,
        methods=list(config.methods),
        subdomain=trigger.subdomain,
        internet_disabled=config.disable_url_internet,
        auth_config=_auth_config(config),
        priority=traffic.priority,
        session_by="" if session is None else session.type,
        session_name="" if session is None else session.key,
    )


def _auth_config(config: HttpTriggerConfig) -> dict[str, Any]:
    if config.auth_type != "jwt":
        return {}
    given = config.auth_config
    return dict(json.loads(given)) if isinstance(given, str) else dict(given or {})


def subdomain(account_id: str, service: str, function: str, trigger: str) -> str:
    """`function-service-digest`: the same each time for one trigger, another for each, a valid label of a host name."""
    digest = hashlib.sha256("/".join((account_id, service, function, trigger)).encode()).digest()
    tail = base64.b32encode(digest).decode().lower()[:_DIGEST_CHARS]
    names = f"{function}-{service}".lower().replace("_", "-")
    return (names[: _LABEL_CHARS_MAX - _DIGEST_CHARS - 1] + "-" + tail).lstrip("-")
