"""Tensors as plain JSON: what is read, what is answered, and what is refused by its name."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from runtime.models import json_api
from runtime.models.errors import InvalidInput
from runtime.models.tensors import TensorSpec, bf16_bits, widened

IMAGE = TensorSpec("image", "FP32", (-1, 2))
COUNT = TensorSpec("count", "INT64", (-1,))
SMALL = TensorSpec("small", "UINT8", (-1,))
HALF = TensorSpec("half", "FP16", (-1,))
FLAG = TensorSpec("flag", "BOOL", (-1,))
BRAIN = TensorSpec("brain", "BF16", (-1,))
TEXT = TensorSpec("text", "BYTES", (-1,))


def read(asked: Any, *specs: TensorSpec) -> dict[str, Any]:
    body = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    return {name: array.tolist() for name, array in json_api.read(body, specs).inputs.items()}


def refused(asked: Any, *specs: TensorSpec) -> str:
    with pytest.raises(InvalidInput) as error:
        read(asked, *specs)
    return str(error.value)


def test_inputs_are_read_by_name_with_the_types_of_the_model() -> None:
    asked = {"inputs": {"image": [[1, 2.5]], "count": [3], "flag": [True], "text": ["a"]}}
    found = json_api.read(json.dumps(asked).encode(), (IMAGE, COUNT, FLAG, TEXT)).inputs
    assert {name: array.tolist() for name, array in found.items()} == asked["inputs"]
    assert [array.dtype.name for array in found.values()] == ["float32", "int64", "bool", "object"]


def test_a_model_with_one_input_needs_no_name() -> None:
    assert read({"inputs": [[1, 2]]}, IMAGE) == {"image": [[1.0, 2.0]]}
    assert read({"instances": [[1, 2], [3, 4]], "signature_name": "x"}, IMAGE) == {"image": [[1.0, 2.0], [3.0, 4.0]]}


def test_instances_are_rows() -> None:
    asked = {"instances": [{"image": [1, 2], "count": 5}, {"image": [3, 4], "count": 6}]}
    assert read(asked, IMAGE, COUNT) == {"image": [[1.0, 2.0], [3.0, 4.0]], "count": [5, 6]}


def test_texts_may_come_in_base64() -> None:
    assert read({"instances": [{"b64": "w6Q="}]}, TEXT) == {"text": ["ä"]}
    assert "no UTF-8 text in base64" in refused({"inputs": {"text": [{"b64": "%"}]}}, TEXT)


def test_whole_numbers_that_no_float_can_hold_are_kept_beside_any_others() -> None:
    large = TensorSpec("large", "UINT64", (-1,))
    for numbers in ([1, 2**64 - 1], [2**63 + 1, 0], [2**64 - 1, 1.0], [2**53 + 1, 3.0]):
        assert read({"inputs": {"large": numbers}}, large) == {"large": numbers}
    assert read({"inputs": {"count": [-(2**53) - 1, 1.0]}}, COUNT) == {"count": [-(2**53) - 1, 1]}
    assert "9223372036854775808: INT64, whole numbers" in refused({"inputs": {"count": [-1, 2**63]}}, COUNT)
    assert "-1: UINT64, whole numbers" in refused({"inputs": {"large": [2**64 - 1, -1]}}, large)
    assert "1.5: UINT64, whole numbers" in refused({"inputs": {"large": [2**64 - 1, 1.5]}}, large)


def test_whole_numbers_may_be_written_as_floats() -> None:
    assert read({"inputs": {"count": [1.0, 2.0]}}, COUNT) == {"count": [1, 2]}


@pytest.mark.parametrize(
    ("spec", "value", "message"),
    [
        (IMAGE, [["1", 2]], "input 'image' has \"1\": numbers (FP32) are allowed"),
        (IMAGE, [[None, 2]], "input 'image' has null: numbers (FP32) are allowed"),
        (IMAGE, [[True, False]], "input 'image' has true: numbers (FP32) are allowed"),
        (IMAGE, [[1, 2], [3]], "input 'image' is ragged: lists of equal lengths are allowed"),
        (IMAGE, [[1e300, 1]], "input 'image' has 1e+300: FP32 up to 3.40282e+38 is allowed"),
        (HALF, [70000], "input 'half' has 70000: FP16 up to 65504 is allowed"),
        (COUNT, [1.5], "input 'count' has 1.5: INT64, whole numbers from"),
        (COUNT, [2**70], f"input 'count' has {2**70}: whole numbers (INT64) are allowed"),
        (SMALL, [256], "input 'small' has 256: UINT8, whole numbers from 0 to 255, is allowed"),
        (SMALL, [-1], "input 'small' has -1: UINT8, whole numbers from 0 to 255, is allowed"),
        (FLAG, [1], "input 'flag' has 1: true and false (BOOL) are allowed"),
        (TEXT, [1], "input 'text' has 1: texts and"),
        (TEXT, ["a", ["b"]], "input 'text' is ragged"),
    ],
)
def test_nothing_is_rounded_cut_or_guessed(spec: TensorSpec, value: Any, message: str) -> None:
    assert message in refused({"inputs": {spec.name: value}}, spec)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"inputs": {"image": [[1, NaN]]}}', "input 'image'[0][1] is NaN: JSON has no such number"),
        (b'{"instances": [[1, -Infinity]]}', "instances[0][1] is -Infinity"),
        (b'{"inputs": ', "the body is not JSON"),
        (b"", "the body is not JSON"),
        (b"[1]", "the body is [1]: an object with 'inputs' or 'instances' is allowed"),
        (b"{}", "the body has nothing: either 'inputs' or 'instances' is allowed"),
        (b'{"inputs": [], "instances": []}', "either 'inputs' or 'instances' is allowed"),
        (b'{"inputs": [], "data": 1}', "the body has 'data': inputs, instances, signature_name are allowed"),
        (b'{"inputs": {"img": []}}', "input 'img' is not one of the model's: image are"),
        (b'{"instances": []}', "instances is []: a list of one instance or more is allowed"),
        (b'{"instances": [{"image": 1}, {}]}', "instances[1] is {}: an object as instances[0] is allowed"),
        (b"[" * 5000, "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
    ],
)
def test_a_body_that_is_no_such_json_is_refused(body: bytes, message: str) -> None:
    assert message in refused(body, IMAGE)


@pytest.mark.parametrize(
    ("number", "nearest"),
    [
        (1.0, 1.0),
        (-0.0, -0.0),
        (1.00390625, 1.0),
        (1.01171875, 1.015625),
        (1.005, 1.0078125),
        (3.3895e38, 3.3895313892515355e38),
    ],
)
def test_a_number_becomes_the_nearest_bf16_and_the_even_one_of_two(number: float, nearest: float) -> None:
    array = json_api.to_array([number], BRAIN)
    assert array.dtype == np.uint16
    assert str(widened(array).tolist()) == str([nearest])


def test_every_bf16_is_itself_as_a_number() -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    numbers = bits[np.isfinite(widened(bits))]
    assert (bf16_bits("x", widened(numbers)) == numbers).all()


def test_several_inputs_need_names() -> None:
    assert "an object of image, count is allowed" in refused({"inputs": [1]}, IMAGE, COUNT)
    assert "an object of image, count is allowed" in refused({"instances": [1]}, IMAGE, COUNT)


def test_answers_are_by_column_or_by_row_as_was_asked() -> None:
    one = {"y": np.array([[1.0], [2.0]], dtype=np.float32)}
    two = {**one, "z": np.array([3, 4])}

    def answer(results: Any, **how: bool) -> Any:
        return json.loads(json_api.write(results, **{"by_row": False, "as_tensorflow": False, **how}))

    assert answer(one) == {"outputs": {"y": [[1.0], [2.0]]}}
    assert answer(one, as_tensorflow=True) == {"outputs": [[1.0], [2.0]]}
    assert answer(two, as_tensorflow=True) == {"outputs": {"y": [[1.0], [2.0]], "z": [3, 4]}}
    assert answer(one, by_row=True) == {"predictions": [[1.0], [2.0]]}
    assert answer(two, by_row=True) == {"predictions": [{"y": [1.0], "z": 3}, {"y": [2.0], "z": 4}]}


def test_what_is_no_number_in_an_output_is_null() -> None:
    body = json_api.write({"y": np.array([np.nan, np.inf, 1.0])}, by_row=False, as_tensorflow=False)
    assert json.loads(body) == {"outputs": {"y": [None, None, 1.0]}}


LARGE = TensorSpec("image", "FP32", (-1, 64, 64))


def large(**changed: Any) -> bytes:
    """One row of LARGE; `changed` by what stands at the very end of it."""
    numbers: Any = np.arange(4096).reshape(1, 64, 64).astype(float).tolist()
    if "last" in changed:
        numbers[0][63][63] = changed["last"]
    if "row" in changed:
        numbers[0][63] = changed["row"]
    return json.dumps({"inputs": {changed.get("name", "image"): numbers}}).replace("Infinity", "1e400").encode()


def test_large_inputs_are_read_as_small_ones_are() -> None:
    found = json_api.read(large(), (LARGE,))
    image = found.inputs["image"]
    assert (image.dtype.name, image.shape, found.by_row) == ("float32", (1, 64, 64), False)
    assert image.ravel().tolist() == list(range(4096))
    half = TensorSpec("image", "FP16", (-1, 64, 64))
    assert json_api.read(large(last=0.5), (half,)).inputs["image"].dtype.name == "float16"
    assert json_api.read(large(), (TensorSpec("image", "INT32", (-1, 64, 64)),)).inputs["image"].dtype.name == "int32"
    assert json_api.read(large(last=True), (LARGE,)).inputs["image"][0, 63, 63] == 1.0  # as it always was


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"last": "a"}, "input 'image' has \"a\": numbers (FP32) are allowed"),
        ({"last": None}, "input 'image' has null: numbers (FP32) are allowed"),
        ({"last": 1e39}, "input 'image' has 1e+39: FP32 up to 3.40282e+38 is allowed"),
        ({"last": float("nan")}, "input 'image'[0][63][63] is NaN: JSON has no such number, finite ones are allowed"),
        ({"row": [1.0]}, "input 'image' is ragged: lists of equal lengths are allowed"),
        ({"row": []}, "input 'image' is ragged: lists of equal lengths are allowed"),
        ({"name": "other"}, "input 'other' is not one of the model's: image are"),
    ],
)
def test_what_is_wrong_at_the_end_of_a_large_input_is_refused_as_in_a_small_one(
    changed: dict[str, Any], message: str
) -> None:
    assert message in refused(large(**changed), LARGE)


def test_a_large_input_of_another_shape_is_read_for_the_model_to_refuse() -> None:
    numbers = np.zeros((3, 4096)).tolist()
    assert json_api.read(json.dumps({"inputs": {"image": numbers}}).encode(), (LARGE,)).inputs["image"].ndim == 2


@pytest.mark.parametrize("leaf", ['"a"', "NaN", "1"])
@pytest.mark.parametrize("spec", [TEXT, IMAGE])
@pytest.mark.parametrize("lists", [65, 900, 980, 2000])
def test_lists_in_each_other_are_refused_however_deep(spec: TensorSpec, lists: int, leaf: str) -> None:
    for begin, end in (('{"inputs":', "}"), ('{"instances":[', "]}"), ("", "")):
        refused(f"{begin}{'[' * lists}{leaf}{']' * lists}{end}".encode(), spec)
    assert "33 lists in each other: at most 32" in refused(f'{{"inputs":{"[" * 33}"a"{"]" * 33}}}'.encode(), TEXT)


@pytest.mark.parametrize("other", [np.zeros(3), np.float32(1.0)])
def test_outputs_without_rows_in_common_cannot_be_predictions(other: Any) -> None:
    results = {"a": np.zeros(2), "b": other}
    with pytest.raises(InvalidInput, match="the outputs have different numbers of rows"):
        json_api.write(results, by_row=True, as_tensorflow=False)
    assert json.loads(json_api.write(results, by_row=False, as_tensorflow=False))["outputs"]["a"] == [0.0, 0.0]
