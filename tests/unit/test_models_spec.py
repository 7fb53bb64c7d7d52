"""model.yaml and the graph: what is said, what is derived, and what does not agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.instance.models import in_idle_mode
from runtime.models import warm_up
from runtime.models.errors import ModelUnusable
from runtime.models.graph import Graph, Shape, shape_of
from runtime.models.source import check_file, check_fits, find_source
from runtime.models.spec import ModelSpec, parse_spec, read_spec
from runtime.models.tensors import TensorSpec, spec_of_onnx

FREE = Graph((TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 3)),), ("n",))
FIXED = Graph((TensorSpec("x", "FP32", (8, 4)),), (TensorSpec("y", "FP32", (8, 3)),), ("8",))
ALL = {
    "name": "digits",
    "version": 3,
    "file": "net.onnx",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
    "outputs": [{"name": "y", "labels": ["a", "b", "c"]}],
    "batching": {"maxBatchSize": 8, "latencyTargetMs": 50, "buckets": [2, 8]},
    "warmUp": {"runs": 2, "inputs": {"x": {"random": [0, 16]}}},
    "instancesPerDevice": 2,
    "threads": 1,
    "providers": ["cuda", "cpu"],
    "cudaGraphs": False,
    "shareWeights": True,
    "idleSeconds": 30,
    "tensorMibMax": 4,
}


def shaped(graph: Graph, concurrency: int = 8, **said: Any) -> Shape:
    return shape_of(graph, parse_spec(said), concurrency, lambda name: {"l.txt": ["a", "b", "c"]}[name])


def unusable(graph: Graph, **said: Any) -> str:
    with pytest.raises(ModelUnusable) as error:
        shaped(graph, **said)
    return str(error.value)


def test_every_field_of_a_model_yaml_is_read() -> None:
    spec = parse_spec(ALL)
    assert (spec.name, spec.version, spec.batching.buckets, spec.idle_seconds) == ("digits", "3", [2, 8], 30.0)
    assert spec.warm_up.inputs["x"].random == [0, 16]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            {"batching": {"maxBatchSize": -1}},
            "model.yaml: batching.maxBatchSize is -1: int >= 0 is allowed",
        ),
        ({"batching": {"max_batch_size": 1}}, "batching.max_batch_size is not known here"),
        ({"batching": {"buckets": [4, 2]}}, "buckets is [4, 2]: must ascend"),
        ({"batching": {"buckets": [1, 4], "maxBatchSize": 8}}, "must end with maxBatchSize, 8"),
        ({"inputs": [{"datatype": "FP32"}]}, "inputs[0].name is missing"),
        ({"inputs": [{"name": "x", "datatype": "float"}]}, "inputs[0]: datatype is 'float': must be one of BOOL"),
        ({"providers": ["rocm"]}, "providers has 'rocm': tensorrt, cuda, cpu are allowed"),
        ({"warmUp": {"inputs": {"x": {"value": 1, "file": "a"}}}}, "has value and file: one of"),
        ({"instancesPerDevice": 0}, "instancesPerDevice is 0"),
        ({"threads": "2"}, "threads is '2': int | null is allowed"),
        ({"name": "a/b"}, "name is 'a/b': must begin with a letter or digit"),
        ({"version": "one"}, "version is 'one'"),
        ({"tensorMibMax": float("inf")}, "tensorMibMax is inf: float <= "),
        ([1], "model.yaml is a list: an object is allowed"),
    ],
)
def test_what_model_yaml_may_not_say_is_named_with_its_value(said: Any, message: str) -> None:
    with pytest.raises(ModelUnusable) as error:
        parse_spec(said)
    assert message in str(error.value)


def test_in_idle_mode_a_model_sleeps_after_half_a_minute_unless_model_yaml_says_when() -> None:
    assert ModelSpec().idle_seconds is None
    assert in_idle_mode(ModelSpec()).idle_seconds == 30
    assert in_idle_mode(parse_spec({"idleSeconds": 5})).idle_seconds == 5


def test_a_file_that_is_not_yaml_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text("a: [")
    with pytest.raises(ModelUnusable, match=r"model\.yaml is not YAML"):
        read_spec(tmp_path / "model.yaml")
    (tmp_path / "model.yaml").write_text("")
    assert read_spec(tmp_path / "model.yaml") == ModelSpec()


def test_a_graph_with_a_free_first_axis_is_batched_up_to_the_requests_that_can_be_inside() -> None:
    shape = shaped(FREE, concurrency=6)
    assert shape.rules.buckets == (1, 2, 4, 6)
    assert not shape.rules.pads
    assert shape.max_batch_size == 128
    assert shaped(FREE, concurrency=100).rules.rows_max == 32


def test_one_request_at_a_time_makes_one_bucket() -> None:
    assert shaped(FREE, concurrency=1).rules.buckets == (1,)


def test_what_model_yaml_says_of_batches_holds() -> None:
    shape = shaped(FREE, batching={"maxBatchSize": 16, "latencyTargetMs": 20})
    assert (shape.max_batch_size, shape.rules.rows_max, shape.rules.latency_target_s) == (16, 16, 0.02)
    buckets = shaped(FREE, batching={"buckets": [4, 16]})
    assert (buckets.max_batch_size, buckets.rules.buckets, buckets.rules.pads) == (16, (4, 16), True)
    assert shaped(FREE, batching={"maxBatchSize": 0}).max_batch_size == 0
    assert shaped(FREE, cudaGraphs=True).rules.pads


def test_a_graph_with_a_fixed_first_axis_is_batched_only_where_model_yaml_says_that_it_is_one() -> None:
    assert shaped(FIXED).max_batch_size == 0
    assert shaped(FIXED).inputs[0].shape == (8, 4)
    shape = shaped(FIXED, batching={"maxBatchSize": 8})
    assert (shape.rules.buckets, shape.rules.pads, shape.inputs[0].shape) == ((8,), True, (-1, 4))
    assert "must be free, or 4; they are x [8, 4], y [8, 3]" in unusable(FIXED, batching={"maxBatchSize": 4})


def test_inputs_whose_first_axes_have_two_names_are_not_batched_by_themselves() -> None:
    two = Graph((*FREE.inputs, TensorSpec("z", "FP32", (-1,))), FREE.outputs, ("n", "m"))
    assert shaped(two).max_batch_size == 0


def test_labels_and_shapes_of_model_yaml_must_agree_with_the_graph() -> None:
    assert shaped(FREE, outputs=[{"name": "y", "labels": "l.txt"}]).outputs[0].labels == ("a", "b", "c")
    assert "has 1 labels for 3 values" in unusable(FREE, outputs=[{"name": "y", "labels": ["a"]}])
    assert "inputs 'w' is not one of the graph's: x are" in unusable(FREE, inputs=[{"name": "w"}])
    assert "datatype is INT8, the graph's is FP32" in unusable(FREE, inputs=[{"name": "x", "datatype": "INT8"}])
    assert "shape is [-1, 5], the graph's is [-1, 4]" in unusable(FREE, inputs=[{"name": "x", "shape": [-1, 5]}])


def test_a_graph_whose_free_first_axis_model_yaml_fixes_is_not_batched() -> None:
    shape = shaped(FREE, inputs=[{"name": "x", "shape": [3, 4]}])
    assert (shape.inputs[0].shape, shape.max_batch_size) == ((3, 4), 0)
    said = unusable(FREE, inputs=[{"name": "x", "shape": [3, 4]}], batching={"maxBatchSize": 8})
    assert "must be free, or 8; they are x [3, 4]" in said


def test_types_that_cannot_be_served_are_named() -> None:
    with pytest.raises(ModelUnusable, match=r"tensor 'x' of the model has the type tensor\(float8e4m3fn\)"):
        spec_of_onnx("x", "tensor(float8e4m3fn)", [1])
    with pytest.raises(ModelUnusable, match=r"the type seq\(tensor"):
        spec_of_onnx("x", "seq(tensor(float))", [])
    assert spec_of_onnx("x", "tensor(bfloat16)", [1]).datatype == "BF16"
    assert spec_of_onnx("x", "tensor(uint16)", ["n", None, 3]).shape == (-1, -1, 3)


# -- where a model lies ------------------------------------------------------------------------------------------------


def test_a_handler_names_a_file_a_folder_or_its_model_yaml(tmp_path: Path) -> None:
    folder = tmp_path / "nets" / "digits"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"x")
    for handler in ("nets/digits/model.onnx", "nets/digits/", "./nets/digits/"):
        assert find_source(tmp_path, handler).file == folder / "model.onnx"
    assert find_source(tmp_path, "nets/digits/").name == "digits"
    (folder / "model.yaml").write_text("name: numbers\n")
    for handler in ("nets/digits/model.onnx", "nets/digits/", "nets/digits/model.yaml"):
        assert find_source(tmp_path, handler).name == "numbers"


@pytest.mark.parametrize(
    ("file", "name"), [("réseau v2.onnx", "r-seau-v2"), ("_private.onnx", "private"), ("模型.onnx", "model")]
)
def test_a_models_name_is_that_of_its_file_as_far_as_paths_can_have_it(tmp_path: Path, file: str, name: str) -> None:
    (tmp_path / file).write_bytes(b"x")
    assert find_source(tmp_path, file).name == name


def test_a_model_yaml_about_another_file_does_not_count_for_one_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"x")
    (tmp_path / "b.onnx").write_bytes(b"x")
    (tmp_path / "model.yaml").write_text("name: both\nfile: b.onnx\n")
    assert find_source(tmp_path, "a.onnx").name == "a"
    assert find_source(tmp_path, "b.onnx").name == "both"
    assert find_source(tmp_path, "./").file == tmp_path / "b.onnx"


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        ("missing.onnx", "handler 'missing.onnx': the code has no such file"),
        ("missing/", "the code has no such folder"),
        ("empty/", "the folder has no .onnx file"),
        ("two/", "the folder has a.onnx, b.onnx; model.yaml must say which, as `file`"),
        ("wrong/", "file is 'c.onnx': a file in the folder of the model is allowed"),
        ("../x.onnx", "lies outside of the code"),
    ],
)
def test_a_handler_that_names_no_model_is_refused(tmp_path: Path, handler: str, message: str) -> None:
    for name in ("empty", "two", "wrong"):
        (tmp_path / name).mkdir()
    for name in ("two/a.onnx", "two/b.onnx", "wrong/a.onnx"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "wrong" / "model.yaml").write_text("file: c.onnx")
    with pytest.raises(ModelUnusable) as error:
        find_source(tmp_path, handler)
    assert message in str(error.value)


def test_files_that_cannot_be_models_are_told_by_their_beginning(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(b"")
    with pytest.raises(ModelUnusable, match="is empty"):
        check_file(file)
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelUnusable, match="pointer of Git LFS"):
        check_file(file)


def test_weights_beyond_the_gpu_memory_are_refused_external_data_among_them(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(b"x")
    with (tmp_path / "m.onnx_data").open("wb") as data:
        data.truncate(3 * 2**20)
    check_fits(file, 0)
    check_fits(file, 4)
    with pytest.raises(ModelUnusable, match="has 3 MiB of weights, gpuMemorySize is 2"):
        check_fits(file, 2)
    with pytest.raises(ModelUnusable, match="has 3 MiB of weights, 2 times for 2 sessions, gpuMemorySize is 5"):
        check_fits(file, 5, sessions=2)
    check_fits(file, 7, sessions=2)


# -- warm-up -----------------------------------------------------------------------------------------------------------


def test_inputs_of_the_warm_up_are_made_by_type_or_taken_from_model_yaml(tmp_path: Path) -> None:
    specs = (
        TensorSpec("f", "FP32", (-1, 2, -1)),
        TensorSpec("i", "INT64", (-1, 2)),
        TensorSpec("t", "BYTES", (-1,)),
        TensorSpec("v", "FP32", (-1, 2)),
        TensorSpec("s", "UINT8", (-1, 2)),
    )
    np.save(tmp_path / "s.npy", np.array([3, 4]))
    note = parse_spec(
        {
            "warmUp": {
                "inputs": {"f": {"shape": [2, 3]}, "v": {"value": [1, 2]}, "s": {"file": "s.npy"}, "t": {"value": "a"}}
            }
        }
    ).warm_up
    row = warm_up.row(specs, note, tmp_path, has_batch_axis=True)
    assert {name: array.shape for name, array in row.items()} == {
        "f": (1, 2, 3), "i": (1, 2), "t": (1,), "v": (1, 2), "s": (1, 2)
    }  # fmt: skip
    assert row["f"].min() >= 0 > row["f"].max() - 1
    assert not row["i"].any()
    assert (row["v"].tolist(), row["s"].tolist(), row["t"].tolist()) == ([[1, 2]], [[3, 4]], ["a"])
    assert warm_up.repeated(row, 3)["v"].tolist() == [[1, 2]] * 3


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"w": {}}, "warmUp.inputs has 'w': x are allowed"),
        ({"x": {"value": "a"}}, "warmUp.inputs.x: input 'x' has \"a\": numbers (FP32) are allowed"),
        ({"x": {"shape": [5]}}, "warmUp.inputs.x: input 'x' has the shape [1, 5]: [-1, 4] is allowed"),
        ({"x": {"file": "none.npy"}}, "warmUp.inputs.x: "),
        ({"x": {"file": "several.npz"}}, "warmUp.inputs.x: several.npz has several arrays: a .npy file is allowed"),
        ({"x": {"file": "complex.npy"}}, "warmUp.inputs.x: complex.npy has complex128: FP32 is allowed"),
        ({"x": {"file": "text.npy"}}, "warmUp.inputs.x: text.npy has <U1: FP32 is allowed"),
        ({"x": {"file": "large.npy"}}, "warmUp.inputs.x: large.npy has numbers that FP32 has not"),
        ({"i": {"file": "half.npy"}}, "warmUp.inputs.i: half.npy has numbers that INT8 has not"),
        ({"i": {"file": "wide.npy"}}, "warmUp.inputs.i: wide.npy has numbers that INT8 has not"),
        ({"x": {"random": [float("nan"), 1]}}, "warmUp.inputs.x: "),
    ],
)
def test_inputs_of_the_warm_up_must_fit(tmp_path: Path, said: Any, message: str) -> None:
    arrays = {"complex": [1j] * 4, "text": ["a"] * 4, "large": [1e39] * 4, "half": [0.5] * 4, "wide": [200] * 4}
    for name, values in arrays.items():
        np.save(tmp_path / f"{name}.npy", np.array(values))
    np.savez(tmp_path / "several.npz", x=np.ones(4))
    note = parse_spec({"warmUp": {"inputs": said}}).warm_up
    specs = (*FREE.inputs, *([TensorSpec("i", "INT8", (-1, 4))] if "i" in said else []))
    with pytest.raises(ModelUnusable) as error:
        warm_up.row(specs, note, tmp_path, has_batch_axis=True)
    assert message in str(error.value)
