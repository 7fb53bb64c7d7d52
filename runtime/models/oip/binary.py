"""Tensors as the bytes of the binary extension, both ways. Pure; numbers are not copied, only looked at."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from runtime.models.oip.datatypes import BYTES, FIXED
from runtime.models.oip.problems import OipError
from runtime.models.tensors import Array

Buffer = bytes | memoryview

_LENGTH: Final = struct.Struct("<I")


def array_of(name: str, datatype: str, shape: tuple[int, ...], count: int, data: memoryview) -> Array:
    """The tensor in `data`, which is all of its bytes. Where they lie aligned, the array is a view of them.

    Raises:
        OipError: `data` is not `count` elements of the datatype.
    """
    if datatype == BYTES:
        return texts(name, count, data).reshape(shape)
    dtype = FIXED[datatype]
    if len(data) != count * dtype.itemsize:
        raise OipError(
            f"input '{name}' has binary_data_size {len(data)}: its shape {list(shape)} of {datatype} takes "
            f"{count * dtype.itemsize} bytes"
        )
    array: Array = np.frombuffer(data, dtype).reshape(shape)
    if datatype == "BOOL" and count and array.view(np.uint8).max() > 1:
        raise OipError(f"input '{name}' has a byte that is neither 0 nor 1: BOOL has no others")
    return array if array.flags.aligned else array.copy()


def texts(name: str, count: int, data: memoryview) -> Array:
    """BYTES: each element behind its length, as a flat array of `bytes`. Raises OipError when they are not `count`."""
    elements: list[bytes] = []
    at, end = 0, len(data)
    while at < end:
        begin = at + 4
        if begin > end:
            raise OipError(f"input '{name}' ends within the length of its element {len(elements)}")
        at = begin + _LENGTH.unpack_from(data, at)[0]
        if at > end:
            raise OipError(
                f"input '{name}', element {len(elements)}, is said to have {at - begin} bytes: {end - begin} are left"
            )
        elements.append(bytes(data[begin:at]))
    if len(elements) != count:
        raise OipError(f"input '{name}' has {len(elements)} elements: its shape takes {count}")
    return objects(elements)


def objects(elements: Iterable[Any]) -> Array:
    """A flat array of the elements as they are: numpy would take their type and cut what ends in zeros."""
    listed = list(elements)
    array = np.empty(len(listed), dtype=np.object_)
    array[:] = listed
    return array


def buffers_of(array: Array, datatype: str) -> tuple[list[Buffer], int]:
    """The tensor's bytes, and how many they are. Numbers that lie in order are not copied."""
    if datatype == BYTES:
        data = b"".join(
            part for element in array.flat for raw in (raw_of(element),) for part in (_LENGTH.pack(len(raw)), raw)
        )
        return [data], len(data)
    own = np.ascontiguousarray(array, dtype=FIXED[datatype])
    if own.size == 0:
        return [], 0
    view = own.reshape(-1).view(np.uint8).data
    return [view], len(view)


def raw_of(element: Any) -> bytes:
    """An element of BYTES: texts are UTF-8."""
    return element if isinstance(element, bytes) else str(element).encode("utf-8", "surrogatepass")
