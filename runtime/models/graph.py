"""What a graph and its model.yaml say together: tensors, and how requests may be put together. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from runtime.models.batch_rules import BatchRules, powers_of_two
from runtime.models.errors import ModelUnusable
from runtime.models.spec import FILE_NAME, ModelSpec, TensorNote
from runtime.models.tensors import FREE, TensorSpec

# Without a word in model.yaml: requests that wait are put together up to this, and no further than the instance takes
# requests at once; one request alone may have more.
MERGED_ROWS_MAX: Final = 32
REQUEST_ROWS_MAX: Final = 128


@dataclass(frozen=True, slots=True)
class Graph:
    """`first_axes` has what the graph calls the first axis of each input ("n", "4", "" for none)."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    first_axes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """How a model is served. `max_batch_size` bounds one request's rows; 0 = it has no batch axis."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int
    rules: BatchRules


def shape_of(graph: Graph, spec: ModelSpec, concurrency: int, labels_of: Callable[[str], Sequence[str]]) -> Shape:
    """`labels_of` reads a file of labels.

    Raises:
        ModelUnusable: model.yaml says something that the graph is not.
    """
    inputs = _noted("inputs", graph.inputs, spec.inputs, labels_of)
    outputs = _noted("outputs", graph.outputs, spec.outputs, labels_of)
    graph = replace(graph, inputs=inputs, outputs=outputs)
    batching = spec.batching
    target_s = batching.latency_target_ms / 1000
    wanted = batching.buckets[-1] if batching.buckets else batching.max_batch_size
    fixed = _fixed_rows(graph)
    if wanted == 0 or not (_may_be_batched(graph) or (wanted and wanted == fixed)):
        if wanted:
            raise ModelUnusable(
                f"{FILE_NAME}: batching.maxBatchSize is {wanted}: the first axis of each input and output of the graph "
                f"must be free, or {wanted}; they are {_first_axes(graph)}"
            )
        return Shape(inputs, outputs, 0, BatchRules((1,), target_s))
    if fixed:
        free = [tuple(replace(each, shape=(FREE, *each.shape[1:])) for each in side) for side in (inputs, outputs)]
        return Shape(free[0], free[1], fixed, BatchRules((fixed,), target_s, pads=True))
    merged = wanted or min(MERGED_ROWS_MAX, max(1, concurrency))
    buckets = tuple(batching.buckets) if batching.buckets else powers_of_two(merged)
    rules = BatchRules(buckets, target_s, pads=bool(batching.buckets) or spec.cuda_graphs)
    return Shape(inputs, outputs, merged if wanted or rules.pads else max(merged, REQUEST_ROWS_MAX), rules)


def unbatched(shape: Shape) -> Shape:
    """The same model, requests run one by one."""
    return replace(shape, max_batch_size=0, rules=BatchRules((1,), shape.rules.latency_target_s))


def _may_be_batched(graph: Graph) -> bool:
    """Every tensor has a free first axis; where the graph names those of the inputs, it is the same name."""
    free = all(spec.shape[:1] == (FREE,) for spec in (*graph.inputs, *graph.outputs))
    return free and len(set(graph.first_axes) - {"None", ""}) <= 1


def _fixed_rows(graph: Graph) -> int:
    """The one number above 1 that the first axes of all tensors are; 0 if they are not."""
    sizes = {spec.shape[0] if spec.shape else 0 for spec in (*graph.inputs, *graph.outputs)}
    return sizes.pop() if len(sizes) == 1 and max(sizes) > 1 else 0


def _first_axes(graph: Graph) -> str:
    return ", ".join(f"{spec.name} {list(spec.shape)}" for spec in (*graph.inputs, *graph.outputs))


def _noted(
    field: str,
    specs: tuple[TensorSpec, ...],
    notes: Sequence[TensorNote],
    labels_of: Callable[[str], Sequence[str]],
) -> tuple[TensorSpec, ...]:
    by_name = {spec.name: spec for spec in specs}
    for note in notes:
        where = f"{FILE_NAME}: {field} '{note.name}'"
        spec = by_name.get(note.name)
        if spec is None:
            raise ModelUnusable(f"{where} is not one of the graph's: {', '.join(by_name)} are")
        if note.datatype is not None and note.datatype != spec.datatype:
            raise ModelUnusable(f"{where}: datatype is {note.datatype}, the graph's is {spec.datatype}")
        if note.shape is not None:
            spec = replace(spec, shape=_narrowed(where, spec, tuple(note.shape)))
        if note.labels is not None:
            labels = tuple(labels_of(note.labels) if isinstance(note.labels, str) else note.labels)
            if spec.shape and spec.shape[-1] not in (FREE, len(labels)):
                raise ModelUnusable(f"{where} has {len(labels)} labels for {spec.shape[-1]} values")
            spec = replace(spec, labels=labels)
        by_name[note.name] = spec
    return tuple(by_name[spec.name] for spec in specs)


def _narrowed(where: str, spec: TensorSpec, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A note may fix what the graph leaves free, and nothing else."""
    fits = len(shape) == len(spec.shape) and all(
        own in (FREE, noted) for own, noted in zip(spec.shape, shape, strict=True)
    )
    if not fits:
        raise ModelUnusable(f"{where}: shape is {list(shape)}, the graph's is {list(spec.shape)}, -1 being any size")
    return shape
