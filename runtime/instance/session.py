"""ONNX Runtime sessions that suit an instance: as many threads as its share of the CPU, quiet while idle."""

from __future__ import annotations

import glob
import math
import os
from pathlib import Path
from typing import Any


def load_session(path: str | os.PathLike[str], threads: int | None = None) -> Any:
    """An `onnxruntime.InferenceSession` of the model at `path`.

    Without `threads` there is one for each vCPU that the function asked for; one, if it asked for none, as instances
    rather than threads are what takes more load. It runs on the GPU if the function asked for GPU memory and there is
    a card, and never takes more of the card than that; else on the CPU.

    Raises:
        ValueError: `threads` is below 1.
        onnxruntime's own errors, for a model that is not there or cannot be loaded.
    """
    import onnxruntime

    if threads is not None and threads < 1:
        raise ValueError(f"threads {threads} must be at least 1")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or _threads_of_share()
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take the CPU from the other instances, and count as load.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # The arena keeps what the largest request ever took; without it an idle instance gives it back.
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(str(Path(path)), options, providers=_providers(onnxruntime))


def _threads_of_share() -> int:
    return max(1, math.ceil(float(os.environ.get("STOKE_CPU") or 0)))


def _providers(onnxruntime: Any) -> list[Any]:
    gpu_memory_mib = int(os.environ.get("STOKE_GPU_MEMORY_MIB") or 0)
    has_card = bool(glob.glob("/dev/nvidia[0-9]*"))
    if gpu_memory_mib == 0 or not has_card or "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return ["CPUExecutionProvider"]
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA and cuDNN from wheels, where they were installed as such
    limit_bytes = os.environ.get("STOKE_GPU_MEMORY_LIMIT_BYTES") or str(gpu_memory_mib * 2**20)
    cuda = {"gpu_mem_limit": limit_bytes, "arena_extend_strategy": "kSameAsRequested"}
    return [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]
