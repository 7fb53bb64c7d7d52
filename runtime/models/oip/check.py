"""Whether a request is one that a model takes, in Triton's words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.models.oip.binary import array_of, objects
from runtime.models.oip.codec import InferRequest, InputTensor, RequestedOutput
from runtime.models.oip.datatypes import BYTES, FIXED, shown
from runtime.models.oip.ports import ServedModel
from runtime.models.oip.problems import OipError
from runtime.models.tensors import FREE, Array, TensorSpec, as_texts


def inputs_for(model: ServedModel, request: InferRequest) -> dict[str, Array]:
    """The tensors by name, all that the model needs and nothing else.

    Raises:
        OipError: the request is not one that the model takes.
        InvalidInput: a text is not UTF-8.
    """
    tensors = request.inputs if request.raw is None else (_raw_input(model, request.raw),)
    by_name = {spec.name: spec for spec in model.inputs}
    for tensor in tensors:
        if tensor.name not in by_name:
            raise _wrong(request, f"unexpected inference input '{tensor.name}' for model '{model.name}'")
    if len(tensors) != len(by_name):
        got = [tensor.name for tensor in tensors]
        missing = [name for name in by_name if name not in got]
        raise _wrong(
            request,
            f"expected {len(by_name)} inputs but got {len(got)} inputs for model '{model.name}'. "
            f"Got input(s) {got}, but missing required input(s) {missing}",
        )
    rows: int | None = None
    for name, datatype, array in tensors:
        spec = by_name[name]
        _check_tensor(model, request, spec, datatype, array)
        if model.max_batch_size:
            if rows is not None and rows != array.shape[0]:
                raise _wrong(
                    request,
                    f"input '{name}' batch size does not match other inputs for '{model.name}': "
                    f"{array.shape[0]} came, others have {rows}",
                )
            rows = array.shape[0]
    if rows is not None and not 1 <= rows <= model.max_batch_size:
        bound = f"<= {model.max_batch_size}" if rows else ">= 1"
        raise _wrong(request, f"inference request batch-size must be {bound} for '{model.name}'")
    return {name: as_texts(name, array) if datatype == BYTES else array for name, datatype, array in tensors}


def outputs_for(model: ServedModel, request: InferRequest) -> Sequence[tuple[RequestedOutput, TensorSpec]]:
    """What to send of which output, in the order it was asked for. Raises OipError."""
    if not request.outputs:
        return [(RequestedOutput(spec.name, request.all_binary), spec) for spec in model.outputs]
    by_name = {spec.name: spec for spec in model.outputs}
    for output in request.outputs:
        if output.name not in by_name:
            raise _wrong(request, f"unexpected inference output '{output.name}' for model '{model.name}'")
    return [(output, by_name[output.name]) for output in request.outputs]


def _check_tensor(model: ServedModel, request: InferRequest, spec: TensorSpec, datatype: str, array: Array) -> None:
    if datatype != spec.datatype:
        raise _wrong(
            request,
            f"inference input '{spec.name}' data-type is '{datatype}', but model '{model.name}' expects "
            f"'{spec.datatype}'",
        )
    if not spec.fits(array.shape):
        raise _wrong(
            request,
            f"unexpected shape for input '{spec.name}' for model '{model.name}'. Expected {shown(spec.shape)}, "
            f"got {shown(array.shape)}",
        )


def _raw_input(model: ServedModel, raw: memoryview) -> InputTensor:
    """A body that is nothing but the only input's bytes: one row; one axis may be free, and is what the bytes are."""
    if len(model.inputs) != 1:
        raise OipError(
            f"a body without a JSON header is the input of a model that has one: '{model.name}' has {len(model.inputs)}"
        )
    spec = model.inputs[0]
    shape = [1, *spec.shape[1:]] if model.max_batch_size else list(spec.shape)
    if spec.datatype == BYTES:  # one element, without a length before it
        shape = [1 if axis == FREE else axis for axis in shape]
        if any(axis != 1 for axis in shape):
            raise OipError(
                f"input '{spec.name}' has the shape {shown(spec.shape)}: a body without a JSON header is one"
            )
        return InputTensor(spec.name, BYTES, objects([bytes(raw)]).reshape(shape))
    item_bytes = FIXED[spec.datatype].itemsize
    known_bytes = int(np.prod([axis for axis in shape if axis != FREE], dtype=np.int64)) * item_bytes
    free = shape.count(FREE)
    if free > 1 or (free and (not known_bytes or len(raw) % known_bytes)):
        raise OipError(
            f"input '{spec.name}' has the shape {shown(spec.shape)}, which {len(raw)} bytes without a JSON header "
            "do not tell in full"
        )
    if free:
        shape[shape.index(FREE)] = len(raw) // known_bytes
    count = int(np.prod(shape, dtype=np.int64))
    return InputTensor(spec.name, spec.datatype, array_of(spec.name, spec.datatype, tuple(shape), count, raw))


def _wrong(request: InferRequest, message: str) -> OipError:
    return OipError(f"[request id: {request.id or '<id_unknown>'}] {message}")
