"""Tensors as plain JSON, in and out: `{"inputs": {name: nested lists}}` or TensorFlow Serving's `{"instances": […]}`.

Pure. What is no such tensor is refused by its name, with what came and what is allowed.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from runtime.models import json_floats
from runtime.models.errors import InvalidInput
from runtime.models.tensors import Array, TensorSpec, bf16_bits

_KEYS: Final = frozenset(("inputs", "instances", "signature_name"))
_FLOATS: Final = "f"
_INTEGERS: Final = "iu"
_SHOWN_CHARS_MAX: Final = 60
_AXES_MAX: Final = 32
_FLOATS_EXACT_TO: Final = 2.0**53  # FP64 has all whole numbers up to here

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Asked(NamedTuple):
    """A request that was read. `by_row` says how it is answered: `predictions` for `instances`."""

    inputs: dict[str, Array]
    by_row: bool


def refuse_overflow() -> None:
    """To be called once in the context that requests are read in: numpy would make infinities of too large numbers.

    Once, as to say so around each conversion costs more than the conversion.
    """
    np.seterr(over="raise")


def read(body: bytes, specs: Sequence[TensorSpec]) -> Asked:
    """The tensors of a body, of the model's types; shapes are not looked at.

    Raises:
        InvalidInput: it is not JSON of one of the two forms, or a value has another type than the tensor.
    """
    try:
        return _read(body, specs)
    except RecursionError:  # by what looks at each list in turn: the decoder's own bound is not the lowest
        raise InvalidInput("the body has lists or objects in each other, too deep to read") from None


def _read(body: bytes, specs: Sequence[TensorSpec]) -> Asked:
    if len(body) >= json_floats.BYTES_MIN and (floats := json_floats.read(body, specs)) is not None:
        narrow = {spec.name: spec for spec in specs}
        return Asked({name: _narrowed(array, narrow[name]) for name, array in floats.items()}, by_row=False)
    try:
        asked = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _not_json(body, error) from None
    if type(asked) is not dict:
        raise InvalidInput(f"the body is {_shown(asked)}: an object with 'inputs' or 'instances' is allowed")
    if len(asked) > 1 and not asked.keys() <= _KEYS:
        unknown = ", ".join(sorted(asked.keys() - _KEYS))
        raise InvalidInput(f"the body has '{unknown}': {', '.join(sorted(_KEYS))} are allowed")
    given = asked.get("inputs")
    if given is not None and "instances" not in asked:
        return Asked(_by_column(given, specs), by_row=False)
    if given is None and "instances" in asked:
        return Asked(_by_row(asked["instances"], specs), by_row=True)
    raise InvalidInput(f"the body has {sorted(asked) or 'nothing'}: either 'inputs' or 'instances' is allowed")


def write(results: Mapping[str, Array], *, by_row: bool, as_tensorflow: bool) -> bytes:
    """The answer. TensorFlow Serving leaves the name out where there is only one output; so do `predictions`.

    A NaN or an infinity in an output is null: JSON has no such numbers.

    Raises:
        InvalidInput: the outputs have no rows in common, so there are no `predictions` to make of them.
    """
    values = {name: array.tolist() for name, array in results.items()}
    if by_row:
        return _encode({"predictions": _rows(values)})
    if as_tensorflow and len(values) == 1:
        (only,) = values.values()
        return _encode({"outputs": only})
    return _encode({"outputs": values})


def error(message: str) -> bytes:
    return _encode({"error": message})


def _rows(values: dict[str, Any]) -> list[Any]:
    if len(values) == 1:
        (only,) = values.values()
        return only if isinstance(only, list) else [only]
    lengths = {len(value) if isinstance(value, list) else None for value in values.values()}
    if len(lengths) != 1 or None in lengths:
        raise InvalidInput(
            "the outputs have different numbers of rows, of which 'instances' cannot be answered: 'inputs' can"
        )
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


# -- reading -----------------------------------------------------------------------------------------------------------


def _by_column(given: Any, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    if type(given) is not dict:
        if len(specs) == 1:
            return {specs[0].name: to_array(given, specs[0])}
        raise InvalidInput(f"inputs is {_shown(given)}: an object of {_names(specs)} is allowed")
    by_name = {spec.name: spec for spec in specs}
    return {name: to_array(value, _spec(name, by_name)) for name, value in given.items()}


def _by_row(given: Any, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    if type(given) is not list or not given:
        raise InvalidInput(f"instances is {_shown(given)}: a list of one instance or more is allowed")
    if type(given[0]) is not dict or "b64" in given[0]:
        if len(specs) != 1:
            raise InvalidInput(f"instances[0] is {_shown(given[0])}: an object of {_names(specs)} is allowed")
        return {specs[0].name: to_array(given, specs[0])}
    by_name = {spec.name: spec for spec in specs}
    for index, instance in enumerate(given):
        if type(instance) is not dict or instance.keys() != given[0].keys():
            raise InvalidInput(f"instances[{index}] is {_shown(instance)}: an object as instances[0] is allowed")
    return {name: to_array([each[name] for each in given], _spec(name, by_name)) for name in given[0]}


def _spec(name: str, by_name: Mapping[str, TensorSpec]) -> TensorSpec:
    spec = by_name.get(name)
    if spec is None:
        raise InvalidInput(f"input '{name}' is not one of the model's: {', '.join(by_name)} are")
    return spec


def to_array(value: Any, spec: TensorSpec) -> Array:
    """Nested lists as an array of the tensor's type. Raises InvalidInput; nothing is rounded, cut or guessed."""
    if spec.datatype == "BYTES":
        return _texts(value, spec)
    if spec.datatype == "BF16":
        return bf16_bits(spec.name, to_array(value, TensorSpec(spec.name, "FP32", spec.shape)))
    try:
        array: Array = np.array(value)
    except ValueError:
        raise InvalidInput(f"input '{spec.name}' is ragged: lists of equal lengths are allowed") from None
    dtype, kind = spec.dtype, array.dtype.kind
    if not array.size and kind == _FLOATS:  # of empty lists, which have no type
        return array.astype(dtype)
    if dtype.kind == _FLOATS and kind in "fiu":
        return _narrowed(array, spec)
    if dtype.kind in _INTEGERS and kind in "fiu":
        if kind == _FLOATS and np.abs(array).max() >= _FLOATS_EXACT_TO:
            return _large_integers(value, spec)
        return _integers(array, spec)
    if dtype.kind == kind == "b":
        return array
    raise InvalidInput(f"input '{spec.name}' has {_shown(_first_odd(value, spec))}: {_allowed(spec)} are allowed")


