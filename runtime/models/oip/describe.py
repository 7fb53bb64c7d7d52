"""What there is to say about the server and its models, in the protocol's and Triton's words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from runtime.models.oip.datatypes import BYTES
from runtime.models.oip.ports import ServedModel
from runtime.models.providers import CPU
from runtime.models.statistics import Duration, Statistics
from runtime.models.tensors import TensorSpec

# Only what is there: clients ask before they use any of these.
EXTENSIONS: Final = (
    "classification",
    "model_repository",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "logging",
    "generate",
)
MODEL_FILE: Final = "model.onnx"
_NO_POLICY: Final = {
    "timeout_action": "REJECT",
    "default_timeout_microseconds": 0,
    "allow_timeout_override": False,
    "max_queue_size": 0,
}
_DYNAMIC_BATCHING: Final = {
    "preferred_batch_size": [],
    "max_queue_delay_microseconds": 0,
    "preserve_ordering": False,
    "priority_levels": 0,
    "default_priority_level": 0,
    "default_queue_policy": _NO_POLICY,
    "priority_queue_policy": {},
}
_OPTIMIZATION: Final = {
    "priority": "PRIORITY_DEFAULT",
    "input_pinned_memory": {"enable": True},
    "output_pinned_memory": {"enable": True},
    "gather_kernel_buffer_threshold": 0,
    "eager_batching": False,
}


def server_metadata(version: str) -> dict[str, Any]:
    return {"name": "stoke", "version": version, "extensions": list(EXTENSIONS)}


def model_metadata(model: ServedModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": model.platform,
        "inputs": [_tensor(spec) for spec in model.inputs],
        "outputs": [_tensor(spec) for spec in model.outputs],
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def model_config(model: ServedModel) -> dict[str, Any]:
    """Triton's ModelConfig with its defaults: the batch axis is not among the dims."""
    batched = model.max_batch_size > 0
    return {
        "name": model.name,
        "platform": model.platform,
        "backend": "onnxruntime",
        "runtime": "",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": model.max_batch_size,
        "input": [_input(spec, batched) for spec in model.inputs],
        "output": [_output(spec, batched) for spec in model.outputs],
        "batch_input": [],
        "batch_output": [],
        "optimization": _OPTIMIZATION,
        "instance_group": [_instance_group(model)],
        "default_model_filename": MODEL_FILE,
        "cc_model_filenames": {},
        "metric_tags": {},
        "parameters": {},
        "model_warmup": [],
        "model_transaction_policy": {"decoupled": False},
        **({"dynamic_batching": _DYNAMIC_BATCHING} if batched else {}),
    }


def _input(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    return {
        "name": spec.name,
        "data_type": _config_type(spec),
        "format": "FORMAT_NONE",
        "dims": _dims(spec, batched),
        "is_shape_tensor": False,
        "allow_ragged_batch": False,
        "optional": False,
        "is_non_linear_format_io": False,
    }


def _output(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    return {
        "name": spec.name,
        "data_type": _config_type(spec),
        "dims": _dims(spec, batched),
        "label_filename": "",
        "is_shape_tensor": False,
        "is_non_linear_format_io": False,
    }


def _instance_group(model: ServedModel) -> dict[str, Any]:
    on_cpu = model.provider in ("", CPU)
    return {
        "name": f"{model.name}_0",
        "kind": "KIND_CPU" if on_cpu else "KIND_GPU",
        "count": model.spec.instances_per_device,
        "gpus": [] if on_cpu else [0],
        "secondary_devices": [],
        "profile": [],
        "passive": False,
        "host_policy": "",
    }


def _config_type(spec: TensorSpec) -> str:
    return "TYPE_STRING" if spec.datatype == BYTES else f"TYPE_{spec.datatype}"


def _dims(spec: TensorSpec, batched: bool) -> list[int]:
    return list(spec.shape[1:] if batched else spec.shape)


def model_statistics(models: Sequence[ServedModel]) -> dict[str, Any]:
    return {"model_stats": [_statistics(model) for model in models]}


def _statistics(model: ServedModel) -> dict[str, Any]:
    counted = model.statistics
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": counted.last_inference_ms,
        "inference_count": counted.inference_count,
        "execution_count": counted.execution_count,
        "inference_stats": {
            "success": _duration(counted.success),
            "fail": _duration(counted.fail),
            "queue": _duration(counted.queue),
            "compute_input": _duration(counted.compute_input),
            "compute_infer": _duration(counted.compute_infer),
            "compute_output": _duration(counted.compute_output),
            "cache_hit": _duration(Duration()),
            "cache_miss": _duration(Duration()),
        },
        "response_stats": {},
        "batch_stats": _batches(counted),
        "memory_usage": [],
    }


def _batches(counted: Statistics) -> list[dict[str, Any]]:
    return [
        {
            "batch_size": size,
            "compute_input": _duration(batch.compute_input),
            "compute_infer": _duration(batch.compute_infer),
            "compute_output": _duration(batch.compute_output),
        }
        for size, batch in sorted(counted.batches.items())
    ]


def _duration(duration: Duration) -> dict[str, int]:
    return {"count": duration.count, "ns": duration.ns}


def repository_index(models: Sequence[ServedModel], *, ready_only: bool) -> list[dict[str, Any]]:
    index = []
    for model in models:
        if model.state == "READY":
            index.append({"name": model.name, "version": model.version, "state": "READY"})
        elif not ready_only:
            index.append(
                {"name": model.name, "version": model.version, "state": str(model.state), "reason": model.reason}
            )
    return index
