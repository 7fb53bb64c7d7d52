"""The inputs that a model is run with before it is ready: those of model.yaml, else made by a seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final, NamedTuple

import numpy as np

from runtime.models.batching import Runner
from runtime.models.errors import InvalidInput, ModelUnusable
from runtime.models.json_api import to_array
from runtime.models.spec import FILE_NAME, WarmUp, WarmUpInput
from runtime.models.tensors import FREE, Array, TensorSpec, as_texts, bf16_bits

_SEED: Final = 1
# A run that takes less is made once more, and only the second is measured: the first has made what both use.
_SHORT_S: Final = 0.05
_NUMBERS: Final = "biuf"  # kinds of numpy's
_ELEMENTS_MAX: Final = 2**28  # of one row: what is more is a mistake in model.yaml


class Ran(NamedTuple):
    """`took_s` is of the last run, `ns` of each."""

    results: list[Array]
    took_s: float
    ns: list[int]


def repeated(row: dict[str, Array], rows: int) -> dict[str, Array]:
    """A batch of so many of the same row."""
    return row if rows == 1 else {name: np.repeat(array, rows, axis=0) for name, array in row.items()}


def run(runner: Runner, outputs: Sequence[str], inputs: dict[str, Array], runs: int) -> Ran:
    """Blocks. Raises ModelUnusable: the model fails on these."""
    took_ns: list[int] = []
    while len(took_ns) < runs or (len(took_ns) == 1 and took_ns[0] < _SHORT_S * 1e9):
        began_ns = perf_counter_ns()
        try:
            results = runner.run(outputs, inputs)
        except Exception as error:
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())
            raise ModelUnusable(f"the model failed in its warm-up, on {shapes}: {error}") from error
        took_ns.append(perf_counter_ns() - began_ns)
    return Ran(results, took_ns[-1] / 1e9, took_ns)


def row(specs: Sequence[TensorSpec], warm_up: WarmUp, folder: Path, *, has_batch_axis: bool) -> dict[str, Array]:
    """One row for each input (without a batch axis: the whole input).

    Without a word in model.yaml floats are random in [0, 1), the rest is 0, false or "", and free axes have one place:
    a number that is an index or a choice is in its range then.

    Raises:
        ModelUnusable: what model.yaml says of an input does not fit it.
    """
    unknown = warm_up.inputs.keys() - {spec.name for spec in specs}
    if unknown:
        raise ModelUnusable(
            f"{FILE_NAME}: warmUp.inputs has '{min(unknown)}': {', '.join(spec.name for spec in specs)} are allowed"
        )
    draw = np.random.default_rng(_SEED)
    rows = {}
    for spec in specs:
        note = warm_up.inputs.get(spec.name, WarmUpInput())
        inner = spec.shape[1:] if has_batch_axis else spec.shape
        try:
            array = _made(spec, note, tuple(inner), folder, draw)
        except (InvalidInput, OSError, ValueError, OverflowError, EOFError) as error:
            raise ModelUnusable(f"{FILE_NAME}: warmUp.inputs.{spec.name}: {error}") from error
        rows[spec.name] = array[np.newaxis] if has_batch_axis else array
        try:
            spec.check(rows[spec.name])
        except InvalidInput as error:
            raise ModelUnusable(f"{FILE_NAME}: warmUp.inputs.{spec.name}: {error}") from error
    return rows


def _made(
    spec: TensorSpec, note: WarmUpInput, inner: tuple[int, ...], folder: Path, draw: np.random.Generator
) -> Array:
    if note.file is not None:
        return _from_file(spec, folder / note.file)
    if isinstance(note.value, list):
        return to_array(note.value, spec)
    shape = tuple(note.shape) if note.shape is not None else tuple(1 if axis == FREE else axis for axis in inner)
    if int(np.prod(shape, dtype=object)) > _ELEMENTS_MAX:
        raise ValueError(f"shape {list(shape)} has more than {_ELEMENTS_MAX} elements")
    if note.value is not None:
        return np.broadcast_to(to_array(note.value, spec), shape).copy()
    return _random(spec, note, shape, draw)


def _from_file(spec: TensorSpec, file: Path) -> Array:
    loaded = np.load(file, allow_pickle=False)
    if not isinstance(loaded, np.ndarray):
        loaded.close()
        raise ValueError(f"{file.name} has several arrays: a .npy file is allowed")
    if loaded.dtype == spec.dtype:
        return loaded
    if spec.dtype.kind == "O" and loaded.dtype.kind in "US":
        return as_texts(spec.name, loaded.astype(np.object_))
    if spec.dtype.kind == "O" or loaded.dtype.kind not in _NUMBERS:
        raise ValueError(f"{file.name} has {loaded.dtype}: {spec.datatype} is allowed")
    if spec.datatype == "BF16":
        return bf16_bits(spec.name, loaded)
    with np.errstate(over="ignore", invalid="ignore"):
        fitted: Array = loaded.astype(spec.dtype)
    fits = np.isfinite(fitted) >= np.isfinite(loaded) if spec.dtype.kind == "f" else fitted == loaded
    if not fits.all():
        raise ValueError(f"{file.name} has numbers that {spec.datatype} has not")
    return fitted


def _random(spec: TensorSpec, note: WarmUpInput, shape: tuple[int, ...], draw: np.random.Generator) -> Array:
    kind = spec.dtype.kind
    if kind == "O":
        texts: np.ndarray[Any, Any] = np.full(shape, "", dtype=np.object_)
        return texts
    if kind == "f" or spec.datatype == "BF16":
        low, high = note.random or (0.0, 1.0)
        drawn = draw.uniform(low, high, shape)
        return drawn.astype(spec.dtype) if kind == "f" else bf16_bits(spec.name, drawn)
    if note.random is not None and kind in "iu":
        return draw.integers(int(note.random[0]), int(note.random[1]) + 1, shape).astype(spec.dtype)
    return np.zeros(shape, dtype=spec.dtype)
