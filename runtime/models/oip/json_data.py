"""Tensors as JSON values, both ways. Pure.

Numbers keep their value or are refused: an integral 2.0 is a 2 for INT32 (some clients send every number so), 2.5 is
not, 300 does not fit into UINT8, and NaN or what is infinite in the tensor's type is nothing that JSON can say.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, Final

import numpy as np

from runtime.models.oip.binary import objects
from runtime.models.oip.datatypes import BF16, BYTES, FIXED, FP16
from runtime.models.oip.problems import OipError
from runtime.models.tensors import Array

_DEPTH_MAX: Final = 32
_ALLOWED: Final[dict[str, tuple[set[type], str]]] = {
    "b": ({bool, int, float}, "true and false"),
    "i": ({int, float}, "integers"),
    "u": ({int, float}, "integers"),
    "f": ({int, float}, "numbers"),
}


def array_from(name: str, datatype: str, shape: tuple[int, ...], count: int, data: Any) -> Array:
    """The tensor whose values are listed in `data`, flat or nested in any way.

    Raises:
        OipError: names the tensor and what is wrong with it.
    """
    if datatype in (FP16, BF16):
        raise OipError(f"input '{name}': {datatype} cannot be sent as JSON, only as binary data (binary_data_size)")
    flat = _flat(name, data)
    if len(flat) != count:
        raise OipError(f"input '{name}' has {len(flat)} values in data: its shape {list(shape)} takes {count}")
    if datatype == BYTES:
        return _texts(name, flat).reshape(shape)
    return _numbers(name, datatype, flat).reshape(shape)


def _flat(name: str, data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise OipError(f"input '{name}' has {_what(data)} as data: a list is allowed")
    flat = data
    for _ in range(_DEPTH_MAX):
        kinds = set(map(type, flat))
        if list not in kinds:
            return flat
        if len(kinds) > 1:
            raise OipError(f"input '{name}' has lists and values side by side in data: one or the other is allowed")
        flat = list(chain.from_iterable(flat))
    raise OipError(f"input '{name}' has lists in lists in data, more than {_DEPTH_MAX} deep")


def _texts(name: str, flat: list[Any]) -> Array:
    wrong = set(map(type, flat)) - {str}
    if wrong:
        raise _wrong_type(name, BYTES, flat, {str}, "texts")
    try:
        "".join(flat).encode()
    except UnicodeEncodeError as error:
        raise OipError(f"input '{name}' has a text that is no Unicode: {error}") from None
    return objects(flat)


def _numbers(name: str, datatype: str, flat: list[Any]) -> Array:
    dtype = FIXED[datatype]
    allowed, words = _ALLOWED[dtype.kind]
    kinds = set(map(type, flat))
    if kinds - allowed:
        raise _wrong_type(name, datatype, flat, allowed, words)
    if dtype.kind == "f":
        return _floats(name, datatype, flat, dtype)
    if dtype.kind == "b":
        if any(value != 0 and value != 1 for value in flat):
            raise OipError(f"input '{name}' has a value in data that is neither true nor false")
        return np.array(flat, dtype)
    if float in kinds:
        flat = [_whole(name, datatype, value) for value in flat]
    limits = np.iinfo(dtype)
    if flat and (min(flat) < limits.min or max(flat) > limits.max):
        value = min(flat) if min(flat) < limits.min else max(flat)
        raise OipError(f"input '{name}' has the value {_short(value)}: {datatype} has {limits.min} to {limits.max}")
    return np.array(flat, dtype)


def _floats(name: str, datatype: str, flat: list[Any], dtype: np.dtype[Any]) -> Array:
    try:
        with np.errstate(over="ignore"):
            array: Array = np.array(flat, np.float64).astype(dtype)
    except OverflowError:
        raise OipError(f"input '{name}' has an integer that is too large for {datatype}") from None
    finite = np.isfinite(array)
    if not finite.all():
        at = int(np.argmin(finite))
        raise OipError(
            f"input '{name}' has {_short(flat[at])} at position {at} of data: finite numbers of {datatype} are allowed"
        )
    return array


def _whole(name: str, datatype: str, value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise OipError(f"input '{name}' has the value {value!r}: {datatype} has integers")
    return int(value)


def _wrong_type(name: str, datatype: str, flat: list[Any], allowed: set[type], words: str) -> OipError:
    wrong = next(value for value in flat if type(value) not in allowed)
    return OipError(f"input '{name}' has {_what(wrong)} in data: {datatype} takes {words}")


def _what(value: Any) -> str:
    words = {dict: "an object", list: "a list", str: "a text", type(None): "null", bool: "true or false"}
    return words.get(type(value), "a number")


def _short(value: Any) -> str:
    text = f"{value}" if not isinstance(value, int) or abs(value) < 10**20 else "a number of more than 20 digits"
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, text)


def values_of(name: str, datatype: str, array: Array) -> list[Any]:
    """The tensor's values for JSON, flat and in row-major order.

    Raises:
        OipError: JSON cannot hold them; the text says what to ask for instead.
    """
    if datatype in (FP16, BF16):
        raise OipError(f"output '{name}': {datatype} cannot be sent as JSON: ask for it with binary_data")
    if datatype == BYTES:
        return [_text_of(name, element) for element in array.flat]
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise OipError(f"output '{name}' has NaN or Infinity, which JSON cannot hold: ask for it with binary_data")
    values: list[Any] = array.reshape(-1).tolist()
    return values


def _text_of(name: str, element: Any) -> str:
    if isinstance(element, bytes):
        try:
            return element.decode()
        except UnicodeDecodeError:
            raise OipError(f"output '{name}' is not UTF-8, as JSON has to be: ask for it with binary_data") from None
    return str(element)
