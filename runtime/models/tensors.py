"""Tensors by name, type and shape: what a model takes and gives, and whether an array is that. Pure.

Types are said in the words of the Open Inference Protocol (FP32, INT64, BYTES …).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from runtime.models.errors import InvalidInput, ModelUnusable

Array = np.ndarray[Any, np.dtype[Any]]

FREE: Final = -1  # an axis of any size

# Texts are object arrays: of `str` or UTF-8 `bytes` on the way in, of `str` on the way out.
DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BF16": np.dtype(np.uint16),  # its bits: numpy has no such type
    "BYTES": np.dtype(np.object_),
}
_OF_ONNX: Final = {
    "bool": "BOOL",
    "float16": "FP16",
    "bfloat16": "BF16",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
    **{f"{sign}int{bits}": f"{sign}int{bits}".upper() for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model. In `shape` -1 is an axis of any size; `labels` name the last one's values."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    labels: tuple[str, ...] = ()

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        return DTYPES[self.datatype]

    def fits(self, shape: Sequence[int]) -> bool:
        own = self.shape
        if len(own) != len(shape):
            return False
        for mine, theirs in zip(own, shape, strict=True):  # noqa: SIM110 - on every request's way
            if mine != theirs and mine != FREE:
                return False
        return True

    def check(self, array: Array) -> None:
        """Raises InvalidInput when `array` is not such a tensor."""
        if array.dtype != self.dtype:
            raise InvalidInput(f"input '{self.name}' came as {array.dtype}: {self.datatype} is allowed")
        if not self.fits(array.shape):
            raise InvalidInput(
                f"input '{self.name}' has the shape {list(array.shape)}: {list(self.shape)} is allowed, -1 = any size"
            )


def as_texts(name: str, array: Array) -> Array:
    """An array of texts, some of which may be bytes, as models take it. Raises InvalidInput: some are not UTF-8."""
    try:
        texts = [each.decode() if isinstance(each, bytes) else each for each in array.ravel()]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"input '{name}' has a text that is not UTF-8: {error}") from None
    found: Array = np.empty(len(texts), dtype=np.object_)
    found[:] = texts
    return found.reshape(array.shape)


def widened(bits: Array) -> Array:
    """What an array of BF16 has, as FP32: each number exactly."""
    found: Array = (bits.astype(np.uint32) << 16).view(np.float32)
    return found


def bf16_bits(name: str, floats: Array) -> Array:
    """The bits of the BF16 nearest to each number, the even one of two. Raises InvalidInput: that is infinity."""
    wide = np.ascontiguousarray(floats, dtype=np.float32).view(np.uint32).astype(np.uint64)
    found: Array = ((wide + 0x7FFF + ((wide >> 16) & 1)) >> 16).astype(np.uint16)
    found[np.isnan(floats)] = 0x7FC0
    too_large = np.isfinite(floats) & ((found & 0x7FFF) == 0x7F80)
    if too_large.any():
        raise InvalidInput(f"input '{name}' has {floats[too_large][0]:g}: BF16 up to 3.38953e+38 is allowed")
    return found


def datatype_of_onnx(name: str, onnx_type: str) -> str:
    """The datatype of what ONNX Runtime calls "tensor(float)". Raises ModelUnusable for what is no such tensor."""
    found = _OF_ONNX.get(onnx_type.removeprefix("tensor(").removesuffix(")"))
    if found is None or not onnx_type.startswith("tensor("):
        raise ModelUnusable(
            f"tensor '{name}' of the model has the type {onnx_type}: tensors of {', '.join(_OF_ONNX)} are allowed"
        )
    return found


def spec_of_onnx(name: str, onnx_type: str, shape: Sequence[Any]) -> TensorSpec:
    """As the graph declares it: axes without a number are free."""
    axes = tuple(axis if isinstance(axis, int) and axis >= 0 else FREE for axis in shape)
    return TensorSpec(name, datatype_of_onnx(name, onnx_type), axes)
