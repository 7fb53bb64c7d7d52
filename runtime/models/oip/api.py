"""Answers the Open Inference Protocol's paths for the models that an instance serves.

Everything that can be asked, and how, is one table; what is refused is refused in Triton's words and with its statuses.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from runtime.models.errors import ModelError
from runtime.models.oip import codec, describe, generate, repository
from runtime.models.oip.codec import JSON_TYPE, CodecLimits, Encoded
from runtime.models.oip.compression import IDENTITY, WORTH_BYTES, accepted, compressed, decompressed
from runtime.models.oip.infer import TIMED_OUT, Direct, Inference, headers_of, refused, timeout_s
from runtime.models.oip.ports import ServedModel
from runtime.models.oip.problems import INVALID, METHOD_NOT_ALLOWED, NOT_FOUND, UNAVAILABLE, UNSUPPORTED, OipError
from runtime.models.oip.server_settings import LogSettings, TraceSettings
from runtime.models.routes import Answer, Request
from runtime.models.tensors import Array

log = logging.getLogger(__name__)

PREFIX: Final = "/v2"
_STREAM_TYPE: Final = "text/event-stream; charset=utf-8"
_IN_THREAD_BYTES: Final = 65_536  # bodies above it are packed and unpacked beside the loop


@dataclass(frozen=True, slots=True)
class OipSettings:
    version: Callable[[], str]  # of the server, as GET /v2 says it; asked for when it is, as that takes a while
    limits: CodecLimits = field(default_factory=CodecLimits)
    may_unload: bool = False  # whether clients may load and unload models


class OipApi:
    """`models` by name; one name, one version. Give `answer` to the instance's routes for all below `PREFIX`."""

    def __init__(self, models: Sequence[ServedModel], settings: OipSettings) -> None:
        self._models = {model.name: model for model in models}
        self._settings = settings
        self._logging = LogSettings()
        self._tracing = TraceSettings()

    async def answer(self, request: Request) -> Answer:
        """Raises nothing but what is a mistake of ours."""
        try:
            return await self._find(request)
        except (OipError, ModelError) as error:
            return refused(str(error), error.status)

    def direct(self, method: str, path: str, headers: dict[str, str]) -> Direct | None:
        """Inferences without compression need no task: see `routes.Shortcut`."""
        matched = _INFER.fullmatch(path) if method == "POST" else None
        if matched is None or headers.get("content-encoding", IDENTITY).strip().lower() not in ("", IDENTITY):
            return None
        if accepted(headers.get("accept-encoding", "")) != IDENTITY:
            return None
        version = matched["version"]
        model = functools.partial(self._model, unquote(matched["model"]), version and unquote(version))
        return Direct(model, headers.get(codec.HEADER_LENGTH), self._settings.limits)

    async def _find(self, request: Request) -> Answer:
        matched, methods = _found(request.path)
        handler = methods.get(request.method)
        if handler is None:
            answer = refused("Method Not Allowed", METHOD_NOT_ALLOWED)
            answer.headers.append(("allow", ", ".join(methods)))
            return answer
        parts = {name: unquote(part) for name, part in matched.groupdict().items() if part is not None}
        return await handler(self, request, parts)

    # -- the server ----------------------------------------------------------------------------------------------------

    async def _server(self, request: Request, parts: _Parts) -> Answer:  # noqa: ARG002
        return _json(describe.server_metadata(self._settings.version()))

    async def _live(self, request: Request, parts: _Parts) -> Answer:  # noqa: ARG002
        return _json({"live": True})

    async def _ready(self, request: Request, parts: _Parts) -> Answer:  # noqa: ARG002
        ready = all(model.state == "READY" for model in self._models.values())
        return _json({"ready": ready}, 200 if ready else INVALID)

    async def _get_logging(self, request: Request, parts: _Parts) -> Answer:  # noqa: ARG002
        return _json(self._logging.values())

    async def _set_logging(self, request: Request, parts: _Parts) -> Answer:  # noqa: ARG002
        self._logging.change(self._object(request))
        return _json(self._logging.values())

    async def _get_tracing(self, request: Request, parts: _Parts) -> Answer:  # noqa: ARG002
        if "model" in parts:
            self._model(parts["model"], None)
        return _json(self._tracing.values())

    async def _set_tracing(self, request: Request, parts: _Parts) -> Answer:
        self._tracing.change(self._object(request))
        return await self._get_tracing(request, parts)

    async def _memory_status(self, request: Request, parts: _Parts) -> Answer:  # noqa: ARG002
        if "region" in parts:
            raise OipError(f"Unable to find {_memory(parts)} shared memory region: '{parts['region']}'", NOT_FOUND)
        return _json([])

    async def _memory_change(self, request: Request, parts: _Parts) -> Answer:  # noqa: ARG002
        if parts["change"] == "unregister":  # nothing is registered, so nothing is left to do
            return Answer()
        what = _memory(parts)
        raise OipError(
            f"failed to register {what} shared memory region: '{parts.get('region', '')}', {what} shared memory is not "
            "supported",
            UNSUPPORTED,
        )

    # -- models --------------------------------------------------------------------------------------------------------

    def _model(self, name: str, version: str | None) -> ServedModel:
        """Raises OipError: there is none of that name and version, or it is not loaded."""
        model = self._models.get(name)
        if model is None:
            raise OipError(f"Request for unknown model: '{name}' is not found", NOT_FOUND)
        if version is not None and version != model.version:
            raise OipError(f"Request for unknown model: '{name}' version {version} is not found", NOT_FOUND)
        if model.state == "UNAVAILABLE":
            raise OipError(f"Request for unknown model: '{name}' has no available versions", NOT_FOUND)
        return model

    async def _metadata(self, request: Request, parts: _Parts) -> Answer:  # noqa: ARG002
        return _json(describe.model_metadata(self._model(parts["model"], parts.get("version"))))

    async def _model_ready(self, request: Request, parts: _Parts) -> Answer:  # noqa: ARG002
        model = self._models.get(parts["model"])
        if model is None or model.state != "READY" or parts.get("version", model.version) != model.version:
            raise OipError("Model version not ready")
        return _json({"name": model.name, "ready": True})

    async def _config(self, request: Request, parts: _Parts) -> Answer:  # noqa: ARG002
        return _json(describe.model_config(self._model(parts["model"], parts.get("version"))))

    async def _statistics(self, request: Request, parts: _Parts) -> Answer:  # noqa: ARG002
        return _json(describe.model_statistics([self._model(parts["model"], parts.get("version"))]))

    async def _all_statistics(self, request: Request, parts: _Parts) -> Answer:  # noqa: ARG002
        return _json(describe.model_statistics([m for m in self._models.values() if m.state == "READY"]))

    # -- inference -----------------------------------------------------------------------------------------------------

    async def _infer(self, request: Request, parts: _Parts) -> Answer:
        model = self._model(parts["model"], parts.get("version"))
        pieces = await self._body(request)
        header_length = request.headers.get(codec.HEADER_LENGTH)
        body, begin = codec.joined(pieces, header_length)
        inference = Inference(model, codec.decode(body[begin:], header_length, self._settings.limits))
        return await _sent(request, inference.encoded(await _results(inference)))

    async def _generate(self, request: Request, parts: _Parts) -> Answer:
        return _json(await self._generated(request, parts))

    async def _generate_stream(self, request: Request, parts: _Parts) -> Answer:
        """These models answer once: one event."""
        data = codec.write_json(await self._generated(request, parts))
        return Answer(200, [("content-type", _STREAM_TYPE)], [b"data: ", data, b"\n\n"])

    async def _generated(self, request: Request, parts: _Parts) -> dict[str, Any]:
        model = self._model(parts["model"], parts.get("version"))
        asked = generate.request_from(model, codec.read_json(b"".join(await self._body(request)), "the request"))
        inference = Inference(model, asked)
        outputs = inference.outputs(await _results(inference))
        return generate.answer_from(model, asked, [output for output, _ in outputs])

    async def _body(self, request: Request) -> list[bytes]:
        """Unpacked."""
        encoding = request.headers.get("content-encoding", "")
        bytes_max = self._settings.limits.body_bytes_max
        if encoding.strip().lower() in ("", IDENTITY):
            return request.body
        packed = request.whole_body()
        if len(packed) <= _IN_THREAD_BYTES:
            return [decompressed(packed, encoding, bytes_max)]
        return [await asyncio.to_thread(decompressed, packed, encoding, bytes_max)]

    def _object(self, request: Request) -> dict[str, Any]:
        return codec.read_json(request.whole_body() or b"{}", "the request")

    # -- the repository ------------------------------------------------------------------------------------------------

    async def _index(self, request: Request, parts: _Parts) -> Answer:  # noqa: ARG002
        ready_only = self._object(request).get("ready", False)
        if not isinstance(ready_only, bool):
            raise OipError(f"ready {ready_only!r}: true or false is allowed")
        return _json(describe.repository_index(list(self._models.values()), ready_only=ready_only))

    async def _load(self, request: Request, parts: _Parts) -> Answer:
        self._check_control()
        repository.check_load(self._object(request), parts["model"])
        await self._known(parts["model"]).load()
        return Answer()

    async def _unload(self, request: Request, parts: _Parts) -> Answer:
        self._check_control()
        repository.check_unload(self._object(request))
        await self._known(parts["model"]).unload()
        return Answer()

    def _check_control(self) -> None:
        if not self._settings.may_unload:
            raise OipError("explicit model load / unload is not allowed if polling is enabled", UNAVAILABLE)

    def _known(self, name: str) -> ServedModel:
        model = self._models.get(name)
        if model is None:
            raise OipError(f"failed to load '{name}', failed to poll from model repository", NOT_FOUND)
        return model


