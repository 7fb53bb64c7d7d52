"""Large inputs of numbers out of plain JSON, by the shortest way there is: a reader that knows what must come. Pure.

For a picture of 3 x 224 x 224, 3 MB of text, the general way took 7.0 ms of processor time and this one takes 6.1, of
which 4.3 are the reader's, who makes an object of each number.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

import msgspec
import numpy as np

from runtime.models.tensors import Array, TensorSpec

BYTES_MIN: Final = 16_384  # of a body: below it the general way is as quick
_FLOATS: Final = frozenset(("FP16", "FP32", "FP64"))


def read(body: bytes, specs: Sequence[TensorSpec]) -> dict[str, Array] | None:
    """The tensors as FP64, by name; None: it is not so simple, or wrong, which the general way tells better."""
    ranks = {len(spec.shape) for spec in specs}
    if len(ranks) != 1 or any(spec.datatype not in _FLOATS for spec in specs):
        return None
    try:
        given = _decoder(ranks.pop())(body).inputs
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    names = {spec.name for spec in specs}
    found: dict[str, Array] = {}
    for name, value in given.items():
        array = _array(value) if name in names else None
        if array is None:
            return None
        found[name] = array
    return found


@lru_cache(maxsize=8)  # one for each rank that models of a process have
def _decoder(rank: int) -> Callable[[bytes], Any]:
    nested: Any = float
    for _ in range(rank):
        nested = list[nested]
    fields: list[Any] = [("inputs", dict[str, nested]), ("signature_name", str, "")]
    return msgspec.json.Decoder(msgspec.defstruct("Floats", fields, forbid_unknown_fields=True)).decode


def _array(value: Any) -> Array | None:
    """None: it is ragged, empty, no list, or has a number beyond FP64."""
    if type(value) is not list:
        return None
    flat, shape = value, [len(value)]
    while flat and type(flat[0]) is list:
        lengths = set(map(len, flat))
        if len(lengths) > 1:
            return None
        shape.append(lengths.pop())
        flat = list(chain.from_iterable(flat))
    if not flat:
        return None
    array: Array = np.frombuffer(struct.pack(f"{len(flat)}d", *flat)).reshape(shape)
    return array if np.isfinite(array).all() else None
