"""Sessions of ONNX Runtime, behind the `Runner` port: opened with what suits the machine, and bound to its device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.models.errors import ModelUnusable
from runtime.models.tensors import Array, TensorSpec, spec_of_onnx


@dataclass(frozen=True, slots=True)
class SessionOptions:
    threads: int = 1
    gpu_memory_mib: int = 0  # 0 = no GPU was asked for


class OnnxSession:
    """One session on the CPU."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.inputs = tuple(spec_of_onnx(node.name, node.type, node.shape) for node in session.get_inputs())
        self.outputs = tuple(spec_of_onnx(node.name, node.type, node.shape) for node in session.get_outputs())

    def run(self, outputs: Sequence[str], inputs: dict[str, Array]) -> list[Array]:
        found: list[Array] = self._session.run(outputs, inputs)
        return found

    def close(self) -> None:
        self._session = None


def open_session(path: Path, options: SessionOptions) -> OnnxSession:
    """Raises ModelUnusable: says what is wrong with the file."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.inter_op.allow_spinning", "0")
    settings.enable_cpu_mem_arena = False
    try:
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelUnusable(f"model '{path.name}' cannot be loaded: {error}") from error
    return OnnxSession(session)


def signature_of(inputs: Sequence[TensorSpec]) -> bool:
    """Whether requests can differ in more than their number of rows: then only equal shapes go together."""
    return any(axis < 0 for spec in inputs for axis in spec.shape[1:])
