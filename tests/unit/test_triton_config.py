"""config.pbtxt of Triton's model folders: what is read of it, and what is refused by which name."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.models.errors import ModelUnusable
from runtime.models.source import find_source
from runtime.models.triton.config import read_config
from runtime.models.triton.text_format import TextFormatError, Word, parse

CONFIG = """
name: "digits"  # as its folder
platform: "onnxruntime_onnx"
max_batch_size: 16
input [ { name: "x" data_type: TYPE_FP32 format: FORMAT_NONE dims: [ 8, 8 ] } ]
output { name: "y", data_type: TYPE_FP32, dims: 10, label_filename: "labels.txt" }
dynamic_batching { preferred_batch_size: [4, 8] max_queue_delay_microseconds: 100 }
instance_group [ { count: 2 kind: KIND_CPU } ]
model_warmup [{
  name: "zeros" batch_size: 1 count: 3
  inputs { key: "x" value: { data_type: TYPE_FP32 dims: [8, 8] zero_data: true } }
}]
parameters: { key: "intra_op_thread_count" value: { string_value: "4" } }
"""


def test_the_text_format_is_read_with_comments_lists_escapes_and_texts_beside_each_other() -> None:
    assert parse('a: 1 a: -2.5e1; b { c: "x\\n" \'y\' }, d: <e: true> f: [1, 2] g [] # end\n') == {
        "a": [1, -25.0], "b": [{"c": ["x\ny"]}], "d": [{"e": [Word("true")]}], "f": [1, 2], "g": []}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a {", "line 1: 'the end' where the name of a field"),
        ("a: \n}", "line 2: '}' where a value should be"),
        ("a", "line 1: a has no value"),
        ('a: "b', "line 1: '\"b' is not allowed here"),
        ("a: [1 2]", "line 1: '2' where a comma or ] should be"),
        ("1: 2", "line 1: '1' where the name of a field"),
        ("a {" * 40, "more than 32 deep"),
    ],
)
def test_what_is_not_the_text_format_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(TextFormatError) as refused:
        parse(text)
    assert words in str(refused.value)


def test_a_config_says_what_model_yaml_would() -> None:
    spec, file_name, versions, _ = read_config(CONFIG)
    assert (spec.name, file_name, versions) == ("digits", "model.onnx", ())
    assert spec.batching.max_batch_size == 16
    assert (spec.inputs[0].name, spec.inputs[0].datatype, spec.inputs[0].shape) == ("x", "FP32", [-1, 8, 8])
    assert (spec.outputs[0].shape, spec.outputs[0].labels) == ([-1, 10], "../labels.txt")
    assert (spec.instances_per_device, spec.providers, spec.threads) == (2, ["cpu"], 4)
    assert (spec.warm_up.runs, spec.warm_up.inputs["x"].value, spec.warm_up.inputs["x"].shape) == (3, 0, [8, 8])


def test_without_batching_the_dims_are_the_whole_shape() -> None:
    spec = read_config('backend: "onnxruntime" input { name: "x" data_type: TYPE_STRING dims: [ -1, 2 ] }').spec
    assert spec.batching.max_batch_size == 0
    assert (spec.inputs[0].datatype, spec.inputs[0].shape) == ("BYTES", [-1, 2])


def test_accelerators_and_cuda_graphs_are_taken_over() -> None:
    spec = read_config(
        'optimization { execution_accelerators { gpu_execution_accelerator: [ { name: "tensorrt" } ] } '
        "cuda { graphs: true } } instance_group { kind: KIND_GPU gpus: [0] }"
    ).spec
    assert (spec.providers, spec.cuda_graphs) == (["tensorrt", "cuda", "cpu"], True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('platform: "tensorflow_savedmodel"', "platform is 'tensorflow_savedmodel': 'onnxruntime_onnx' is allowed"),
        ('backend: "python"', "backend is 'python': 'onnxruntime' is allowed"),
        ("sequence_batching { }", "sequence_batching is not supported"),
        ("ensemble_scheduling { }", "ensemble_scheduling is not supported"),
        ("model_transaction_policy { decoupled: true }", "decoupled is true: models answer once"),
        ("surprise: 1", "surprise is not known here"),
        ("max_batch_size: -1", "max_batch_size is -1: a whole number from 0"),
        ("max_batch_size: 9999", "batching.maxBatchSize is 9999"),
        ('input { name: "x" data_type: TYPE_FP33 dims: 1 }', "inputs[0]: datatype is 'FP33'"),
        ('input { name: "x" reshape { shape: [] } }', "input 'x': reshape is not supported"),
        ('input { name: "x" optional: true }', "input 'x': optional is not supported"),
        ('input { name: "x" dims: a }', "input 'x': dims is ['a']: numbers are allowed"),
        ("input: 3", "input must be messages in braces"),
        ("optimization: 3", "optimization is 3: a message in braces"),
        ("instance_group { kind: KIND_MODEL }", "instance_group.kind is KIND_MODEL"),
        ("instance_group [ { kind: KIND_CPU }, { kind: KIND_GPU } ]", "KIND_CPU beside others"),
        ('model_warmup { inputs { key: "x" value { input_data_file: "a" } } }', "input_data_file is not supported"),
        ("a {", "config.pbtxt: line 1"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(ModelUnusable) as refused:
        read_config(text)
    assert str(refused.value).startswith("config.pbtxt: ")
    assert words in str(refused.value)


def folder(tmp_path: Path, config: str, *versions: str, file: str = "model.onnx") -> Path:
    for version in versions:
        (tmp_path / "digits" / version).mkdir(parents=True)
        (tmp_path / "digits" / version / file).write_bytes(b"\x08")
    (tmp_path / "digits" / "config.pbtxt").write_text(config)
    return tmp_path


def test_the_latest_version_of_a_folder_is_served(tmp_path: Path) -> None:
    source = find_source(folder(tmp_path, "max_batch_size: 4", "1", "10", "9"), "digits/")
    assert (source.name, source.spec.version) == ("digits", "10")
    assert source.file == tmp_path / "digits" / "10" / "model.onnx"


@pytest.mark.parametrize("policy", ["all { }", "latest { num_versions: 3 }", "specific { versions: [1, 2] }"])
def test_a_policy_that_may_mean_several_versions_is_fine_with_the_only_one(tmp_path: Path, policy: str) -> None:
    source = find_source(folder(tmp_path, f"version_policy {{ {policy} }}", "1"), "digits/")
    assert source.spec.version == "1"


def test_a_model_in_the_codes_own_folder_is_not_named_by_where_stoke_keeps_it(tmp_path: Path) -> None:
    code = folder(tmp_path, "", "1") / "digits"
    assert find_source(code, "./").name == "model"


def test_the_version_and_the_file_that_a_config_names_are_served(tmp_path: Path) -> None:
    config = 'default_model_filename: "m.onnx" version_policy { specific { versions: [1] } }'
    assert find_source(folder(tmp_path, config, "1", "2", file="m.onnx"), "digits/").file.parent.name == "1"


@pytest.mark.parametrize(
    ("config", "versions", "words"),
    [
        ("", ["new"], "has no version folder beside it, such as 1/"),
        ("version_policy { specific { versions: [3] } }", ["1"], "has no version folder of 3 beside it"),
        (
            "version_policy { all { } }",
            ["1", "2"],
            "version_policy asks for several versions, and there are 1, 2: one is served",
        ),
        ("version_policy { specific { versions: [1, 2] } }", ["1", "2", "3"], "and there are 1, 2: one is served"),
        ("version_policy { latest { num_versions: 2 } }", ["1", "2"], "and there are 1, 2: one is served"),
        ('default_model_filename: "other.onnx"', ["1"], "version 1 has no file 'other.onnx'"),
        ('default_model_filename: "../../x"', ["1"], "version 1 has no file '../../x'"),
    ],
)
def test_a_folder_without_the_version_or_its_file_is_refused(
    tmp_path: Path, config: str, versions: list[str], words: str
) -> None:
    with pytest.raises(ModelUnusable) as refused:
        find_source(folder(tmp_path, config, *versions), "digits/")
    assert words in str(refused.value)