def _narrowed(array: Array, spec: TensorSpec) -> Array:
    if array.dtype.kind == _FLOATS and array.dtype.itemsize <= spec.dtype.itemsize:
        return array.astype(spec.dtype, copy=False)
    try:
        return array.astype(spec.dtype)
    except (FloatingPointError, RuntimeWarning):
        largest = np.finfo(spec.dtype).max
        raise InvalidInput(
            f"input '{spec.name}' has {array.ravel()[np.abs(array).argmax()]:g}: {spec.datatype} up to {largest:g} "
            "is allowed"
        ) from None


def _integers(array: Array, spec: TensorSpec) -> Array:
    if array.dtype == spec.dtype:
        return array
    bounds = np.iinfo(spec.dtype)
    whole = array.dtype.kind in _INTEGERS or bool((np.floor(array) == array).all())
    if whole and array.size and int(array.min()) >= bounds.min and int(array.max()) <= bounds.max:
        return array.astype(spec.dtype)
    if whole and not array.size:
        return array.astype(spec.dtype)
    odd = array.ravel()[~(np.floor(array) == array).ravel()][:1] if not whole else array.ravel()
    raise _no_integer(odd[0] if not whole else (array.min() if int(array.min()) < bounds.min else array.max()), spec)


def _large_integers(value: Any, spec: TensorSpec) -> Array:
    """By Python's own integers, each for itself: numpy, given large ones of both signs or floats beside them, makes
    floats of all, which skip numbers."""
    bounds = np.iinfo(spec.dtype)
    listed = np.array(value, dtype=np.object_)
    leaves: list[Any] = listed.ravel().tolist()
    for each in leaves:
        if not (isinstance(each, int) or each.is_integer()) or not bounds.min <= each <= bounds.max:
            raise _no_integer(each, spec)
    array: Array = np.array([int(each) for each in leaves], dtype=spec.dtype)
    return array.reshape(listed.shape)


