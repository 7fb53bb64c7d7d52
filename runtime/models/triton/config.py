"""What a Triton model's config.pbtxt says, as a ModelSpec: what is the same here, and what cannot be had. Pure."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from runtime.models.errors import ModelUnusable
from runtime.models.spec import ModelSpec, parse_spec
from runtime.models.triton.text_format import Message, TextFormatError, Word, parse

FILE_NAME: Final = "config.pbtxt"
_MODEL_FILE: Final = "model.onnx"
_ONNX: Final = {"platform": "onnxruntime_onnx", "backend": "onnxruntime"}
_USED: Final = frozenset(
    ("name", "platform", "backend", "max_batch_size", "input", "output", "instance_group", "model_warmup",
     "version_policy", "default_model_filename", "parameters", "optimization", "dynamic_batching")
)  # fmt: skip
# Taken, and without effect: batches are put together as requests come, without a delay to configure.
_WITHOUT_EFFECT: Final = frozenset(("metric_tags", "response_cache", "model_repository_agents", "cc_model_filenames"))
_NOT_HERE: Final = ("sequence_batching", "ensemble_scheduling", "batch_input", "batch_output", "model_operations")


class TritonModel(NamedTuple):
    """`versions` are those that may be served, the latest that is there; none: any. `wants_several`: all that there
    are, or more than one."""

    spec: ModelSpec
    file_name: str
    versions: tuple[int, ...]
    wants_several: bool


def read_config(text: str) -> TritonModel:
    """Raises ModelUnusable: names the field, its value and what is allowed."""
    try:
        config = parse(text)
    except TextFormatError as error:
        raise _wrong(str(error)) from None
    for name in _NOT_HERE:
        if name in config:
            raise _wrong(f"{name} is not supported")
    unknown = sorted(config.keys() - _USED - _WITHOUT_EFFECT - {"model_transaction_policy"})
    if unknown:
        raise _wrong(f"{unknown[0]} is not known here: {', '.join(sorted(_USED))} are allowed")
    for name, allowed in _ONNX.items():
        if (said := _one(config, name, allowed)) != allowed:
            raise _wrong(f"{name} is {said!r}: {allowed!r} is allowed")
    if _is_true(_one(_message(config, "model_transaction_policy"), "decoupled", False)):
        raise _wrong("model_transaction_policy.decoupled is true: models answer once")
    rows_max = _whole(config, "max_batch_size", 0)
    optimization = _message(config, "optimization")
    values: dict[str, Any] = {
        "inputs": [_tensor("input", each, rows_max) for each in _messages(config, "input")],
        "outputs": [_tensor("output", each, rows_max) for each in _messages(config, "output")],
        "batching": {"maxBatchSize": rows_max},
        "warmUp": _warm_up(config),
        "cudaGraphs": _is_true(_one(_message(optimization, "cuda"), "graphs", False)),
        **_instances(config, optimization),
    }
    if name := _one(config, "name", ""):
        values["name"] = name
    threads = _parameter(config, "intra_op_thread_count")
    if threads.isdecimal() and int(threads):
        values["threads"] = int(threads)
    spec = parse_spec({key: value for key, value in values.items() if value not in ([], False)}, FILE_NAME)
    versions, several = _versions(config)
    return TritonModel(spec, str(_one(config, "default_model_filename", "") or _MODEL_FILE), versions, several)


def _tensor(kind: str, tensor: Message, rows_max: int) -> dict[str, Any]:
    name = _one(tensor, "name", "")
    for field in ("reshape", "is_shape_tensor", "allow_ragged_batch", "optional"):
        if (field == "reshape" and field in tensor) or _is_true(_one(tensor, field, False)):
            raise _wrong(f"{kind} '{name}': {field} is not supported")
    datatype = str(_one(tensor, "data_type", "")).removeprefix("TYPE_")
    dims = tensor.get("dims", [])
    if any(not isinstance(axis, int) for axis in dims):
        raise _wrong(f"{kind} '{name}': dims is {dims}: numbers are allowed")
    said: dict[str, Any] = {"name": name, "shape": [-1, *dims] if rows_max else dims}
    if datatype:
        said["datatype"] = "BYTES" if datatype == "STRING" else datatype
    if label_file := _one(tensor, "label_filename", ""):
        said["labels"] = f"../{label_file}"  # it lies beside config.pbtxt, the model in its version's folder
    return said


def _instances(config: Message, optimization: Message) -> dict[str, Any]:
    groups = _messages(config, "instance_group")
    kinds = {str(_one(group, "kind", "KIND_AUTO")) for group in groups}
    if unknown := kinds - {"KIND_AUTO", "KIND_CPU", "KIND_GPU"}:
        raise _wrong(f"instance_group.kind is {sorted(unknown)[0]}: KIND_AUTO, KIND_CPU and KIND_GPU are allowed")
    if len(kinds) > 1 and "KIND_CPU" in kinds:
        raise _wrong("instance_group has KIND_CPU beside others: an instance runs on one kind of device")
    said: dict[str, Any] = {}
    if groups:
        said["instancesPerDevice"] = sum(_whole(group, "count", 1) for group in groups)
    accelerators = _message(optimization, "execution_accelerators").get("gpu_execution_accelerator", [])
    if "KIND_CPU" in kinds:
        said["providers"] = ["cpu"]
    elif any(isinstance(each, dict) and _one(each, "name", "") == "tensorrt" for each in accelerators):
        said["providers"] = ["tensorrt", "cuda", "cpu"]
    return said


def _warm_up(config: Message) -> dict[str, Any]:
    """Of the first sample: each batch bucket is run with it, so others would say nothing new."""
    samples = _messages(config, "model_warmup")
    if not samples:
        return {}
    inputs: dict[str, Any] = {}
    for entry in _messages(samples[0], "inputs"):
        name, value = str(_one(entry, "key", "")), _message(entry, "value")
        if "input_data_file" in value:
            raise _wrong(f"model_warmup: input '{name}': input_data_file is not supported, zero_data, random_data are")
        said: dict[str, Any] = {"shape": value.get("dims", [])}
        if _is_true(_one(value, "zero_data", False)):
            said["value"] = {"TYPE_STRING": "", "TYPE_BOOL": False}.get(str(_one(value, "data_type", "")), 0)
        inputs[name] = said
    return {"runs": max(1, _whole(samples[0], "count", 1)), "inputs": inputs}


def _versions(config: Message) -> tuple[tuple[int, ...], bool]:
    """Those it names, and whether it asks for more than one where there are more."""
    policy = _message(config, "version_policy")
    specific = _message(policy, "specific").get("versions", [])
    several = "all" in policy or _whole(_message(policy, "latest"), "num_versions", 1) > 1 or len(specific) > 1
    return tuple(version for version in specific if isinstance(version, int)), several


def _parameter(config: Message, key: str) -> str:
    for entry in _messages(config, "parameters"):
        if _one(entry, "key", "") == key:
            return str(_one(_message(entry, "value"), "string_value", ""))
    return ""


def _one(message: Message, name: str, default: Any) -> Any:
    """The last value, as in protocol buffers."""
    values = message.get(name, [])
    return values[-1] if values else default


def _message(message: Message, name: str) -> Message:
    value = _one(message, name, {})
    if not isinstance(value, dict):
        raise _wrong(f"{name} is {value!r}: a message in braces is allowed")
    return value


def _messages(message: Message, name: str) -> list[Message]:
    values = message.get(name, [])
    if any(not isinstance(value, dict) for value in values):
        raise _wrong(f"{name} must be messages in braces")
    return values


def _whole(message: Message, name: str, default: int) -> int:
    value = _one(message, name, default)
    if not isinstance(value, int) or value < 0:
        raise _wrong(f"{name} is {value!r}: a whole number from 0 is allowed")
    return value


def _is_true(value: Any) -> bool:
    return value is True or (isinstance(value, Word) and value in ("true", "True", "t"))


def _wrong(text: str) -> ModelUnusable:
    return ModelUnusable(f"{FILE_NAME}: {text}")
