"""The Open Inference Protocol's codec over tensors of every kind, and over bytes that are nearly requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.models.oip.binary import objects
from runtime.models.oip.codec import CodecLimits, InferRequest, OutputTensor, decode, encode, joined
from runtime.models.oip.compression import compressed, decompressed
from runtime.models.oip.datatypes import BF16, BYTES, FIXED, FP16
from runtime.models.oip.problems import OipError

LIMITS = CodecLimits(body_bytes_max=100_000)

SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@st.composite
def tensors(draw: st.DrawFn) -> OutputTensor:
    """Of any datatype, of finite numbers, with a shape that may have no elements."""
    datatype = draw(st.sampled_from([*FIXED, BYTES]))
    shape = draw(SHAPES)
    count = int(np.prod(shape, dtype=int))
    if datatype == BYTES:
        texts = draw(st.lists(st.text(max_size=4).map(str.encode), min_size=count, max_size=count))
        return OutputTensor("x", datatype, objects(texts).reshape(shape))
    dtype = FIXED[datatype]
    raw = draw(st.binary(min_size=count * dtype.itemsize, max_size=count * dtype.itemsize))
    array = np.frombuffer(raw, np.uint8) % 2 if datatype == "BOOL" else np.frombuffer(raw, dtype)
    array = array.astype(dtype).reshape(shape)
    if dtype.kind == "f":
        array = np.nan_to_num(array, posinf=1, neginf=-1)
    return OutputTensor("x", datatype, array)


def refused(call: Callable[[], object]) -> int | None:
    """The status that it was refused with, None if it was not. Anything but an OipError goes through."""
    try:
        call()
    except OipError as error:
        return error.status if str(error) else None
    return None


def same(got: Any, sent: OutputTensor) -> bool:
    if sent.datatype == BYTES:
        plain = [each.encode() if isinstance(each, str) else each for each in got.ravel()]
        return got.shape == sent.array.shape and plain == sent.array.ravel().tolist()
    return got.shape == sent.array.shape and got.dtype == sent.array.dtype and bool((got == sent.array).all())


@settings(max_examples=15, deadline=None)
@given(st.lists(tensors(), min_size=1, max_size=3), st.data())
def test_what_is_sent_is_what_is_read_in_json_and_in_binary(sent: list[OutputTensor], data: st.DataObject) -> None:
    outputs = []
    for number, tensor in enumerate(sent):
        binary = tensor.datatype in (FP16, BF16) or data.draw(st.booleans())
        outputs.append((tensor._replace(name=f"x{number}"), binary))
    encoded = encode("m", "1", InferRequest((), id="é"), outputs)
    described = json.loads(bytes(encoded.buffers[0]))
    head = json.dumps({"inputs": described["outputs"], "id": described["id"]}).encode()
    tail = b"".join(map(bytes, encoded.buffers[1:]))
    length = None if encoded.header_length is None else str(len(head))
    at = data.draw(st.integers(0, len(head + tail)))
    whole = head + tail
    body, begin = joined([whole[:at], whole[at:]], length)
    asked = decode(body[begin:], length, LIMITS)
    assert asked.id == "é"
    assert encoded.bytes == sum(map(len, encoded.buffers))
    for (output, _), (name, datatype, array) in zip(outputs, asked.inputs, strict=True):
        assert (name, datatype) == (output.name, output.datatype)
        assert same(array, output)
        assert array.flags.aligned


PIECES = st.sampled_from(
    [b'{"inputs":[', b'{"name":"x",', b'"datatype":"FP32",', b'"datatype":"BYTES",', b'"datatype":"INT8",',
     b'"shape":[1]', b'"shape":[2,0]', b'"shape":[-1]', b'"shape":[1e400]', b',"data":[', b"1", b"1.5", b"NaN", b"[",
     b"]", b"}", b",", b'"a"', b"null", b"true", b'"\\ud800"', b"9" * 5000, b',"parameters":{"binary_data_size":4}',
     b',"outputs":[{"name":"y","parameters":{"classification":2}}]', b"\0\0\0\0", b"\xff", b"1e999", b"-Infinity"]
)  # fmt: skip
NEARLY = st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=14).map(b"".join))
LENGTHS = st.one_of(st.none(), st.integers(-1, 200).map(str), st.text(max_size=4))


@settings(max_examples=60, deadline=None)
@given(NEARLY, LENGTHS)
def test_bytes_that_are_no_request_are_refused_and_nothing_else_happens(body: bytes, length: str | None) -> None:
    whole, begin = joined([body[:3], body[3:]], length)
    assert refused(lambda: decode(whole[begin:], length, LIMITS)) in (None, 400, 413, 501)


@st.composite
def tensor_objects(draw: st.DrawFn) -> dict[str, Any]:
    """What could be a tensor, with values of any kind where there should be others."""
    odd = st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.floats(), st.text(max_size=3)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=2)),
        max_leaves=6,
    )
    made: dict[str, Any] = {}
    for key, right in (
        ("name", st.sampled_from(["x", "y"])),
        ("datatype", st.sampled_from([*FIXED, BYTES])),
        ("shape", st.lists(st.integers(0, 3), max_size=2)),
        ("data", st.lists(st.one_of(st.integers(-300, 300), st.booleans(), st.text(max_size=2)), max_size=3)),
        ("parameters", st.fixed_dictionaries({"binary_data_size": st.integers(-1, 9)})),
    ):
        if draw(st.integers(0, 5)):
            made[key] = draw(right if draw(st.integers(0, 4)) else odd)
    return made


@settings(max_examples=25, deadline=None)
@given(st.lists(tensor_objects(), max_size=2), tensor_objects(), st.binary(max_size=9))
def test_objects_that_are_no_tensors_are_refused_and_nothing_else_happens(
    inputs: list[dict[str, Any]], output: dict[str, Any], tail: bytes
) -> None:
    head = json.dumps({"inputs": inputs, "outputs": [output]}).encode()
    assert refused(lambda: decode(memoryview(head + tail), str(len(head)), LIMITS)) in (None, 400, 501)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=3), st.sampled_from(["gzip", "deflate"]), st.data())
def test_what_is_packed_is_unpacked_and_what_was_damaged_is_refused(
    parts: list[bytes], name: str, data: st.DataObject
) -> None:
    packed = b"".join(map(bytes, compressed(parts, name)))
    assert decompressed(packed, name, 1000) == b"".join(parts)
    cut = data.draw(st.integers(0, len(packed) - 1))
    assert refused(lambda: decompressed(packed[:cut], name, 1000)) == 400
