"""Edition 1.0.0: `services`, each with `component: fc` (or devsapp/fc) and a service, a function and its triggers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from control_plane.cli import manifest_async, manifest_domains
from control_plane.cli import manifest_entries as entries
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
from control_plane.cli.manifest_mounts import put_mounts
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

    def read_entry(key: str, value: Any) -> FunctionPlan | None:
        return _Entry(key, source, problems, folder).read(value)

    return entries.read_all(top, "services", TOP_1, "service", read_entry, problems)


class _Entry:
    """One entry under `services`."""

    def __init__(self, key: str, source: Source, problems: Problems, folder: Path) -> None:
        self._key = key
        self._path: FieldPath = ("services", key)
        self._source = source
        self._problems = problems
        self._folder = folder

    def read(self, value: Any) -> FunctionPlan | None:
        entry, component = entries.component_of(value, ENTRY_1, self._path, self._problems)
        if component not in COMPONENTS:
            self._problems.add(
                (*self._path, "component"),
                f"{shown(entry.get('component'))} is not allowed: must be one of {', '.join(COMPONENTS)}",
            )
            return None
        path: FieldPath = (*self._path, "props")
        props = entries.checked(self._problems.mapping(entry.get("props"), path), PROPS_1, path, self._problems)
        missing = [name for name in ("service", "function") if not isinstance(props.get(name), dict)]
        for name in missing:
            self._problems.add(path, f"the field {name} is required: a mapping with at least a name")
        if missing:
            return None
        service = self._service(props["service"], (*path, "service"))
        function, code = self._function(props["function"], service["serviceName"], (*path, "function"))
        triggers = entries.triggers(props.get("triggers"), (*path, "triggers"), self._trigger, self._problems)
        context = parts.build_context(props["function"].get("codeUri"), function.get("runtime") or "", self._folder)
        return FunctionPlan(
            self._key,
            service,
            function,
            triggers,
            code,
            context=context,
            async_invoke=manifest_async.configuration(
                props["function"].get("asyncConfiguration"),
                (*path, "function", "asyncConfiguration"),
                self._problems,
            ),
            domains=manifest_domains.of_service_function(
                props.get("customDomains"),
                (service["serviceName"], function["functionName"]),
                (*path, "customDomains"),
                self._problems,
            ),
        )

    def _service(self, value: dict[str, Any], path: FieldPath) -> dict[str, Any]:
        entries.checked(value, SERVICE_1, path, self._problems)
        parts.check_nested(
            {k: v for k, v in value.items() if v != "auto"}, {"logConfig": LOG_CONFIG}, path, self._problems
        )
        name = self._problems.text(value, "name", path)
        # "auto" asks FC's component to create what is needed in the cloud; there is nothing to create here.
        rest = {key: item for key, item in value.items() if key != "name" and item != "auto"}
        body = {"serviceName": name, "description": "", "internetAccess": True, **rest}
        put_mounts(body, value.get("nasConfig"), (*path, "nasConfig"), self._problems)
        if name:
            self._problems.validate(Service, body, path, {"serviceName": ("name",)})
        return body

    def _function(self, value: dict[str, Any], service: str, path: FieldPath) -> tuple[dict[str, Any], Path | None]:
        entries.checked(value, FUNCTION_1, path, self._problems)
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
        own = ("name", "codeUri", "ossBucket", "ossKey", "asyncConfiguration")
        rest = {k: v for k, v in value.items() if k not in own and v is not None}
        body = {"functionName": name, "handler": "not-used", **parts.FUNCTION_DEFAULTS, **rest}
        body["environmentVariables"] = parts.environment_variables(
            value.get("environmentVariables"), (*path, "environmentVariables"), self._source, self._problems
        )
        if name and runtime:
            self._problems.validate(
                Function, {**body, "serviceName": service or "_"}, path, {"functionName": ("name",)}
            )
        return body, code

    def _trigger(self, value: Any, path: FieldPath) -> dict[str, Any]:
        trigger = self._problems.mapping(value, path)
        self._problems.known_fields(trigger, TRIGGER_1, path)
        return entries.trigger(trigger, trigger.get("config"), _TRIGGER_SPELLED, path, self._problems)
