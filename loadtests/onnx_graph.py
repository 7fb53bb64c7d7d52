"""Small ONNX models, written byte by byte: tests and benchmarks need some, and nothing else needs the onnx package.

Only what they use of the format is here (onnx.proto, IR version 8, opset 17). Same arguments, same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

Axis = int | str  # a number, or the name of a free axis
_IR_VERSION: Final = 8
_OPSET: Final = 17
_TYPES: Final = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "uint16": 4,
    "int16": 5,
    "int32": 6,
    "int64": 7,
    "str": 8,
    "bool": 9,
    "float16": 10,
    "float64": 11,
    "uint32": 12,
    "uint64": 13,
    "bfloat16": 16,
}
_EXTERNAL: Final = 1
_PAGE: Final = 4096  # external tensors begin at pages, so that they can be mapped


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output; `dtype` is a name of numpy's, "bfloat16" or "str"."""

    name: str
    dtype: str
    shape: Sequence[Axis]


@dataclass(frozen=True, slots=True)
class Node:
    """Attributes may be numbers, texts and lists of whole numbers."""

    op: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, Any] = field(default_factory=dict)


def model(
    nodes: Sequence[Node],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    constants: Mapping[str, np.ndarray[Any, Any]] | None = None,
    external: str = "",
) -> tuple[bytes, bytes]:
    """The model file's bytes, and those of the file `external` that holds the constants (b"" if it is "")."""
    graph = b"".join(_message(1, _node(node)) for node in nodes) + _text(2, "graph")
    data = b""
    for name, array in (constants or {}).items():
        data += b"\0" * (-len(data) % _PAGE) if external else b""
        graph += _message(5, _constant(name, array, external, len(data)))
        data += array.tobytes() if external else b""
    graph += b"".join(_message(11, _value(tensor)) for tensor in inputs)
    graph += b"".join(_message(12, _value(tensor)) for tensor in outputs)
    opset = _text(1, "") + _number(2, _OPSET)
    return _number(1, _IR_VERSION) + _text(2, "stoke") + _message(7, graph) + _message(8, opset), data


def write(
    path: Path,
    nodes: Sequence[Node],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    constants: Mapping[str, np.ndarray[Any, Any]] | None = None,
    external: str = "",
) -> Path:
    """As `model` has it, into `path`; external data goes beside it."""
    file, data = model(nodes, inputs, outputs, constants, external)
    path.write_bytes(file)
    if external:
        path.with_name(external).write_bytes(data)
    return path


def write_mlp(
    path: Path, width: int, layers: int, *, inputs: int = 0, outputs: int = 10, seed: int = 1, external: str = ""
) -> Path:
    """`x` [n, inputs] through `layers` layers of `width` and ReLU to `y` [n, outputs]; weights by a seed.

    `inputs` 0 are as many as `width`. Each layer has 4 · width² bytes: width 1024 and 8 layers are 32 MiB.
    """
    draw = np.random.default_rng(seed)
    sizes = [inputs or width, *[width] * layers, outputs]
    nodes: list[Node] = []
    constants: dict[str, np.ndarray[Any, Any]] = {}
    at = "x"
    for layer, (rows, columns) in enumerate(pairwise(sizes)):
        last = layer == layers
        constants[f"w{layer}"] = (draw.standard_normal((rows, columns)) / np.sqrt(rows)).astype(np.float32)
        constants[f"b{layer}"] = np.zeros(columns, dtype=np.float32)
        after = "y" if last else f"g{layer}"
        nodes.append(Node("Gemm", [at, f"w{layer}", f"b{layer}"], [after]))
        if not last:
            nodes.append(Node("Relu", [after], [f"h{layer}"]))
            at = f"h{layer}"
    given, got = Tensor("x", "float32", ["n", sizes[0]]), Tensor("y", "float32", ["n", outputs])
    return write(path, nodes, [given], [got], constants, external=external)


# -- protocol buffers --------------------------------------------------------------------------------------------------


def _node(node: Node) -> bytes:
    names = [_text(1, name) for name in node.inputs] + [_text(2, name) for name in node.outputs]
    attributes = [_message(5, _attribute(name, value)) for name, value in node.attributes.items()]
    return b"".join((*names, _text(4, node.op), *attributes))


def _attribute(name: str, value: Any) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, 2)
    if isinstance(value, str):
        return _text(1, name) + _text(4, value) + _number(20, 3)
    if isinstance(value, float):
        return _text(1, name) + b"\x15" + np.float32(value).tobytes() + _number(20, 1)
    return _text(1, name) + b"".join(_number(8, each) for each in value) + _number(20, 7)


def _constant(name: str, array: np.ndarray[Any, Any], external: str, offset: int) -> bytes:
    head = b"".join(_number(1, size) for size in array.shape) + _number(2, _TYPES[array.dtype.name]) + _text(8, name)
    if not external:
        return head + _message(9, array.tobytes())
    entries = {"location": external, "offset": str(offset), "length": str(array.nbytes)}
    return head + b"".join(_message(13, _text(1, k) + _text(2, v)) for k, v in entries.items()) + _number(14, _EXTERNAL)


def _value(tensor: Tensor) -> bytes:
    axes = [_number(1, axis) if isinstance(axis, int) else _text(2, axis) for axis in tensor.shape]
    shape = b"".join(_message(1, axis) for axis in axes)
    kind = _message(1, _number(1, _TYPES[tensor.dtype]) + _message(2, shape))
    return _text(1, tensor.name) + _message(2, kind)


def _message(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode())


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value % 2**64)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
