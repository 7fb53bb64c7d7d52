"""What both editions of s.yaml have in common: runtimes, environment variables, code folders, http triggers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from control_plane.cli.manifest_fields import HTTP_CONFIG, NO_EFFECT
from control_plane.cli.problems import Problems, shown
from control_plane.cli.yaml_source import Path as FieldPath
from control_plane.cli.yaml_source import Source
from control_plane.model import Trigger

RUNTIMES: Final = "python3, python3.x (as python3.11), custom, custom.debian10 and its like, custom-container"
_RUNTIME: Final = re.compile(r"python3(\.\d+)?|custom(\.[a-z0-9]+)?|custom-container")
_HANDLER: Final = re.compile(r"[A-Za-z_][\w./-]*\.[A-Za-z_]\w*")

# Sent when the file does not say, so that a field taken out of the file goes back to its default on the next deploy;
# as null, in updates alone, where the default is to have none (FUNCTION_UNSET, SERVICE_UNSET).
# memorySize: FC's old component puts 128 MB, in which no ONNX model loads; 512 is what FC 3.0 puts.
FUNCTION_DEFAULTS: Final[dict[str, Any]] = {
    "description": "",
    "memorySize": 512,
    "timeout": 3,
    "instanceConcurrency": 1,
    "instanceType": "e1",
    "caPort": 9000,
    "environmentVariables": {},
    "initializer": "",
    "initializationTimeout": 3,
    "customRuntimeConfig": {},
    "instanceLifecycleConfig": {},
    "disableOndemand": False,
}
FUNCTION_UNSET: Final = (
    "cpu",
    "diskSize",
    "gpuMemorySize",
    "instanceSoftConcurrency",
    "customContainerConfig",
    "customHealthCheckConfig",
    "customDNS",
    "layers",
    "stoke",
)
SERVICE_UNSET: Final = ("role", "logConfig", "vpcConfig", "nasConfig", "ossMountConfig", "tracingConfig")


def note_without_effect(value: dict[str, Any], path: FieldPath, problems: Problems) -> None:
    for key, item in value.items():
        if key in NO_EFFECT and item not in (None, {}, [], "auto"):
            problems.note((*path, key), NO_EFFECT[key])


def check_nested(
    value: dict[str, Any], allowed: dict[str, frozenset[str]], path: FieldPath, problems: Problems
) -> None:
    """Unknown fields of the mappings inside `value` that `allowed` describes."""
    for key, fields in allowed.items():
        if value.get(key) is not None:
            nested = problems.mapping(value[key], (*path, key))
            problems.known_fields(nested, fields, (*path, key))
            note_without_effect(nested, (*path, key), problems)


def check_runtime(runtime: str, handler: Any, path: FieldPath, problems: Problems) -> None:
    if runtime and not _RUNTIME.fullmatch(runtime):
        problems.add((*path, "runtime"), f"{shown(runtime)} is not allowed: must be one of {RUNTIMES}")
    elif runtime.startswith("python") and not (isinstance(handler, str) and _HANDLER.fullmatch(handler)):
        where = (*path, "handler") if handler is not None else path
        what = f"{shown(handler)} is not allowed" if handler is not None else "the field handler is required"
        problems.add(where, f"{what}: must be module.attribute (as app.app) for the runtime {runtime}")


def environment_variables(value: Any, path: FieldPath, source: Source, problems: Problems) -> dict[str, str]:
    """Values are texts; a number or true/false is taken as it is spelled in the file (`1.10` stays `1.10`)."""
    texts: dict[str, str] = {}
    for name, item in problems.mapping(value, path).items() if value is not None else ():
        place = (*path, name)
        if isinstance(item, str):
            texts[name] = item
        elif item is None or isinstance(item, bool | int | float):
            written = source.texts.get(place)
            texts[name] = written if written is not None and "${" not in written else _spelled(item)
        else:
            problems.add(place, f"{shown(item)} is not allowed: must be a text")
    return texts


def _spelled(value: bool | float | None) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def code_path(value: Any, runtime: str, path: FieldPath, folder: Path, problems: Problems) -> Path | None:
    """The folder or zip file that `codeUri` (or `code`) names, relative to the s.yaml.

    A python function needs one; a custom one may run a command that its machine has; a container brings its own.
    """
    if isinstance(value, dict):
        value, path = value.get("src"), (*path, "src")
    if runtime.startswith("custom-container"):
        return None
    if value is None:
        if runtime.startswith("python"):
            problems.add(path[:-1], f"the field {path[-1]} is required for the runtime {runtime}: a folder or a .zip")
        return None
    if not isinstance(value, str) or not value:
        problems.add(path, f"{shown(value)} is not allowed: must be a folder or a .zip, relative to the s.yaml")
        return None
    found = (folder / value).resolve()
    if found.is_dir() or (found.is_file() and found.suffix in (".zip", ".jar")):
        return found
    what = "is neither a folder nor a .zip file" if found.exists() else "does not exist"
    problems.add(path, f"{shown(value)} {what} (looked for {found})")
    return None


def build_context(value: Any, runtime: str, folder: Path) -> Path | None:
    """The folder that a container's `codeUri` (or `code`) names: what its image is built from, if it is here at all."""
    if isinstance(value, dict):
        value = value.get("src")
    if not runtime.startswith("custom-container") or not isinstance(value, str) or not value:
        return None
    found = (folder / value).resolve()
    return found if found.is_dir() else None


def http_trigger(body: dict[str, Any], path: FieldPath, spelled: dict[str, str], problems: Problems) -> dict[str, Any]:
    """Check one trigger's request body; `spelled` maps its fields to the file's names for them."""
    if body["triggerType"] not in ("", "http"):
        problems.add((*path, spelled["triggerType"]), f"{shown(body['triggerType'])} is not served here: must be http")
        return body
    place = (*path, spelled["triggerConfig"])
    if body["triggerConfig"] is None:
        problems.add(path, f"the field {spelled['triggerConfig']} is required: {{authType, methods}}")
        return body
    config = problems.mapping(body["triggerConfig"], place)
    problems.known_fields(config, HTTP_CONFIG, place)
    if isinstance(config.get("methods"), list):
        config = {**config, "methods": [str(method).upper() for method in config["methods"]]}
    body = {**body, "triggerConfig": config}
    problems.validate(Trigger, body, path, {name: (written,) for name, written in spelled.items()})
    return body
