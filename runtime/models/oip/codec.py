"""An inference request out of its bytes, and the bytes of its answer. Pure: knows no model and no connection.

A request is JSON, or JSON with the tensors' bytes behind it (`Inference-Header-Content-Length` says where they begin),
or those bytes alone (that header is 0). The answer has the same forms, chosen output by output.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from runtime.models.oip.binary import Buffer, array_of, buffers_of
from runtime.models.oip.datatypes import known
from runtime.models.oip.json_data import array_from, values_of
from runtime.models.oip.problems import TOO_LARGE, UNSUPPORTED, OipError
from runtime.models.tensors import Array

HEADER_LENGTH: Final = "inference-header-content-length"
JSON_TYPE: Final = "application/json"
BINARY_TYPE: Final = "application/octet-stream"

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode

_ALIGNED: Final = 8  # bytes: the largest element
_RANK_MAX: Final = 32
_AXIS_MAX: Final = 2**40
_SHARED: Final = ("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size")


@dataclass(frozen=True, slots=True)
class CodecLimits:
    body_bytes_max: int = 256 * 2**20  # of a request, also when it is unpacked
    tensors_max: int = 1024  # inputs, or outputs asked for


class InputTensor(NamedTuple):
    name: str
    datatype: str
    array: Array


class RequestedOutput(NamedTuple):
    name: str
    is_binary: bool
    classes: int = 0  # the so many best, as "value:index:label"; 0 = the tensor itself


class OutputTensor(NamedTuple):
    name: str
    datatype: str
    array: Array


@dataclass(frozen=True, slots=True)
class InferRequest:
    inputs: tuple[InputTensor, ...]
    outputs: tuple[RequestedOutput, ...] = ()  # none named: all
    id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    all_binary: bool = False  # how outputs are sent that were not named
    raw: memoryview | None = None  # in place of inputs: the bytes of the model's only one


class Encoded(NamedTuple):
    buffers: list[Buffer]
    bytes: int
    header_length: int | None  # None: it is JSON alone


def joined(pieces: Sequence[bytes], header_length: str | None) -> tuple[memoryview, int]:
    """The body in one piece, and where it begins there: tensors behind a JSON of that length shall lie aligned."""
    if len(pieces) == 1:
        return memoryview(pieces[0]), 0
    skipped = -int(header_length) % _ALIGNED if header_length and header_length.isdecimal() else 0
    return memoryview(b"".join([b" " * skipped, *pieces])), skipped


def decode(body: memoryview, header_length: str | None, limits: CodecLimits) -> InferRequest:
    """What the request asks for.

    Raises:
        OipError: names the field, what came and what is allowed.
    """
    if len(body) > limits.body_bytes_max:
        raise OipError(f"the body has {len(body)} bytes: at most {limits.body_bytes_max} are allowed", TOO_LARGE)
    length = _length(body, header_length)
    if length == 0 and header_length is not None:
        return InferRequest((), all_binary=True, raw=body)
    return _request(read_json(body[:length], "the request"), body[length:], limits)


def _length(body: memoryview, header_length: str | None) -> int:
    if header_length is None:
        return len(body)
    if not (header_length.isascii() and header_length.isdecimal() and len(header_length) <= 18):
        raise OipError(f"Inference-Header-Content-Length {header_length[:40]!r}: a number of bytes is allowed")
    length = int(header_length)
    if length > len(body):
        raise OipError(f"Inference-Header-Content-Length {length}: the body has only {len(body)} bytes")
    return length


def read_json(body: Buffer, what: str) -> dict[str, Any]:
    """The object in `body`. NaN and Infinity, which JSON has not, are read, to be refused by the name of who has them.

    Raises:
        OipError: `what` is not JSON, or no object.
    """
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = _read_slowly(body, what)
    if not isinstance(value, dict):
        raise OipError(f"{what} is not a JSON object")
    return value


def _read_slowly(body: Buffer, what: str) -> Any:
    """By Python's own reader, which takes NaN, and says better what is wrong."""
    try:
        return json.loads(str(body, "utf-8"))
    except UnicodeDecodeError as error:
        raise OipError(f"{what} is not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise OipError(f"{what} has lists or objects in each other, too deep to read") from None
    except ValueError as error:
        raise OipError(f"failed to parse {what} as JSON: {error}") from None


def _request(head: dict[str, Any], tail: memoryview, limits: CodecLimits) -> InferRequest:
    parameters = _object(head, "parameters", "the request")
    identity = head.get("id")
    if identity is None:
        identity = ""
    if not isinstance(identity, str):
        raise OipError(f"id {identity!r}: a text is allowed")
    listed = head.get("inputs")
    if not isinstance(listed, list):
        raise OipError("inputs must be a list of tensors")
    asked = head.get("outputs") or []
    if not isinstance(asked, list):
        raise OipError("outputs must be a list of objects with a name")
    for name, tensors in (("inputs", listed), ("outputs", asked)):
        if len(tensors) > limits.tensors_max:
            raise OipError(f"{name} has {len(tensors)} tensors: at most {limits.tensors_max} are allowed")
    inputs, used = _inputs(listed, tail)
    if used != len(tail):
        raise OipError(f"the body has {len(tail)} bytes behind its JSON: the inputs' binary_data_size sum to {used}")
    binary = _flag(parameters, "binary_data_output", "parameters")
    outputs = tuple(_requested(output, binary) for output in asked)
    return InferRequest(inputs, outputs, identity, _finite(parameters), all_binary=binary)


def _inputs(listed: list[Any], tail: memoryview) -> tuple[tuple[InputTensor, ...], int]:
    inputs: list[InputTensor] = []
    seen: set[str] = set()
    at = 0
    for number, tensor in enumerate(listed):
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise OipError(f"inputs[{number}] must be an object with a name")
        name = tensor["name"]
        if name in seen:
            raise OipError(f"input '{name}' is there twice")
        seen.add(name)
        datatype = known(name, tensor.get("datatype"))
        shape = _shape(name, tensor.get("shape"))
        count = _count(shape)
        size = _binary_size(name, tensor)
        if size is None:
            array = array_from(name, datatype, shape, count, tensor["data"])
        else:
            if size > len(tail) - at:
                raise OipError(
                    f"input '{name}' has binary_data_size {size}: {len(tail) - at} bytes are left of the body"
                )
            array = array_of(name, datatype, shape, count, tail[at : at + size])
            at += size
        inputs.append(InputTensor(name, datatype, array))
    return tuple(inputs), at


def _binary_size(name: str, tensor: dict[str, Any]) -> int | None:
    """None: its values are in `data`."""
    parameters = _object(tensor, "parameters", f"input '{name}'")
    if any(key in parameters for key in _SHARED):
        raise _no_shared_memory(f"input '{name}'")
    size = parameters.get("binary_data_size")
    if size is None:
        if tensor.get("data") is None:
            raise OipError(f"input '{name}' has neither data nor binary_data_size")
        return None
    if tensor.get("data") is not None:
        raise OipError(f"input '{name}' has both data and binary_data_size: one of the two is allowed")
    if type(size) is not int or size < 0:
        raise OipError(f"input '{name}' has binary_data_size {size!r}: a number of bytes is allowed")
    return size


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, list):
        raise OipError(f"input '{name}' has no shape: a list of sizes is required")
    if len(shape) > _RANK_MAX:
        raise OipError(f"input '{name}' has {len(shape)} axes: at most {_RANK_MAX} are allowed")
    axes = [int(axis) if isinstance(axis, float) and axis.is_integer() else axis for axis in shape]
    for axis in axes:
        if type(axis) is not int or not 0 <= axis <= _AXIS_MAX:
            raise OipError(f"input '{name}' has {axis!r} in its shape: 0 to {_AXIS_MAX} is allowed")
    if _count(tuple(axis or 1 for axis in axes)) > 2**62:
        raise OipError(f"input '{name}' has a shape with more elements than memory can have")
    return tuple(axes)


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for axis in shape:
        count *= axis
    return count