_Parts = dict[str, str]
_Handler = Callable[[OipApi, Request, _Parts], Awaitable[Answer]]

_MODEL: Final = r"/v2/models/(?P<model>[^/]+)"
_VERSION: Final = _MODEL + r"(?:/versions/(?P<version>[^/]+))?"
_INFER_END: Final = "/infer"
_INFER: Final = re.compile(_VERSION + _INFER_END)
_REPOSITORY: Final = r"/v2/repository(?:/(?!models/)[^/]+)?"
_MEMORY: Final = r"/v2/(?P<kind>system|cuda)sharedmemory(?:/region/(?P<region>[^/]+))?"

_TABLE: Final[tuple[tuple[str, dict[str, _Handler]], ...]] = (
    (_VERSION + _INFER_END, {"POST": OipApi._infer}),
    ("/v2/health/live", {"GET": OipApi._live}),
    ("/v2/health/ready", {"GET": OipApi._ready}),
    ("/v2/?", {"GET": OipApi._server}),
    ("/v2/models/stats", {"GET": OipApi._all_statistics}),
    (_VERSION, {"GET": OipApi._metadata}),
    (_VERSION + "/ready", {"GET": OipApi._model_ready}),
    (_VERSION + "/config", {"GET": OipApi._config}),
    (_VERSION + "/stats", {"GET": OipApi._statistics}),
    (_VERSION + "/generate", {"POST": OipApi._generate}),
    (_VERSION + "/generate_stream", {"POST": OipApi._generate_stream}),
    (_MODEL + "/trace/setting", {"GET": OipApi._get_tracing, "POST": OipApi._set_tracing}),
    ("/v2/trace/setting", {"GET": OipApi._get_tracing, "POST": OipApi._set_tracing}),
    ("/v2/logging", {"GET": OipApi._get_logging, "POST": OipApi._set_logging}),
    (_REPOSITORY + "/index", {"POST": OipApi._index}),
    (_REPOSITORY + "/models/(?P<model>[^/]+)/load", {"POST": OipApi._load}),
    (_REPOSITORY + "/models/(?P<model>[^/]+)/unload", {"POST": OipApi._unload}),
    (_MEMORY + "/status", {"GET": OipApi._memory_status}),
    (_MEMORY + "/(?P<change>register|unregister)", {"POST": OipApi._memory_change}),
)
_PATHS: Final = tuple((re.compile(pattern), methods) for pattern, methods in _TABLE)


