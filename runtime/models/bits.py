"""Runs a session whose tensors are in part BF16, of which numpy has the bits alone: they are handed over as what they
are."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np

from runtime.models.tensors import Array

_BFLOAT16: Final = 16  # onnx.TensorProto.DataType


class BitsSession:
    """`bf16` names the tensors, inputs and outputs. Arrays of the machine's memory in and out, whatever it runs on."""

    def __init__(self, session: Any, bf16: Collection[str]) -> None:
        self._session = session
        self._bf16 = bf16

    def run(self, outputs: Sequence[str], inputs: dict[str, Array]) -> list[Array]:
        values = {name: self._value(name, array) for name, array in inputs.items()}
        found = self._session.run_with_ort_values(outputs, values)
        return [self._array(name, value) for name, value in zip(outputs, found, strict=True)]

    def close(self) -> None:
        self._session = None

    def _value(self, name: str, array: Array) -> Any:
        from onnxruntime import OrtValue

        if name in self._bf16:
            return OrtValue.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(array), _BFLOAT16)
        return OrtValue.ortvalue_from_numpy(array)

    def _array(self, name: str, value: Any) -> Array:
        found: Array
        if name not in self._bf16:
            found = value.numpy()
            return found
        shape = value.shape()
        size = 2 * int(np.prod(shape, dtype=np.int64))
        # A copy: the memory is the value's, and goes with it.
        found = np.frombuffer(ctypes.string_at(value.data_ptr(), size), np.uint16).reshape(shape)
        return found
