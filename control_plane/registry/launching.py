"""From a function, as FC spells it, to what a node needs to start one instance of it. Pure."""

from __future__ import annotations

import json
from typing import Final

from control_plane import nas
from control_plane.model import Function, HealthCheckConfig, Service
from control_plane.registry.routes import common_headers
from control_plane.stoke_fields import function_traffic as function_settings
from runtime.mounts import to_dicts
from runtime.node_contract import LaunchSpec

# A GPU function that names no gpuMemorySize gets a whole card: some FC clients cannot send the field.
CARD_MEMORY_MIB: Final = {
    "g1": 16_384,
    "fc.gpu.tesla.1": 16_384,
    "fc.gpu.ampere.1": 24_576,
    "fc.gpu.ada.1": 49_152,
}
CUSTOM_COMMAND: Final = ("./bootstrap",)  # what FC runs of a custom runtime's code when no command is given
_PORT: Final = 9000
_HOOK_TIMEOUT_S: Final = 3  # FC's default for the initializer and the pre-stop hook


def launch_spec(
    function: Function,
    version: str,
    instance_id: str,
    *,
    region: str,
    account_id: str,
    service: Service | None = None,
) -> LaunchSpec:
    """`service` adds the log project and store to the headers, and what is mounted; without it there is neither."""
    mounted = nas.of_service(service)
    container = function.custom_container_config if function.runtime == "custom-container" else None
    lifecycle = function.instance_lifecycle_config
    pre_stop = lifecycle.pre_stop if lifecycle is not None else None
    health = function.custom_health_check_config
    probe = health or HealthCheckConfig()
    return LaunchSpec(
        instance_id=instance_id,
        service=function.service_name,
        function=function.function_name,
        version=version,
        revision=nas.revision(function, service),
        runtime=_runtime(function.runtime),
        handler=function.handler,
        command=_command(function),
        args=_parts(container.args) if container is not None else [],
        image=container.image if container is not None else "",
        code_sha256=function.code_sha256,
        environment=dict(function.environment_variables or {}),
        headers=common_headers(function, version, service, region=region, account_id=account_id),
        instance_concurrency=function.instance_concurrency,
        timeout_s=float(function.timeout),
        ca_port=function.ca_port or _PORT,
        memory_mib=function.memory_size,
        cpu=function.cpu or 0.0,
        gpu_memory_mib=gpu_memory_mib(function),
        initializer=function.initializer or "",
        initialization_timeout_s=float(function.initialization_timeout or _HOOK_TIMEOUT_S),
        pre_stop=(pre_stop.handler or "") if pre_stop is not None else "",
        pre_stop_timeout_s=float((pre_stop.timeout if pre_stop is not None else None) or _HOOK_TIMEOUT_S),
        import_before_fork=function_settings(function.model_extra).import_before_fork,
        health_path=health.http_get_url if health is not None else "",
        health_initial_delay_s=float(probe.initial_delay_seconds),
        health_period_s=float(probe.period_seconds),
        health_timeout_s=float(probe.timeout_seconds),
        health_failure_threshold=probe.failure_threshold,
        health_success_threshold=probe.success_threshold,
        mounts=to_dicts(mounted.mounts),
        user_id=mounted.user_id,
        group_id=mounted.group_id,
    )


def gpu_memory_mib(function: Function) -> int:
    """What the function takes of a card: what it says, else the whole card of its GPU type, else nothing."""
    if function.gpu_memory_size is not None:
        return function.gpu_memory_size
    return CARD_MEMORY_MIB.get(function.instance_type or "", 0)


def _runtime(runtime: str) -> str:
    """`custom.debian10` and its like differ from `custom` in FC's base image alone; here the machine is the base."""
    return "custom" if runtime.startswith("custom.") else runtime


def _command(function: Function) -> list[str]:
    if function.runtime == "custom-container":
        container = function.custom_container_config
        return _parts(container.command) if container is not None else []
    if not function.runtime.startswith("custom"):
        return []
    config = function.custom_runtime_config
    command = (config.command if config is not None else None) or list(CUSTOM_COMMAND)
    return [*command, *((config.args if config is not None else None) or [])]


def _parts(text: str | None) -> list[str]:
    """FC 2.0 spells a container's command and arguments as JSON arrays in strings; other text is one argument."""
    if not text:
        return []
    try:
        value = json.loads(text)
    except ValueError:
        return [text]
    return [str(part) for part in value] if isinstance(value, list) else [text]