def _found(path: str) -> tuple[re.Match[str], dict[str, _Handler]]:
    """Raises OipError: there is no such path."""
    for pattern, methods in _PATHS:
        matched = pattern.fullmatch(path)
        if matched is not None:
            return matched, methods
    raise OipError("Not Found", NOT_FOUND)


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, [("content-type", JSON_TYPE)], [codec.write_json(value)])


def _memory(parts: _Parts) -> str:
    return "CUDA" if parts["kind"] == "cuda" else "system"


async def _results(inference: Inference) -> dict[str, Array]:
    try:
        async with asyncio.timeout(timeout_s(inference.asked)):
            return await inference.model.infer(inference.inputs, inference.names)
    except TimeoutError:
        raise OipError(TIMED_OUT, UNAVAILABLE) from None


async def _sent(request: Request, encoded: Encoded) -> Answer:
    """The answer to an inference, packed if its client likes that."""
    headers = headers_of(encoded)
    encoding = accepted(request.headers.get("accept-encoding", ""))
    buffers = encoded.buffers
    if encoding != IDENTITY and encoded.bytes >= WORTH_BYTES:
        headers.append(("content-encoding", encoding))
        if encoded.bytes > _IN_THREAD_BYTES:
            buffers = await asyncio.to_thread(compressed, buffers, encoding)
        else:
            buffers = compressed(buffers, encoding)
    return Answer(200, headers, list(buffers))