def _requested(output: Any, binary_default: bool) -> RequestedOutput:
    if not isinstance(output, dict) or not isinstance(output.get("name"), str):
        raise OipError("outputs must be a list of objects with a name")
    name = output["name"]
    parameters = _object(output, "parameters", f"output '{name}'")
    if any(key in parameters for key in _SHARED):
        raise _no_shared_memory(f"output '{name}'")
    classes = parameters.get("classification", 0)
    if type(classes) is not int or not 0 <= classes < 2**31:
        raise OipError(f"output '{name}' has classification {classes!r}: a number of classes is allowed")
    binary = binary_default
    if "binary_data" in parameters:
        binary = _flag(parameters, "binary_data", f"output '{name}'")
    return RequestedOutput(name, binary, classes)


def _object(owner: dict[str, Any], key: str, who: str) -> dict[str, Any]:
    value = owner.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise OipError(f"{key} of {who} must be an object")
    return value


def _flag(parameters: dict[str, Any], key: str, who: str) -> bool:
    value = parameters.get(key, False)
    if not isinstance(value, bool):
        raise OipError(f"{who} has {key} {value!r}: true or false is allowed")
    return value


def _finite(parameters: dict[str, Any]) -> dict[str, Any]:
    for key, value in parameters.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise OipError(f"parameter '{key}' is {value}: finite numbers are allowed")
    return parameters


def _no_shared_memory(who: str) -> OipError:
    return OipError(f"{who} is in shared memory: shared memory is not supported", UNSUPPORTED)


def encode(
    model: str,
    version: str,
    request: InferRequest,
    outputs: Sequence[tuple[OutputTensor, bool]],
) -> Encoded:
    """The answer; each output with whether it is sent as binary data. Arrays are looked at, not copied.

    Raises:
        OipError: an output cannot be sent as JSON.
    """
    described: list[dict[str, Any]] = []
    tail: list[Buffer] = []
    tail_bytes = 0
    any_binary = False
    for (name, datatype, array), is_binary in outputs:
        tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        if is_binary:
            any_binary = True
            buffers, size = buffers_of(array, datatype)
            tensor["parameters"] = {"binary_data_size": size}
            tail += buffers
            tail_bytes += size
        else:
            tensor["data"] = values_of(name, datatype, array)
        described.append(tensor)
    answer: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": described}
    if request.id:
        answer["id"] = request.id
    head = write_json(answer)
    if not any_binary:
        return Encoded([head], len(head), None)
    return Encoded([head, *tail], len(head) + tail_bytes, len(head))


def write_json(value: Any) -> bytes:
    """Compact. `value` has no NaN."""
    try:
        return _encode(value)
    except UnicodeEncodeError:  # half a pair of surrogates, in a name that a caller has sent
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
