"""Edition 1.0.0: `services`, each with `component: fc` (or devsapp/fc) and a service, a function and its triggers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from control_plane.cli import manifest_parts as parts
from control_plane.cli.manifest_fields import (
    ENTRY_1,
    FUNCTION_1,
    HOOKS_1,
    LOG_CONFIG,
    NESTED_1,
    PROPS_1,
    SERVICE_1,
    TOP_1,
    TRIGGER_1,
)
from control_plane.cli.plans import FunctionPlan
from control_plane.cli.problems import Problems, shown
from control_plane.cli.yaml_source import Path as FieldPath
from control_plane.cli.yaml_source import Source
from control_plane.model import Function, Service

COMPONENTS: Final = ("fc", "devsapp/fc")
_TRIGGER_SPELLED: Final = {
    "triggerName": "name",
    "triggerType": "type",
    "triggerConfig": "config",
    "invocationRole": "role",
}


def read(top: dict[str, Any], source: Source, problems: Problems, folder: Path) -> tuple[FunctionPlan, ...]:
    """All entries under `services`; problems are added to `problems`, and only without any is the result whole."""
    problems.known_fields(top, TOP_1, ())
    parts.note_without_effect(top, (), problems)
    services = problems.mapping(top.get("services"), ("services",)) if "services" in top else {}
    if not services:
        problems.add((), "services is required: a mapping of at least one service")
    plans = [_Entry(key, source, problems, folder).read(value) for key, value in services.items()]
    return tuple(plan for plan in plans if plan is not None)


class _Entry:
    """One entry under `services`."""

    def __init__(self, key: str, source: Source, problems: Problems, folder: Path) -> None:
        self._key = key
        self._path: FieldPath = ("services", key)
        self._source = source
        self._problems = problems
        self._folder = folder

    def read(self, value: Any) -> FunctionPlan | None:
        entry = self._problems.mapping(value, self._path)
        self._problems.known_fields(entry, ENTRY_1, self._path)
        parts.note_without_effect(entry, self._path, self._problems)
        component = str(entry.get("component") or "").partition("@")[0]  # a component may be pinned: fc@0.1.35
        if component not in COMPONENTS:
            self._problems.add(
                (*self._path, "component"),
                f"{shown(entry.get('component'))} is not allowed: must be one of {', '.join(COMPONENTS)}",
            )
            return None
        path: FieldPath = (*self._path, "props")
        props = self._problems.mapping(entry.get("props"), path)
        self._problems.known_fields(props, PROPS_1, path)
        parts.note_without_effect(props, path, self._problems)
        missing = [name for name in ("service", "function") if not isinstance(props.get(name), dict)]
        for name in missing:
            self._problems.add(path, f"the field {name} is required: a mapping with at least a name")
        if missing:
            return None
        service = self._service(props["service"], (*path, "service"))
        function, code = self._function(props["function"], service["serviceName"], (*path, "function"))
        return FunctionPlan(self._key, service, function, self._triggers(props.get("triggers"), path), code)

    def _service(self, value: dict[str, Any], path: FieldPath) -> dict[str, Any]:
        self._problems.known_fields(value, SERVICE_1, path)
        parts.note_without_effect(value, path, self._problems)
        parts.check_nested(
            {k: v for k, v in value.items() if v != "auto"}, {"logConfig": LOG_CONFIG}, path, self._problems
        )
        name = self._problems.text(value, "name", path)
        # "auto" asks FC's component to create what is needed in the cloud; there is nothing to create here.
        rest = {key: item for key, item in value.items() if key != "name" and item != "auto"}
        body = {"serviceName": name, "description": "", "internetAccess": True, **rest}
        if name:
            self._problems.validate(Service, body, path, {"serviceName": ("name",)})
        return body

    def _function(self, value: dict[str, Any], service: str, path: FieldPath) -> tuple[dict[str, Any], Path | None]:
        self._problems.known_fields(value, FUNCTION_1, path)
        parts.note_without_effect(value, path, self._problems)
        parts.check_nested(value, NESTED_1, path, self._problems)
        if isinstance(value.get("instanceLifecycleConfig"), dict):
            where = (*path, "instanceLifecycleConfig")
            parts.check_nested(value["instanceLifecycleConfig"], HOOKS_1, where, self._problems)
        for key in ("ossBucket", "ossKey"):
            if key in value:
                self._problems.add((*path, key), "not supported: there is no object store here; use codeUri")
        name = self._problems.text(value, "name", path)
        runtime = self._problems.text(value, "runtime", path)
        parts.check_runtime(runtime, value.get("handler"), path, self._problems)
        code = parts.code_path(value.get("codeUri"), runtime, (*path, "codeUri"), self._folder, self._problems)
        rest = {k: v for k, v in value.items() if k not in ("name", "codeUri", "ossBucket", "ossKey") and v is not None}
        body = {"functionName": name, "handler": "not-used", **parts.FUNCTION_DEFAULTS, **rest}
        body["environmentVariables"] = parts.environment_variables(
            value.get("environmentVariables"), (*path, "environmentVariables"), self._source, self._problems
        )
        if name and runtime:
            self._problems.validate(
                Function, {**body, "serviceName": service or "_"}, path, {"functionName": ("name",)}
            )
        return body, code

    def _triggers(self, value: Any, props_path: FieldPath) -> tuple[dict[str, Any], ...]:
        path: FieldPath = (*props_path, "triggers")
        if value is None:
            return ()
        if not isinstance(value, list):
            self._problems.add(path, f"{shown(value)} is not allowed: must be a list")
            return ()
        return tuple(self._trigger(item, (*path, index)) for index, item in enumerate(value))

    def _trigger(self, value: Any, path: FieldPath) -> dict[str, Any]:
        trigger = self._problems.mapping(value, path)
        self._problems.known_fields(trigger, TRIGGER_1, path)
        body = {
            "triggerName": self._problems.text(trigger, "name", path),
            "triggerType": self._problems.text(trigger, "type", path),
            "triggerConfig": trigger.get("config"),
            "qualifier": str(trigger.get("qualifier") or "LATEST"),
            "description": trigger.get("description") or "",
            "sourceArn": trigger.get("sourceArn"),
            "invocationRole": trigger.get("role"),
        }
        return parts.http_trigger(body, path, _TRIGGER_SPELLED, self._problems)
