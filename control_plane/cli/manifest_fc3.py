"""Edition 3.0.0: `resources`, each with `component: fc3` and a function in its props, or fc3-domain and a domain.

FC 3.0 has no services: role, logs, network, versions and aliases belong to the function. In the FC 2.0 tree they
belong to the service, so each function gets a service of its own, of the same name; nothing is shared that FC 3.0
does not share. A name with a dollar sign, as FC 3.0 shows functions of FC 2.0 (`service$function`), is split there.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from control_plane.cli import manifest_async, manifest_domains
from control_plane.cli import manifest_entries as entries
from control_plane.cli import manifest_parts as parts
from control_plane.cli.manifest_fields import ENTRY_3, HOOKS_3, LOG_CONFIG, NESTED_3, PROPS_3, TOP_3, TRIGGER_3
from control_plane.cli.manifest_mounts import put_mounts
from control_plane.cli.plans import DomainPlan, FunctionPlan
from control_plane.cli.problems import Problems, shown
from control_plane.cli.yaml_source import Path as FieldPath
from control_plane.cli.yaml_source import Source
from control_plane.model import Function, Service

COMPONENT: Final = "fc3"
DOMAIN_COMPONENT: Final = "fc3-domain"
_SERVICE_FIELDS: Final = ("role", "internetAccess", "logConfig", "vpcConfig", "nasConfig", "tracingConfig")
_SAME_FIELDS: Final = (
    "runtime",
    "handler",
    "description",
    "cpu",
    "memorySize",
    "diskSize",
    "timeout",
    "instanceConcurrency",
    "disableOndemand",
    "stoke",
)
_TRIGGER_SPELLED: Final = {name: name for name in ("triggerName", "triggerType", "triggerConfig", "invocationRole")}


def read(
    top: dict[str, Any], source: Source, problems: Problems, folder: Path
) -> tuple[FunctionPlan | DomainPlan, ...]:
    """All entries under `resources`; problems are added to `problems`, and only without any is the result whole."""

    def read_entry(key: str, value: Any) -> FunctionPlan | DomainPlan | None:
        return _Entry(key, source, problems, folder).read(value)

    return entries.read_all(top, "resources", TOP_3, "function", read_entry, problems)


class _Entry:
    """One entry under `resources`."""

    def __init__(self, key: str, source: Source, problems: Problems, folder: Path) -> None:
        self._key = key
        self._path: FieldPath = ("resources", key, "props")
        self._source = source
        self._problems = problems
        self._folder = folder

    def read(self, value: Any) -> FunctionPlan | DomainPlan | None:
        outer: FieldPath = ("resources", self._key)
        entry, component = entries.component_of(value, ENTRY_3, outer, self._problems)
        kind = component.rpartition("/")[2]
        if kind == DOMAIN_COMPONENT:
            return manifest_domains.of_component(self._key, entry.get("props"), self._path, self._problems)
        if kind != COMPONENT:
            allowed = f"must be {COMPONENT} or {DOMAIN_COMPONENT}"
            self._problems.add((*outer, "component"), f"{shown(entry.get('component'))} is not allowed: {allowed}")
            return None
        props = self._problems.mapping(entry.get("props"), self._path)
        self._check_fields(props)
        service_name, function_name = self._names(props)
        runtime = self._problems.text(props, "runtime", self._path)
        parts.check_runtime(runtime, props.get("handler"), self._path, self._problems)
        return FunctionPlan(
            key=self._key,
            service=self._service(props, service_name),
            function=self._function(props, service_name, function_name),
            triggers=entries.triggers(props.get("triggers"), (*self._path, "triggers"), self._trigger, self._problems),
            code=self._code(props.get("code"), runtime),
            provision=self._provision(props.get("provisionConfig")),
            context=parts.build_context(props.get("code"), runtime, self._folder),
            async_invoke=manifest_async.invoke_config(
                props.get("asyncInvokeConfig"), (*self._path, "asyncInvokeConfig"), self._problems
            ),
            domains=manifest_domains.of_function(
                props.get("customDomain"),
                (service_name, function_name),
                (*self._path, "customDomain"),
                self._problems,
            ),
        )

    def _check_fields(self, props: dict[str, Any]) -> None:
        entries.checked(props, PROPS_3, self._path, self._problems)
        parts.check_nested(props, NESTED_3, self._path, self._problems)
        if isinstance(props.get("logConfig"), dict):
            parts.check_nested(props, {"logConfig": LOG_CONFIG}, self._path, self._problems)
        if isinstance(props.get("instanceLifecycleConfig"), dict):
            where = (*self._path, "instanceLifecycleConfig")
            parts.check_nested(props["instanceLifecycleConfig"], HOOKS_3, where, self._problems)
        if "scalingConfig" in props:
            self._problems.add((*self._path, "scalingConfig"), "not supported: use provisionConfig")

    def _names(self, props: dict[str, Any]) -> tuple[str, str]:
        name = self._problems.text(props, "functionName", self._path)
        service, dollar, function = name.partition("$")
        return (service, function) if dollar else (name, name)

    def _service(self, props: dict[str, Any], name: str) -> dict[str, Any]:
        rest = {key: props[key] for key in _SERVICE_FIELDS if props.get(key) not in (None, "auto")}
        body = {"serviceName": name, "description": "", "internetAccess": True, **rest}
        put_mounts(body, props.get("nasConfig"), (*self._path, "nasConfig"), self._problems)
        if name:
            self._problems.validate(Service, body, self._path, {"serviceName": ("functionName",)})
        return body

    def _function(self, props: dict[str, Any], service: str, name: str) -> dict[str, Any]:
        same = {key: props[key] for key in _SAME_FIELDS if props.get(key) is not None}
        body = {"functionName": name, "handler": "not-used", **parts.FUNCTION_DEFAULTS, **same}
        renamed: dict[str, FieldPath] = {"functionName": ("functionName",)}
        _gpu(_dict(props, "gpuConfig"), body, renamed)
        _container(_dict(props, "customContainerConfig"), body, renamed)
        _custom(_dict(props, "customRuntimeConfig"), body, renamed)
        _lifecycle(_dict(props, "instanceLifecycleConfig"), body, renamed)
        body["environmentVariables"] = parts.environment_variables(
            props.get("environmentVariables"), (*self._path, "environmentVariables"), self._source, self._problems
        )
        if name and props.get("runtime"):
            self._problems.validate(Function, {**body, "serviceName": service}, self._path, renamed)
        return body

    def _code(self, value: Any, runtime: str) -> Path | None:
        path: FieldPath = (*self._path, "code")
        if isinstance(value, dict) and ("ossBucketName" in value or "ossObjectName" in value):
            self._problems.add(path, "not supported: there is no object store here; name a folder or a .zip")
            return None
        return parts.code_path(value, runtime, path, self._folder, self._problems)

    def _trigger(self, value: Any, path: FieldPath) -> dict[str, Any]:
        trigger = self._problems.mapping(value, path)
        self._problems.known_fields(trigger, TRIGGER_3, path)
        config = trigger.get("triggerConfig")
        if isinstance(config, str):  # the API's own spelling; s.yaml files have a mapping
            try:
                config = json.loads(config)
            except ValueError:
                self._problems.add((*path, "triggerConfig"), f"{shown(config)} is not allowed: must be a mapping")
        return entries.trigger(trigger, config, _TRIGGER_SPELLED, path, self._problems)

    def _provision(self, value: Any) -> dict[str, dict[str, Any]]:
        if value is None:
            return {}
        path: FieldPath = (*self._path, "provisionConfig")
        config = dict(self._problems.mapping(value, path))
        qualifier = str(config.pop("qualifier", None) or "LATEST")
        mode = config.pop("mode", "sync")
        if mode != "sync":
            self._problems.add((*path, "mode"), f"{shown(mode)} is not allowed: must be sync")
        # FC 2.0's API wants `target`; FC 3.0's files usually have `defaultTarget` alone.
        config.setdefault("target", config.get("defaultTarget") or 0)
        _check_provision(config, path, self._problems)
        return {qualifier: config}


def _check_provision(config: dict[str, Any], path: FieldPath, problems: Problems) -> None:
    """`provision` says what is wrong as "targetTrackingPolicies[0].metricTarget is 1.5: …", a line each."""
    from provision.config import parse, unknown_fields
    from provision.problems import ConfigError

    lines = unknown_fields(config)
    try:
        parse(config)
    except ConfigError as error:
        lines += str(error).splitlines()
    for line in lines:
        field, _, rest = line.partition(" ")
        steps = (int(step[1:-1]) if step.startswith("[") else step for step in re.findall(r"\w+|\[\d+\]", field))
        problems.add((*path, *steps), rest)


def _dict(props: dict[str, Any], key: str) -> dict[str, Any]:
    value = props.get(key)
    return value if isinstance(value, dict) else {}


def _gpu(gpu: dict[str, Any], body: dict[str, Any], renamed: dict[str, FieldPath]) -> None:
    if gpu.get("gpuType") is not None:
        body["instanceType"] = gpu["gpuType"]
        renamed["instanceType"] = ("gpuConfig", "gpuType")
    if gpu.get("gpuMemorySize") is not None:
        body["gpuMemorySize"] = gpu["gpuMemorySize"]
        renamed["gpuMemorySize"] = ("gpuConfig", "gpuMemorySize")


def _port_and_health(config: dict[str, Any], name: str, body: dict[str, Any], renamed: dict[str, FieldPath]) -> None:
    if config.get("port") is not None:
        body["caPort"] = config["port"]
        renamed["caPort"] = (name, "port")
    if config.get("healthCheckConfig") is not None:
        body["customHealthCheckConfig"] = config["healthCheckConfig"]
        renamed["customHealthCheckConfig"] = (name, "healthCheckConfig")


def _container(config: dict[str, Any], body: dict[str, Any], renamed: dict[str, FieldPath]) -> None:
    """FC 3.0's entrypoint and command are FC 2.0's command and args, there JSON lists inside a text."""
    if not config:
        return
    own = ("port", "healthCheckConfig", "entrypoint", "command")
    container = {key: value for key, value in config.items() if key not in own}
    for ours, theirs in (("command", "entrypoint"), ("args", "command")):
        if config.get(theirs) is not None:
            container[ours] = json.dumps(config[theirs])
    body["customContainerConfig"] = container
    _port_and_health(config, "customContainerConfig", body, renamed)


def _custom(config: dict[str, Any], body: dict[str, Any], renamed: dict[str, FieldPath]) -> None:
    if not config:
        return
    body["customRuntimeConfig"] = {key: config[key] for key in ("command", "args") if config.get(key) is not None}
    _port_and_health(config, "customRuntimeConfig", body, renamed)


def _lifecycle(config: dict[str, Any], body: dict[str, Any], renamed: dict[str, FieldPath]) -> None:
    initializer = _dict(config, "initializer")
    if initializer:
        body["initializer"] = initializer.get("handler") or "initialize"
        renamed["initializer"] = ("instanceLifecycleConfig", "initializer", "handler")
        if initializer.get("timeout") is not None:
            body["initializationTimeout"] = initializer["timeout"]
            renamed["initializationTimeout"] = ("instanceLifecycleConfig", "initializer", "timeout")
    if config.get("preStop") is not None:
        body["instanceLifecycleConfig"] = {"preStop": config["preStop"]}
