"""Triton's generate extension: an inference in one flat JSON object, tensor by name, and its answer alike. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime.models.oip.codec import InferRequest, InputTensor, OutputTensor
from runtime.models.oip.json_data import array_from, values_of
from runtime.models.oip.ports import ServedModel
from runtime.models.oip.problems import OipError
from runtime.models.tensors import FREE, TensorSpec


def request_from(model: ServedModel, flat: dict[str, Any]) -> InferRequest:
    """Keys that are no input are parameters, but `id`. A value alone is a list of one.

    Raises:
        OipError: a value is not what its input takes.
    """
    specs = {spec.name: spec for spec in model.inputs}
    parameters = dict(flat)
    inputs = tuple(
        _input(specs[name], parameters.pop(name), batched=model.max_batch_size > 0) for name in flat if name in specs
    )
    identity = parameters.pop("id", None)
    if identity is None:
        identity = ""
    if not isinstance(identity, str):
        raise OipError(f"id {identity!r}: a text is allowed")
    return InferRequest(inputs, (), identity, parameters)


def _input(spec: TensorSpec, value: Any, *, batched: bool) -> InputTensor:
    values = value if isinstance(value, list) else [value]
    shape = _shape(spec, len(values), batched=batched)
    return InputTensor(spec.name, spec.datatype, array_from(spec.name, spec.datatype, shape, len(values), values))


def _shape(spec: TensorSpec, count: int, *, batched: bool) -> tuple[int, ...]:
    """The model's own shape for so many values: one row, and one free axis takes what there is."""
    own = [1, *spec.shape[1:]] if batched else list(spec.shape)
    known = 1
    for axis in own:
        known *= axis if axis != FREE else 1
    if own.count(FREE) == 1 and known and count % known == 0:
        own[own.index(FREE)] = count // known
    elif own.count(FREE):
        own = [1 if axis == FREE else axis for axis in own]
    total = 1
    for axis in own:
        total *= axis
    if total != count:
        raise OipError(f"input '{spec.name}' has {count} values: the model takes the shape {list(spec.shape)}")
    return tuple(own)


def answer_from(model: ServedModel, request: InferRequest, outputs: Sequence[OutputTensor]) -> dict[str, Any]:
    """One value alone where an output has one, else their list. Raises OipError for what JSON cannot hold."""
    answer: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if request.id:
        answer["id"] = request.id
    for name, datatype, array in outputs:
        values = values_of(name, datatype, array)
        answer[name] = values[0] if len(values) == 1 else values
    return answer
