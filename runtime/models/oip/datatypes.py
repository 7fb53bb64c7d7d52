"""The protocol's datatypes and how each lies in memory: little endian, row-major. Pure."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from runtime.models.oip.problems import OipError
from runtime.models.tensors import Array

BYTES: Final = "BYTES"
FP16: Final = "FP16"
BF16: Final = "BF16"

# numpy has no bfloat16: its bits are carried as they are. BYTES have a length before each element, and no fixed size.
FIXED: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    FP16: np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    BF16: np.dtype("<u2"),
}
NAMES: Final = (*FIXED, BYTES)
_OF_DTYPE: Final = {
    (dtype.kind, dtype.itemsize): name for name, dtype in FIXED.items() if name != BF16
}  # an array of uint16 is UINT16, unless its model says BF16


def known(name: str, datatype: Any) -> str:
    """The datatype, if it is one. Raises OipError."""
    if not isinstance(datatype, str) or (datatype not in FIXED and datatype != BYTES):
        raise OipError(f"input '{name}' has the datatype {datatype!r}: {', '.join(NAMES)} are allowed")
    return datatype


def of_array(array: Array) -> str:
    """What an array is called when nobody has said so."""
    return _OF_DTYPE.get((array.dtype.kind, array.dtype.itemsize), BYTES)


def shown(shape: tuple[int, ...]) -> str:
    """A shape as Triton's errors show it."""
    return f"[{','.join(map(str, shape))}]"
