"""The best classes of an output in place of its values, as Triton's classification extension has it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.models.oip.binary import objects
from runtime.models.oip.problems import OipError
from runtime.models.tensors import Array


def classified(name: str, array: Array, classes: int, labels: Sequence[str], *, is_batched: bool) -> Array:
    """The `classes` largest values, largest first and the first of equals first, each as "value:index[:label]"; NaN is
    none of the large ones.

    Of a batch each row has its own; there are never more than a row has values.

    Raises:
        OipError: the output has no numbers.
    """
    if array.dtype.kind not in "fiu":
        raise OipError(f"output '{name}' has no numbers to take classes of: classification needs an output of numbers")
    rows = array.reshape(array.shape[0], -1) if is_batched else array.reshape(1, -1)
    count = min(classes, rows.shape[1])
    is_float = array.dtype.kind == "f"
    ranked = np.where(np.isnan(rows), -np.inf, rows) if is_float else rows
    # Sorted as a whole, from the end of what was turned around: that alone keeps the order of equals.
    order = rows.shape[1] - 1 - np.argsort(ranked[:, ::-1], axis=1, kind="stable")[:, ::-1][:, :count]
    texts = [
        _text(row[index], int(index), labels, is_float=is_float).encode()
        for row, indexes in zip(rows, order, strict=True)
        for index in indexes
    ]
    shape = (array.shape[0], count) if is_batched else (count,)
    return objects(texts).reshape(shape)


def _text(value: np.generic, index: int, labels: Sequence[str], *, is_float: bool) -> str:
    said = f"{float(value):.6f}" if is_float else str(value)
    label = f":{labels[index]}" if index < len(labels) else ""
    return f"{said}:{index}{label}"
