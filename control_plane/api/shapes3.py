"""A function as FC 3.0 spells it, to and from the records that both APIs share. Pure.

FC 3.0 groups what belongs to the GPU, the container and the life of an instance, and has with the function what FC 2.0
has with its service.
"""

from __future__ import annotations

import json
from typing import Any, Final

from control_plane.errors import InvalidArgument
from control_plane.model import Function, Service
from control_plane.registry_auth import masked
from runtime.node_contract import CodeEnvironment

SERVICE_FIELDS: Final = (
    "role",
    "internetAccess",
    "logConfig",
    "vpcConfig",
    "nasConfig",
    "ossMountConfig",
    "tracingConfig",
)
PLAIN_TYPES: Final = ("e1", "c1")  # instance types without a GPU
GROUPS: Final = ("gpuConfig", "customContainerConfig", "customRuntimeConfig", "instanceLifecycleConfig")
_MADE_HERE: Final = frozenset(
    {
        "functionArn",
        "state",
        "stateReason",
        "stateReasonCode",
        "lastUpdateStatus",
        "lastUpdateStatusReason",
        "lastUpdateStatusReasonCode",
        "invocationRestriction",
    }
)
# FC 2.0's spelling of what stands in a group in FC 3.0.
UNGROUPED: Final = frozenset(
    {
        "instanceType",
        "gpuMemorySize",
        "caPort",
        "customHealthCheckConfig",
        "initializer",
        "initializationTimeout",
        "instanceSoftConcurrency",
    }
)
_OWN_OF_CONTAINER: Final = ("port", "healthCheckConfig", "entrypoint", "command")


