"""Models: what holds for any requests, and any JSON."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.http.beginnings import beginning_of, with_other_end
from runtime.http.head import HeadMalformed, parse_request
from runtime.models import json_api, json_floats
from runtime.models.batch_rules import BatchRules, RunTimes, how_many, powers_of_two
from runtime.models.batching import stacked
from runtime.models.errors import InvalidInput
from runtime.models.tensors import DTYPES, TensorSpec

BEGIN = b"POST /x HTTP/1.1\r\nhost: a\r\n"
FIRST = parse_request(BEGIN + b"x-fc-request-id: 1\r\ncontent-length: 5\r\n\r\n")


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(1, 32))
@settings(max_examples=30)
def test_every_request_is_run_once_in_order_and_no_batch_is_larger_than_allowed(rows: list[int], allowed: int) -> None:
    left, batches = list(rows), []
    while left:
        count = how_many(left, allowed)
        batches.append(left[:count])
        del left[:count]
    assert [row for batch in batches for row in batch] == rows
    assert all(sum(batch) <= allowed or len(batch) == 1 for batch in batches)


@given(st.integers(1, 64), st.lists(st.tuples(st.integers(1, 64), st.floats(1e-6, 1.0)), max_size=30))
@settings(max_examples=30)
def test_what_is_allowed_is_a_bucket_whatever_was_measured(rows_max: int, measured: list[tuple[int, float]]) -> None:
    rules = BatchRules(powers_of_two(rows_max), latency_target_s=0.05)
    times = RunTimes(rules)
    for rows, took_s in measured:
        times.note(rows, took_s)
    assert times.rows_allowed() in rules.buckets


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.integers(0, 5))
@settings(max_examples=20)
def test_a_batch_has_the_rows_of_its_requests_in_their_order_then_the_last_one_again(
    counts: list[int], filled: int
) -> None:
    each = [{"x": np.full((count, 2), index)} for index, count in enumerate(counts)]
    rows = [index for index, count in enumerate(counts) for _ in range(count)]
    assert stacked(each, filled)["x"][:, 0].tolist() == rows + [rows[-1]] * filled


LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=2)
JSON = LEAF | st.lists(LEAF | st.lists(LEAF, max_size=2), max_size=2) | st.fixed_dictionaries({"x": st.lists(LEAF)})


@given(JSON, st.sampled_from(sorted(DTYPES)), st.sampled_from(["inputs", "instances"]))
@settings(max_examples=40)
def test_any_json_is_read_as_the_tensor_or_refused(value: Any, datatype: str, form: str) -> None:
    spec = TensorSpec("x", datatype, (-1,))
    try:
        asked = json_api.read(json.dumps({form: value}).encode(), (spec,))
    except InvalidInput:
        return
    assert all(array.dtype == spec.dtype for array in asked.inputs.values())


@given(st.binary(max_size=30))
@settings(max_examples=30)
def test_any_bytes_are_json_of_tensors_or_refused(body: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        json_api.read(body, (TensorSpec("x", "FP32", (-1,)),))


@given(
    st.text("0a-_. :\r\n", max_size=6),
    st.text("0123456789+x \r\n", max_size=20),
    st.sampled_from(["", "x: 1\r\n", "\n"]),
)
@settings(max_examples=40)
def test_an_end_that_is_taken_is_read_as_by_the_reader_of_whole_heads(identity: str, length: str, more: str) -> None:
    data = BEGIN + f"x-fc-request-id: {identity}\r\ncontent-length: {length}\r\n{more}\r\n".encode()
    found = with_other_end(FIRST, beginning_of(FIRST), data)
    if found is None:
        return
    try:
        whole = parse_request(found.raw)
    except HeadMalformed as malformed:
        raise AssertionError("taken, though it is malformed") from malformed
    assert (found.fields, found.content_length) == (whole.fields, whole.content_length)


NUMBER = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-(2**24), 2**24)


@given(st.integers(1, 3).flatmap(lambda rank: st.tuples(*[st.integers(1, 3)] * rank)), st.data())
@settings(max_examples=30)
def test_numbers_are_read_the_short_way_as_they_are_the_general_way(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    size = int(np.prod(shape))
    flat = data.draw(st.lists(NUMBER, min_size=size, max_size=size))
    nested = np.array(flat, dtype=object).reshape(shape).tolist()
    body, spec = json.dumps({"inputs": {"x": nested}}).encode(), TensorSpec("x", "FP32", shape)
    [short] = (json_floats.read(body, [spec]) or {}).values()
    np.testing.assert_array_equal(short, json_api.read(body, [spec]).inputs["x"])
