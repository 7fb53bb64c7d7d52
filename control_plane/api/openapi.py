"""The API as an OpenAPI 3.1 document, made from the table of paths and the models behind them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from control_plane.api import (
    aliases,
    domains,
    functions,
    functions3,
    provision,
    provision3,
    services,
    settings,
    shapes3,
    triggers,
    versions,
)
from control_plane.api.context import Operation
from control_plane.model import Alias, CustomDomain, Function, Service, Setting, Trigger, Version
from provision.config import ProvisionConfig

Trees = Sequence[tuple[str, Sequence[tuple[str, str, Operation]]]]

_MODELS: Final[tuple[type[BaseModel], ...]] = (
    Service, Function, Version, Alias, Trigger, CustomDomain, ProvisionConfig, *settings.MODELS.values()
)  # fmt: skip
# What an operation takes, and whether all that the model requires must be there (an update gives what changes).
_BODIES: Final[dict[Operation, tuple[str, bool]]] = {
    services.create: ("Service", True),
    services.update: ("Service", False),
    functions.create: ("Function", True),
    functions.update: ("Function", False),
    functions3.create: ("Function3", True),
    functions3.update: ("Function3", False),
    versions.publish: ("Version", False),
    aliases.create: ("Alias", True),
    aliases.update: ("Alias", False),
    triggers.create: ("Trigger", True),
    triggers.update: ("Trigger", False),
    domains.create: ("CustomDomain", True),
    domains.update: ("CustomDomain", False),
    provision.put: ("ProvisionConfig", True),
    provision3.put: ("ProvisionConfig", True),
}
_REPLIES: Final[dict[Operation, str]] = {
    services.create: "Service",
    services.get: "Service",
    services.update: "Service",
    functions.create: "Function",
    functions.get: "Function",
    functions.update: "Function",
    versions.publish: "Version",
    aliases.create: "Alias",
    aliases.get: "Alias",
    aliases.update: "Alias",
}
_LIST_QUERY: Final = (
    ("limit", {"type": "integer", "minimum": 1, "maximum": 100}),
    ("prefix", {"type": "string"}),
    ("startKey", {"type": "string"}),
    ("nextToken", {"type": "string"}),
)
# In the path, or ours to say: a body need not have it.
_FROM_ELSEWHERE: Final = ("serviceName",)
_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["Code", "Message", "RequestId", "ErrorCode", "ErrorMessage"],
    "properties": {name: {"type": "string"} for name in ("Code", "Message", "RequestId", "ErrorCode", "ErrorMessage")},
}


def build(trees: Trees, version: str) -> dict[str, Any]:
    """`version` is Stoke's. Every path of `trees` is in it, under its prefix."""
    paths: dict[str, dict[str, Any]] = {}
    for prefix, table in trees:
        for path, method, operation in table:
            item = paths.setdefault(prefix + path, {})
            item[method.lower()] = _operation(prefix, path, method, _behind(operation))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Stoke", "version": version},
        "paths": paths,
        "components": {"schemas": _schemas()},
    }


def _behind(operation: Operation) -> Operation:
    """What an operation of FC 3.0 is made of."""
    return getattr(operation, "__wrapped__", operation)


def _operation(prefix: str, path: str, method: str, operation: Operation) -> dict[str, Any]:
    names = re.findall(r"{(\w+)}", path)
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in names
    ]
    if operation.__name__ == "list_all":
        parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in _LIST_QUERY]
    if "function" in names or "name" in names:
        parameters.append({"name": "qualifier", "in": "query", "schema": {"type": "string"}})
    described: dict[str, Any] = {
        "operationId": " ".join((method, prefix + path)),
        "parameters": parameters,
        "responses": _responses(path, method, operation),
    }
    if method in ("POST", "PUT"):
        described["requestBody"] = {"content": {"application/json": {"schema": _body(path, operation)}}}
    summary = (operation.__doc__ or "").strip().partition("\n")[0]
    return described | ({"summary": summary} if summary else {})


def _body(path: str, operation: Operation) -> dict[str, Any]:
    named, is_whole = _BODIES.get(operation, ("", False))
    for kind, model in settings.MODELS.items():
        if path.endswith(_SETTING_PATHS[kind]):
            named, is_whole = model.__name__, True
    if not named:
        return {"type": "object"}
    return {"$ref": f"#/components/schemas/{named}{'' if is_whole else 'Changes'}"}


_SETTING_PATHS: Final = {
    Setting.ON_DEMAND: "/on-demand-config",
    Setting.ASYNC_INVOKE: "/async-invoke-config",
    Setting.CONCURRENCY: "/concurrency",
}


def _responses(path: str, method: str, operation: Operation) -> dict[str, Any]:
    failed = {"description": "refused or failed", "content": {"application/json": {"schema": _ref("Error")}}}
    if path in ("/metrics", "/code/{sha256}", "/instances/{instance}/logs"):
        return {"200": {"description": "not JSON"}, "default": failed}
    if method == "DELETE" and not path.startswith("/tag"):
        return {"204": {"description": "done, or not there"}, "default": failed}
    named = _REPLIES.get(operation)
    schema = {"type": "object"} if named is None else _ref(f"{named}Reply")
    return {"200": {"description": "done", "content": {"application/json": {"schema": schema}}}, "default": failed}


def _schemas() -> dict[str, Any]:
    asked, definitions = models_json_schema(
        [(model, "validation") for model in _MODELS], ref_template="#/components/schemas/{model}"
    )
    del asked
    schemas: dict[str, Any] = {"Error": _ERROR, **definitions["$defs"]}
    for name in ("Service", "Function", "Version", "Alias"):
        schemas[f"{name}Reply"] = _optional(schemas[name], [])
    for model in _MODELS:
        whole = schemas[model.__name__]
        required = [field for field in whole.get("required", ()) if field not in _FROM_ELSEWHERE]
        if model is Service:
            required = ["serviceName"]
        schemas[f"{model.__name__}Changes"] = _optional(whole, [])
        schemas[model.__name__] = _optional(whole, required)
    whole = _grouped(schemas["Function"])
    schemas["Function3"], schemas["Function3Changes"] = whole, _optional(whole, [])
    return schemas


def _grouped(function: dict[str, Any]) -> dict[str, Any]:
    """FC 3.0's fields: FC 2.0's that are in no group, the groups, and those of the service."""
    groups = (*shapes3.GROUPS, *(name for name in shapes3.SERVICE_FIELDS if name.endswith("Config")))
    properties = {
        name: schema
        for name, schema in function["properties"].items()
        if name not in (*shapes3.UNGROUPED, *shapes3.GROUPS, "serviceName")
    }
    properties |= {name: {"type": "object"} for name in groups}
    properties |= {"role": {"type": "string"}, "internetAccess": {"type": "boolean"}}
    return function | {"title": "Function3", "properties": properties, "required": ["functionName", "runtime"]}


def _optional(schema: dict[str, Any], required: list[str]) -> dict[str, Any]:
    rest = {key: value for key, value in schema.items() if key != "required"}
    return rest | ({"required": required} if required else {})


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}
