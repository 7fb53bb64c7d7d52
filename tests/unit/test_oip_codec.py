"""Inference requests of the Open Inference Protocol: what is read of their bytes, and what is refused by which name."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest

from runtime.models.oip.binary import objects
from runtime.models.oip.codec import CodecLimits, InferRequest, OutputTensor, decode, encode, joined
from runtime.models.oip.compression import accepted, compressed, decompressed
from runtime.models.oip.problems import OipError

LIMITS = CodecLimits()


def read(head: Any, tail: bytes = b"", *, header: bool | None = None) -> InferRequest:
    raw = head if isinstance(head, bytes) else json.dumps(head).encode()
    length = str(len(raw)) if (bool(tail) if header is None else header) else None
    return decode(memoryview(raw + tail), length, LIMITS)


def tensor(datatype: str, shape: list[Any], data: Any = None, **parameters: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"name": "x", "datatype": datatype, "shape": shape}
    if data is not None:
        made["data"] = data
    if parameters:
        made["parameters"] = parameters
    return made


def refusal(head: Any, tail: bytes = b"", *, header: bool | None = None) -> str:
    with pytest.raises(OipError) as refused:
        read(head, tail, header=header)
    assert refused.value.status == 400
    return str(refused.value)


NUMBERS = {
    "UINT8": [0, 255], "UINT16": [0, 65535], "UINT32": [0, 2**32 - 1], "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127], "INT16": [-(2**15), 2**15 - 1], "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1], "FP32": [-1.5, 3], "FP64": [1e300, -0.25], "BOOL": [True, False],
}  # fmt: skip


@pytest.mark.parametrize(("datatype", "values"), NUMBERS.items())
def test_values_listed_in_json_are_read_exactly(datatype: str, values: list[Any]) -> None:
    asked = read({"inputs": [tensor(datatype, [1, 2], [values])]})
    assert asked.inputs[0].array.tolist() == [values]
    assert asked.inputs[0].datatype == datatype


def test_nested_and_flat_lists_are_the_same_tensor() -> None:
    flat = read({"inputs": [tensor("INT32", [2, 2], [1, 2, 3, 4])]}).inputs[0].array
    nested = read({"inputs": [tensor("INT32", [2, 2], [[1, 2], [3, 4]])]}).inputs[0].array
    assert flat.tolist() == nested.tolist() == [[1, 2], [3, 4]]


def test_integral_floats_are_integers() -> None:
    assert read({"inputs": [tensor("INT32", [2], [1.0, -2.0])]}).inputs[0].array.tolist() == [1, -2]
    assert read({"inputs": [tensor("BOOL", [2], [1.0, 0])]}).inputs[0].array.tolist() == [True, False]
    assert read({"inputs": [tensor("INT32", [2.0], [1, 2])]}).inputs[0].array.shape == (2,)


def test_texts_are_utf_8() -> None:
    assert read({"inputs": [tensor("BYTES", [2], ["ä", ""])]}).inputs[0].array.tolist() == ["ä", ""]


@pytest.mark.parametrize(
    ("datatype", "data", "words"),
    [
        ("UINT8", [256], "input 'x' has the value 256: UINT8 has 0 to 255"),
        ("UINT64", [-1], "input 'x' has the value -1: UINT64"),
        ("INT64", [10**40], "input 'x' has the value a number of more than 20 digits: INT64"),
        ("INT32", [1.5], "input 'x' has the value 1.5: INT32 has integers"),
        ("INT32", [True], "input 'x' has true or false in data: INT32 takes integers"),
        ("FP32", ["1"], "input 'x' has a text in data: FP32 takes numbers"),
        ("FP32", [None], "input 'x' has null in data"),
        ("FP32", [1e39], "input 'x' has 1e+39 at position 0 of data: finite numbers of FP32"),
        ("FP64", [10**400], "input 'x' has an integer that is too large for FP64"),
        ("BOOL", [2], "input 'x' has a value in data that is neither true nor false"),
        ("BYTES", [1], "input 'x' has a number in data: BYTES takes texts"),
        ("BYTES", ["\ud800"], "input 'x' has a text that is no Unicode"),
        ("BYTES", [{}], "input 'x' has an object in data"),
        ("FP16", [1], "input 'x': FP16 cannot be sent as JSON, only as binary data"),
        ("BF16", [1], "input 'x': BF16 cannot be sent as JSON, only as binary data"),
        ("FP32", [[1], 2], "input 'x' has lists and values side by side"),
        ("FP32", 1, "input 'x' has a number as data: a list is allowed"),
        ("FP33", [1], "input 'x' has the datatype 'FP33': BOOL, UINT8,"),
        ("FP32", [1, 2], "input 'x' has 2 values in data: its shape [1] takes 1"),
    ],
)
def test_values_that_are_not_of_the_datatype_are_refused_by_name(datatype: str, data: Any, words: str) -> None:
    assert words in refusal({"inputs": [tensor(datatype, [1], data)]})


@pytest.mark.parametrize(("said", "word"), [(b"NaN", "NaN"), (b"Infinity", "Infinity"), (b"-Infinity", "-Infinity")])
def test_nan_and_infinity_are_refused_by_the_name_of_their_tensor(said: bytes, word: str) -> None:
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[2],"data":[1,%b]}]}' % said
    assert refusal(body) == f"input 'x' has {word} at position 1 of data: finite numbers of FP32 are allowed"
    assert "input 'x' has the value" in refusal(body.replace(b"FP32", b"INT8"))


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"{", "failed to parse the request as JSON"),
        (b"", "failed to parse the request as JSON"),
        (b"[]", "the request is not a JSON object"),
        (b"\xff", "the request is not UTF-8"),
        (b"[" * 100_000, "too deep"),
        ({}, "inputs must be a list"),
        ({"inputs": [1]}, "inputs[0] must be an object with a name"),
        ({"inputs": [tensor("FP32", [1])]}, "input 'x' has neither data nor binary_data_size"),
        ({"inputs": [tensor("FP32", [1], [1])] * 2}, "input 'x' is there twice"),
        ({"inputs": [tensor("FP32", [-1], [1])]}, "input 'x' has -1 in its shape"),
        ({"inputs": [tensor("FP32", [True], [1])]}, "input 'x' has True in its shape"),
        ({"inputs": [tensor("FP32", [0, 2**40, 2**40], [])]}, "more elements than memory can have"),
        ({"inputs": [tensor("FP32", [1] * 33, [1])]}, "input 'x' has 33 axes: at most 32"),
        ({"inputs": [{"name": "x", "datatype": "FP32"}]}, "input 'x' has no shape"),
        ({"inputs": [tensor("FP32", [1], [1])] * 1025}, "inputs has 1025 tensors: at most 1024"),
        ({"inputs": [], "id": 3}, "id 3: a text is allowed"),
        ({"inputs": [], "parameters": []}, "parameters of the request must be an object"),
        ({"inputs": [], "outputs": {"a": 1}}, "outputs must be a list"),
        ({"inputs": [], "outputs": [{}]}, "outputs must be a list of objects with a name"),
        ({"inputs": [], "outputs": [{"name": "y", "parameters": {"classification": -1}}]}, "classification -1"),
        ({"inputs": [], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]}, "binary_data 1: true or false"),
        (b'{"inputs":[],"parameters":{"p":NaN}}', "parameter 'p' is nan"),
    ],
)
def test_what_is_no_request_is_refused(head: Any, words: str) -> None:
    assert words in refusal(head)


def test_null_is_what_was_not_said() -> None:
    request = read({"id": None, "parameters": None, "inputs": [], "outputs": None})
    assert (request.id, request.parameters, request.outputs) == ("", {}, ())


def test_what_asks_for_shared_memory_is_unsupported() -> None:
    with pytest.raises(OipError, match="shared memory is not supported") as refused:
        read({"inputs": [tensor("FP32", [1], shared_memory_region="r")]})
    assert refused.value.status == 501


# -- the binary extension ----------------------------------------------------------------------------------------------


BINARY = {
    "BOOL": np.array([True, False]), "UINT8": np.array([1, 255], "u1"), "UINT16": np.array([1, 2], "u2"),
    "UINT32": np.array([1, 2], "u4"), "UINT64": np.array([1, 2**63], "u8"), "INT8": np.array([-1, 1], "i1"),
    "INT16": np.array([-1, 1], "i2"), "INT32": np.array([-1, 1], "i4"), "INT64": np.array([-1, 1], "i8"),
    "FP16": np.array([0.5, -2], "f2"), "FP32": np.array([0.5, -2], "f4"), "FP64": np.array([0.5, -2], "f8"),
    "BF16": np.array([0x3F80, 0xC000], "u2"), "BYTES": objects([b"a\0", b""]),
}  # fmt: skip


@pytest.mark.parametrize(("datatype", "values"), BINARY.items())
def test_tensors_go_there_and_back_as_binary_data(datatype: str, values: Any) -> None:
    sent = encode("m", "1", InferRequest(()), [(OutputTensor("x", datatype, values), True)])
    tail = b"".join(map(bytes, sent.buffers[1:]))
    (described,) = json.loads(bytes(sent.buffers[0]))["outputs"]
    assert sent.header_length == len(sent.buffers[0])
    assert sent.bytes == sent.header_length + len(tail)
    assert described["parameters"] == {"binary_data_size": len(tail)}
    (got,) = read({"inputs": [described]}, tail).inputs
    assert got.array.tolist() == values.tolist()
    assert got.array.dtype == values.dtype


def test_several_tensors_lie_behind_the_json_in_their_order() -> None:
    one = {**tensor("INT8", [3], binary_data_size=3), "name": "one"}
    listed = {**tensor("INT8", [1], [9]), "name": "listed"}
    other = {**tensor("FP32", [1], binary_data_size=4), "name": "other"}
    asked = read({"inputs": [one, listed, other]}, b"\1\2\3" + struct.pack("<f", 2.5))
    assert [each.array.tolist() for each in asked.inputs] == [[1, 2, 3], [9], [2.5]]


def test_a_tensor_that_lies_aligned_is_not_copied() -> None:
    head = json.dumps({"inputs": [tensor("FP32", [2], binary_data_size=8)]}).encode()
    pieces = [head, struct.pack("<2f", 1, 2)]
    body, begin = joined(pieces, str(len(head)))
    (got,) = decode(body[begin:], str(len(head)), LIMITS).inputs
    assert got.array.flags.aligned
    assert not got.array.flags.owndata
    assert np.shares_memory(got.array, np.frombuffer(body, np.uint8))


def test_an_output_that_lies_in_order_is_not_copied() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    sent = encode("m", "1", InferRequest(()), [(OutputTensor("x", "FP32", values), True)])
    assert np.shares_memory(np.frombuffer(sent.buffers[1], np.uint8), values)


@pytest.mark.parametrize(
    ("made", "tail", "words"),
    [
        (tensor("FP32", [2], binary_data_size=4), b"\0" * 4, "has binary_data_size 4: its shape [2] of FP32 takes 8"),
        (tensor("FP32", [1], binary_data_size=5), b"\0" * 4, "has binary_data_size 5: 4 bytes are left"),
        (tensor("FP32", [1], binary_data_size=4), b"\0" * 5, "has 5 bytes behind its JSON"),
        (tensor("FP32", [1], binary_data_size=-4), b"\0" * 4, "binary_data_size -4: a number of bytes"),
        (tensor("FP32", [1], binary_data_size="4"), b"\0" * 4, "binary_data_size '4': a number of bytes"),
        (tensor("FP32", [1], [1], binary_data_size=4), b"\0" * 4, "has both data and binary_data_size"),
        (tensor("BOOL", [1], binary_data_size=1), b"\2", "has a byte that is neither 0 nor 1"),
        (tensor("BYTES", [1], binary_data_size=3), b"\1\0\0", "ends within the length of its element 0"),
        (tensor("BYTES", [1], binary_data_size=5), b"\2\0\0\0a", "element 0, is said to have 2 bytes: 1 are left"),
        (tensor("BYTES", [2], binary_data_size=5), b"\1\0\0\0a", "has 1 elements: its shape takes 2"),
    ],
)
def test_binary_data_that_is_not_the_tensor_is_refused_by_name(made: dict[str, Any], tail: bytes, words: str) -> None:
    assert words in refusal({"inputs": [made]}, tail)


@pytest.mark.parametrize("said", ["-1", "x", "1.0", "9" * 30, "99", ""])
def test_a_header_length_that_is_none_is_refused(said: str) -> None:
    with pytest.raises(OipError, match="Inference-Header-Content-Length"):
        decode(memoryview(b"{}"), said, LIMITS)


def test_a_header_length_of_0_is_a_body_without_json() -> None:
    asked = decode(memoryview(b"\1\2"), "0", LIMITS)
    assert asked.raw is not None
    assert (bytes(asked.raw), asked.all_binary) == (b"\1\2", True)


def test_outputs_are_binary_when_asked_for_one_by_one_or_all_together() -> None:
    asked = read({"inputs": [], "parameters": {"binary_data_output": True}, "outputs": [
        {"name": "a"}, {"name": "b", "parameters": {"binary_data": False, "classification": 2}}]})  # fmt: skip
    assert asked.all_binary
    assert [tuple(output) for output in asked.outputs] == [("a", True, 0), ("b", False, 2)]


def test_a_body_over_the_limit_is_refused() -> None:
    with pytest.raises(OipError, match="the body has 3 bytes: at most 2 are allowed") as refused:
        decode(memoryview(b"{ }"), None, CodecLimits(body_bytes_max=2))
    assert refused.value.status == 413


@pytest.mark.parametrize(
    ("datatype", "values", "words"),
    [
        ("FP32", np.array([np.nan], np.float32), "output 'x' has NaN or Infinity"),
        ("FP16", np.array([1], np.float16), "output 'x': FP16 cannot be sent as JSON: ask for it with binary_data"),
        ("BYTES", objects([b"\xff"]), "output 'x' is not UTF-8"),
    ],
)
def test_outputs_that_json_cannot_hold_are_refused_by_name(datatype: str, values: Any, words: str) -> None:
    with pytest.raises(OipError, match=words):
        encode("m", "1", InferRequest(()), [(OutputTensor("x", datatype, values), False)])


def test_an_answer_says_the_id_of_its_request() -> None:
    assert json.loads(bytes(encode("m", "2", InferRequest((), id="7"), []).buffers[0])) == {
        "id": "7", "model_name": "m", "model_version": "2", "outputs": []}  # fmt: skip
    assert b'"id"' not in bytes(encode("m", "2", InferRequest(()), []).buffers[0])


# -- compression -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("GZIP", gzip.compress)]
)
def test_bodies_are_unpacked(name: str, pack: Any) -> None:
    assert decompressed(pack(b"abc" * 100), name, 300) == b"abc" * 100


@pytest.mark.parametrize(
    ("body", "name", "status"),
    [
        (gzip.compress(b"a" * 301, mtime=0), "gzip", 413),
        (gzip.compress(b"a", mtime=0)[:-1], "gzip", 400),
        (gzip.compress(b"a", mtime=0) + b"x", "gzip", 400),
        (b"not packed", "gzip", 400),
        (b"not packed", "deflate", 400),
        (b"", "gzip", 400),
        (b"a", "br", 400),
    ],
)
def test_bodies_that_cannot_be_unpacked_or_are_too_large_are_refused(body: bytes, name: str, status: int) -> None:
    with pytest.raises(OipError) as refused:
        decompressed(body, name, 300)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("", "identity"), ("gzip", "gzip"), ("deflate, gzip", "gzip"), ("gzip;q=0.5, deflate;q=0.8", "deflate"),
        ("br, zstd", "identity"), ("gzip;q=0", "identity"), ("GZIP", "gzip"), ("gzip;q=x", "identity"),
    ],
)  # fmt: skip
def test_an_answer_is_packed_as_its_client_likes_best(header: str, chosen: str) -> None:
    assert accepted(header) == chosen


@pytest.mark.parametrize(("name", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_answers_are_packed_in_one_stream(name: str, unpack: Any) -> None:
    assert unpack(b"".join(map(bytes, compressed([b"abc", memoryview(b"def")], name)))) == b"abcdef"
