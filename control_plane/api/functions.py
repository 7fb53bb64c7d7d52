"""Functions, and their code."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from control_plane import registry_auth
from control_plane.api import wire
from control_plane.api.auth import CODE_PATH
from control_plane.api.context import Context, context, deleted, updated
from control_plane.api.presigned import presigned
from control_plane.api.uploads import uploaded
from control_plane.environments import needs_one
from control_plane.errors import InvalidArgument, NotFound
from control_plane.model import Function
from runtime.contract import MODEL_HANDLER

READ_ONLY: Final = frozenset(
    {
        "functionId",
        "codeSha256",
        "codeSize",
        "codeChecksum",
        "createdTime",
        "lastModifiedTime",
        "code",
        "invocationRestriction",
    }
)


async def create(request: Request) -> Response:
    at = context(request)
    given = await wire.read_object(request, at.limits.code_body_bytes_max)
    service = wire.service_name(request)
    await at.registry.get_service(service)  # before code is stored for a service that is not there
    code = await stored_code(at, given)
    function = wire.build(Function, given, read_only=READ_ONLY, serviceName=service, **code)
    check(function)
    function = registry_auth.taken(function, None, at.box.seal)
    await equip(at, function)
    return _reply(await at.registry.create_function(function))


async def get(request: Request) -> Response:
    return _reply(await asked_for(request))


async def update(request: Request) -> Response:
    """Only the keys that are given change."""
    at = context(request)
    given = await wire.read_changes(request, at.limits.code_body_bytes_max)
    service, name = wire.service_name(request), wire.path_name(request, "function")
    await at.registry.get_function(service, name)
    code = await stored_code(at, given)

    async def attempt() -> Function:
        stored = await at.registry.get_function(service, name)
        wire.check_match(request, stored)
        new = wire.merge(stored, given, read_only=READ_ONLY, serviceName=service, functionName=name, **code)
        check(new)
        new = registry_auth.taken(new, stored, at.box.seal)
        if code:
            await equip(at, new)
        return await at.registry.update_function(new, based_on=stored)

    return _reply(await updated(attempt))


async def delete(request: Request) -> Response:
    registry = context(request).registry
    service, name = wire.service_name(request), wire.path_name(request, "function")
    return await deleted(
        request,
        lambda: registry.get_function(service, name),
        lambda stored: registry.delete_function(service, name, based_on=stored),
    )


async def list_all(request: Request) -> Response:
    service, qualifier = wire.service_and_qualifier(request)
    page = await context(request).registry.list_functions(service, wire.list_query(request), qualifier)
    return wire.listing("functions", page, [_shown(function) for function in page.items])


async def get_code(request: Request) -> Response:
    function = await asked_for(request)
    if not function.code_sha256:
        raise NotFound("FunctionCode", f"function '{function.function_name}' has no code")
    at = context(request)
    path = presigned(CODE_PATH + function.code_sha256, at.url_key, time.time())
    url = at.settings.public_url.rstrip("/") + path
    return wire.reply({"checksum": function.code_checksum, "url": url})


async def asked_for(request: Request) -> Function:
    service, qualifier = wire.service_and_qualifier(request)
    return await context(request).registry.get_function(service, wire.path_name(request, "function"), qualifier)


async def stored_code(at: Context, given: dict[str, Any]) -> dict[str, Any]:
    """The fields that follow from `code`, none if the body has no code. The zip leaves `given` here."""
    key = next((key for key in given if key.lower() == "code"), None)
    if key is None:
        return {}
    code = given.pop(key)
    if code is None:
        return {}
    if not isinstance(code, dict):
        raise InvalidArgument("code must be an object with zipFile")
    text = next((value for name, value in code.items() if name.lower() == "zipfile"), None)
    if text is None:
        if not code:
            return {}
        zip_bytes = await uploaded(at, code)
    else:
        zip_bytes = await _decoded(text)
    from control_plane.code_store import crc64

    sha256 = await at.code.put(zip_bytes)
    checksum = await asyncio.to_thread(crc64, zip_bytes)
    return {"codeSha256": sha256, "codeSize": len(zip_bytes), "codeChecksum": str(checksum)}


async def _decoded(text: Any) -> bytes:
    if not isinstance(text, str):
        raise InvalidArgument("code.zipFile must be a string: the zip file in base64")
    try:
        return await asyncio.to_thread(base64.b64decode, text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument(f"code.zipFile is not base64: {error}") from error


def check(function: Function) -> None:
    """What one field asks of another, and a process of both."""
    _check_process(function)
    runtime = function.runtime
    if runtime == "custom-container" and not _image(function):
        raise InvalidArgument("customContainerConfig.image is missing: runtime custom-container needs one")
    if runtime.startswith("python"):
        module, dot, attribute = function.handler.rpartition(".")
        if not (module and dot and attribute) and not MODEL_HANDLER.fullmatch(function.handler):
            raise InvalidArgument(
                f"handler is '{function.handler}': must be module.attribute for runtime {runtime}, or a model: "
                "model.onnx, or its folder, digits/"
            )
        if not function.code_sha256:
            raise InvalidArgument(f"code is missing: runtime {runtime} needs code.zipFile")
    soft = function.instance_soft_concurrency
    if soft is not None and not 1 <= soft <= function.instance_concurrency:
        raise InvalidArgument(
            f"instanceSoftConcurrency is {soft}: must be from 1 to instanceConcurrency, {function.instance_concurrency}"
        )


def _check_process(function: Function) -> None:
    """What the kernel takes for a process's environment and arguments."""
    for name, value in (function.environment_variables or {}).items():
        if not name or "=" in name or "\0" in name:
            raise InvalidArgument(
                f"environmentVariables has the name {_shown_text(name)}: "
                "must have at least one character, and neither = nor NUL"
            )
        if "\0" in value:
            raise InvalidArgument(f"environmentVariables.{name} is {_shown_text(value)}: must have no NUL")
    custom = function.custom_runtime_config
    for field, words in (("command", custom and custom.command), ("args", custom and custom.args)):
        for word in words or ():
            if "\0" in word:
                raise InvalidArgument(f"customRuntimeConfig.{field} has {_shown_text(word)}: must have no NUL")


def _shown_text(text: str) -> str:
    return wire.shorten(json.dumps(text, ensure_ascii=False))


async def equip(at: Context, function: Function) -> None:
    """Before anything is changed: its environment, or why there can be none. Raises InvalidArgument."""
    if needs_one(function):
        await at.environments.prepare(function.code_sha256)


def _image(function: Function) -> str:
    return function.custom_container_config.image if function.custom_container_config is not None else ""


def _reply(function: Function) -> Response:
    return wire.reply(_shown(function), of=function)


def _shown(function: Function) -> dict[str, Any]:
    return registry_auth.masked(wire.dumped(function, "code_sha256", "service_name"))