def to_records(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A body of FC 3.0 as bodies of FC 2.0: the function's, and what goes to its service.

    A group that is given replaces all that FC 2.0 has of it, so an empty one, or null, resets it: the value is None.

    Raises:
        InvalidArgument: a group is no object.
    """
    service: dict[str, Any] = {key: given[key] for key in SERVICE_FIELDS if key in given}
    function = {
        key: value for key, value in given.items() if key not in {*SERVICE_FIELDS, *GROUPS, *_MADE_HERE, *UNGROUPED}
    }
    groups: dict[str, dict[str, Any]] = {key: _group(given, key) for key in GROUPS if key in given}
    if "gpuConfig" in groups:
        _read_gpu(groups["gpuConfig"], function)
    if "customContainerConfig" in groups:
        _read_container(groups["customContainerConfig"], function)
    if "customRuntimeConfig" in groups:
        _read_runtime(groups["customRuntimeConfig"], function)
    if "instanceLifecycleConfig" in groups:
        _read_lifecycle(groups["instanceLifecycleConfig"], function)
    _read_port_and_health(groups, function)
    return function, service


def in_own_words(message: str, given: dict[str, Any]) -> str:
    """What is wrong with a field of FC 2.0, told of the field of FC 3.0 that the client has given."""
    field, is_, rest = message.partition(" is ")
    first, dot, below = field.partition(".")
    port_of = "customContainerConfig" if given.get("customContainerConfig") else "customRuntimeConfig"
    spelled = {
        "instanceType": "gpuConfig.gpuType",
        "gpuMemorySize": "gpuConfig.gpuMemorySize",
        "caPort": f"{port_of}.port",
        "customHealthCheckConfig": f"{port_of}.healthCheckConfig",
        "initializer": "instanceLifecycleConfig.initializer.handler",
        "initializationTimeout": "instanceLifecycleConfig.initializer.timeout",
    }
    return f"{spelled.get(first, first)}{dot}{below}{is_}{rest}"


def shown(function: Function, service: Service, name: str, arn: str) -> dict[str, Any]:
    """The function as FC 3.0 spells it, but for its `progress`."""
    values = masked(function.model_dump(mode="json", by_alias=True, exclude={"code_sha256", "service_name"}))
    owner = service.model_dump(mode="json", by_alias=True)
    reply = {key: value for key, value in values.items() if key not in {*GROUPS, *UNGROUPED}}
    reply |= {key: owner[key] for key in SERVICE_FIELDS if owner.get(key) is not None}
    reply |= {
        "functionName": name,
        "functionArn": arn,
        "layers": values.get("layers") or [],
    }
    if function.instance_type not in (None, *PLAIN_TYPES):
        reply["gpuConfig"] = _without_none(
            {"gpuType": function.instance_type, "gpuMemorySize": function.gpu_memory_size}
        )
    _show_container(values, reply)
    _show_lifecycle(values, reply)
    return _without_none(reply)


def progress(function: Function, environment: CodeEnvironment) -> dict[str, Any]:
    """How far it is: stored at once, but its environment may still be being made, or have failed."""
    is_new = function.created_time == function.last_modified_time
    if environment.state == "building":
        return {"state": "Pending" if is_new else "Active", "lastUpdateStatus": "InProgress"}
    if environment.state == "failed":
        why = f"requirements.txt cannot be installed: {environment.reason}"
        reply = {
            "state": "Failed" if is_new else "Active",
            "lastUpdateStatus": "Failed",
            "lastUpdateStatusReason": why,
            "lastUpdateStatusReasonCode": "InvalidArgument",
        }
        return reply | ({"stateReason": why, "stateReasonCode": "InvalidArgument"} if is_new else {})
    return {"state": "Active", "lastUpdateStatus": "Successful"}


def _group(given: dict[str, Any], key: str) -> dict[str, Any]:
    group = given[key]
    if group is None:
        return {}
    if not isinstance(group, dict):
        raise InvalidArgument(f"{key} is {json.dumps(group)[:80]}: must be an object")
    return group


def _read_gpu(gpu: dict[str, Any], function: dict[str, Any]) -> None:
    function["instanceType"] = gpu.get("gpuType") or "e1"
    function["gpuMemorySize"] = gpu.get("gpuMemorySize")


def _read_container(config: dict[str, Any], function: dict[str, Any]) -> None:
    """FC 3.0's entrypoint and command are FC 2.0's command and args, there JSON lists inside a text."""
    container = {key: value for key, value in config.items() if key not in _OWN_OF_CONTAINER}
    for ours, theirs in (("command", "entrypoint"), ("args", "command")):
        if config.get(theirs):
            container[ours] = json.dumps(_texts(config[theirs], f"customContainerConfig.{theirs}"))
    function["customContainerConfig"] = container or None


def _read_runtime(config: dict[str, Any], function: dict[str, Any]) -> None:
    function["customRuntimeConfig"] = {
        key: value for key, value in config.items() if key not in ("port", "healthCheckConfig")
    } or None


def _read_port_and_health(groups: dict[str, dict[str, Any]], function: dict[str, Any]) -> None:
    """Both groups have them; a function uses one of the groups, and the other may be given as empty."""
    given = [groups[key] for key in ("customContainerConfig", "customRuntimeConfig") if key in groups]
    if given:
        used = next(filter(None, given), {})
        function["caPort"] = used.get("port")
        function["customHealthCheckConfig"] = used.get("healthCheckConfig") or None


def _read_lifecycle(config: dict[str, Any], function: dict[str, Any]) -> None:
    """A hook may name a command in place of a handler; here a hook is a path of the server, called when it is set."""
    for key, hook in config.items():
        if not isinstance(hook, dict):
            raise InvalidArgument(f"instanceLifecycleConfig.{key} is {json.dumps(hook)[:80]}: must be an object")
    initializer = config.get("initializer") or {}
    is_set = bool(initializer.get("handler") or initializer.get("command"))
    function["initializer"] = (initializer.get("handler") or "initialize") if is_set else None
    function["initializationTimeout"] = initializer.get("timeout") or 3
    function["instanceLifecycleConfig"] = config or None


def _show_container(values: dict[str, Any], reply: dict[str, Any]) -> None:
    port_and_health = _without_none({"port": values["caPort"], "healthCheckConfig": values["customHealthCheckConfig"]})
    container = values.get("customContainerConfig")
    if container is not None:
        lists = {"entrypoint": _parts(container["command"]), "command": _parts(container["args"])}
        rest = {key: value for key, value in container.items() if key not in ("command", "args")}
        reply["customContainerConfig"] = _without_none(rest | lists | port_and_health)
    elif values["runtime"].startswith("custom"):
        reply["customRuntimeConfig"] = _without_none((values.get("customRuntimeConfig") or {}) | port_and_health)


def _show_lifecycle(values: dict[str, Any], reply: dict[str, Any]) -> None:
    config: dict[str, Any] = values.get("instanceLifecycleConfig") or {}
    shown = {key: _without_none(hook) for key, hook in config.items() if hook and key != "initializer"}
    if values["initializer"]:
        kept = config.get("initializer") or {}
        now = {"timeout": values["initializationTimeout"]}
        if not kept.get("command"):
            now["handler"] = values["initializer"]
        shown["initializer"] = kept | now
    if shown:
        reply["instanceLifecycleConfig"] = shown


def _texts(value: Any, field: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise InvalidArgument(f"{field} is {json.dumps(value)[:80]}: must be a list of strings")
    return value


def _parts(text: str | None) -> list[str] | None:
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return [text]
    return [str(part) for part in value] if isinstance(value, list) else [text]


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