def _no_integer(shown: Any, spec: TensorSpec) -> InvalidInput:
    bounds = np.iinfo(spec.dtype)
    return InvalidInput(
        f"input '{spec.name}' has {shown}: {spec.datatype}, whole numbers from {bounds.min} to {bounds.max}, is allowed"
    )


def _texts(value: Any, spec: TensorSpec) -> Array:
    leaves: list[str] = []

    def shape_of(each: Any) -> tuple[int, ...]:
        if type(each) is list:
            shapes = [shape_of(one) for one in each]
            if any(shape != shapes[0] for shape in shapes):
                raise InvalidInput(f"input '{spec.name}' is ragged: lists of equal lengths are allowed")
            return (len(each), *(shapes[0] if shapes else ()))
        leaves.append(_text(each, spec))
        return ()

    shape = shape_of(value)
    if len(shape) > _AXES_MAX:
        raise InvalidInput(f"input '{spec.name}' has {len(shape)} lists in each other: at most {_AXES_MAX} are allowed")
    array = np.empty(len(leaves), dtype=np.object_)
    array[:] = leaves
    return array.reshape(shape)


def _text(value: Any, spec: TensorSpec) -> str:
    if type(value) is str:
        return value
    if type(value) is dict and value.keys() == {"b64"} and type(value["b64"]) is str:
        try:
            return base64.b64decode(value["b64"], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise InvalidInput(f"input '{spec.name}' has b64 that is no UTF-8 text in base64: {error}") from None
    raise InvalidInput(f"input '{spec.name}' has {_shown(value)}: texts and {{\"b64\": …}} are allowed")


# -- what is wrong -----------------------------------------------------------------------------------------------------


def _first_odd(value: Any, spec: TensorSpec) -> Any:
    """The first leaf that the tensor cannot hold."""
    if type(value) is list:
        for each in value:
            odd = _first_odd(each, spec)
            if odd is not _NONE_ODD:
                return odd
        return _NONE_ODD
    if spec.dtype.kind == "b":
        fits = type(value) is bool
    else:
        fits = type(value) in (int, float) and (spec.dtype.kind == _FLOATS or -(2**63) <= value < 2**64)
    return _NONE_ODD if fits else value


_NONE_ODD: Final = object()


def _allowed(spec: TensorSpec) -> str:
    kinds = {"f": "numbers", "i": "whole numbers", "u": "whole numbers", "b": "true and false"}
    return f"{kinds[spec.dtype.kind]} ({spec.datatype})"


def _names(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(spec.name for spec in specs)


def _shown(value: Any) -> str:
    if value is _NONE_ODD:
        return "values of several types"
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN_CHARS_MAX else text[:_SHOWN_CHARS_MAX] + "…"


def _not_json(body: bytes, error: Exception) -> InvalidInput:
    """Python's own reader takes NaN and infinities: where it finds one, that is what is wrong."""
    found: list[str] = []

    def constant(name: str) -> Any:
        found.append(name)
        return _Constant()

    try:
        asked = json.loads(body, parse_constant=constant)
    except (ValueError, RecursionError):
        found = []
    if found:
        path = _path_to_constant(asked, "")
        return InvalidInput(f"{path} is {found[0]}: JSON has no such number, finite ones are allowed")
    return InvalidInput(f"the body is not JSON: {error}")


class _Constant:
    """Where Python's reader has found a NaN or an infinity."""


def _path_to_constant(value: Any, path: str) -> str:
    """Such as `input 'image'[0][3]`."""
    if isinstance(value, _Constant):
        return path or "the body"
    if isinstance(value, dict):
        for name, each in value.items():
            inner = f"input '{name}'" if path in ("inputs", "input") else (path and f"{path}.{name}") or name
            if found := _path_to_constant(each, inner):
                return found
    if isinstance(value, list):
        for index, each in enumerate(value):
            if found := _path_to_constant(each, f"{path}[{index}]"):
                return found
    return ""
