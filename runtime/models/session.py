"""Sessions of ONNX Runtime, behind the `Runner` port: opened with what suits the machine and the function."""

from __future__ import annotations

import ctypes
import glob
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from runtime.models import bound
from runtime.models.batching import Runner
from runtime.models.bits import BitsSession
from runtime.models.errors import ModelUnusable
from runtime.models.one_thread import InOneThread
from runtime.models.providers import CPU, CUDA, TENSORRT, Machine, Provider, Wish, choose, limit_bytes, uses_gpu
from runtime.models.source import check_file, check_fits
from runtime.models.spec import FILE_NAME
from runtime.models.tensors import Array, TensorSpec, spec_of_onnx

log = logging.getLogger(__name__)

WITHOUT_LIBRARIES: Final = (
    "it asks for GPU memory and runs on the CPU: ONNX Runtime could not load the libraries of CUDA and cuDNN, which "
    "pip install 'onnxruntime-gpu[cuda,cudnn]' brings for drivers that are as new"
)
_TENSORRT_LIBRARIES: Final = ("libnvinfer.so.10", "libnvinfer.so.11")


@dataclass(frozen=True, slots=True)
class SessionOptions:
    threads: int = 1
    wish: Wish = field(default_factory=Wish)
    share_weights: bool = False  # mapped external data is used as it lies, and not copied into an order of its own


class OnnxSession:
    """One session, by the simplest way to run it: arrays in, arrays out."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def run(self, outputs: Sequence[str], inputs: dict[str, Array]) -> list[Array]:
        found: list[Array] = self._session.run(outputs, inputs)
        return found

    def close(self) -> None:
        self._session = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A session with what its graph says. `first_axes` has what it calls the first axis of each input."""

    runner: Runner
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    first_axes: tuple[str, ...]
    provider: str


def open_session(path: Path, options: SessionOptions) -> Opened:
    """Blocks. Raises ModelUnusable: says what is wrong with the file, or what does not fit."""
    import onnxruntime

    check_file(path)
    check_fits(path, options.wish.gpu_memory_mib, options.wish.sessions)
    providers = choose(machine(onnxruntime), options.wish)
    on_gpu = uses_gpu(providers)
    if on_gpu and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA and cuDNN from wheels, where they were installed as such

    def opened_on(providers: Sequence[Provider]) -> Any:
        settings = session_settings(onnxruntime.SessionOptions(), options, on_gpu=uses_gpu(providers))
        # Its own way to try others leaves out their options, the limit of GPU memory among them.
        return onnxruntime.InferenceSession(str(path), settings, providers=list(providers), enable_fallback=0)

    try:
        session = first_that_opens(opened_on, providers)
    except Exception as error:
        raise _unusable(path, options, error) from None
    provider = session.get_providers()[0]
    if on_gpu and provider == CPU:
        log.warning("model %s: %s", path.name, WITHOUT_LIBRARIES)
    nodes = session.get_inputs()
    inputs = tuple(spec_of_onnx(node.name, node.type, node.shape) for node in nodes)
    outputs = tuple(spec_of_onnx(node.name, node.type, node.shape) for node in session.get_outputs())
    first_axes = tuple(str(node.shape[0]) if node.shape else "" for node in nodes)
    runner = runner_of(session, onnxruntime, provider, options.wish, (*inputs, *outputs))
    return Opened(runner, inputs, outputs, first_axes, provider)


def runner_of(session: Any, onnxruntime: Any, provider: str, wish: Wish, tensors: Sequence[TensorSpec]) -> Runner:
    """How the session is run. Raises ModelUnusable: not as model.yaml wants it."""
    bf16 = {spec.name for spec in tensors if spec.datatype == "BF16"}
    odd = next((spec for spec in tensors if spec.datatype in ("BF16", "BYTES")), None)
    if odd is not None and provider != CPU and wish.cuda_graphs:  # a graph would go on with the inputs it was made of
        raise ModelUnusable(
            f"{FILE_NAME}: cudaGraphs is true: a graph cannot be captured of a model with the tensor '{odd.name}' of "
            f"{odd.datatype}, false is allowed"
        )
    if bf16:
        return BitsSession(session, bf16)
    if odd is not None or provider == CPU:
        return OnnxSession(session)
    device, own_bytes = bound.gpu_device(onnxruntime), limit_bytes(wish) // wish.sessions
    if wish.cuda_graphs:  # its shapes are few, and to capture one again takes long
        return InOneThread(bound.BoundSession(session, device, keeps_outputs=True, bytes_max=own_bytes))
    return bound.BoundSession(session, device, bytes_max=bound.bytes_of_inputs(own_bytes))


def first_that_opens(opened_on: Callable[[Sequence[Provider]], Any], providers: Sequence[Provider]) -> Any:
    """A session on these or, where the first of them cannot be had, on those after it.

    TensorRT may refuse a graph that others take. The others refuse by RuntimeError alone when they are not there: what
    they say of a model holds, and one that does not fit into the GPU's memory is not run on the CPU.
    """
    for at, (name, _) in enumerate(providers):
        try:
            return opened_on(providers[at:])
        except Exception as error:
            if at == len(providers) - 1 or not (name == TENSORRT or isinstance(error, (RuntimeError, ValueError))):
                raise
            log.warning("provider %s cannot be used, %s is tried: %s", name, providers[at + 1][0], error)
    raise AssertionError("there is always a provider")


def session_settings(settings: Any, options: SessionOptions, *, on_gpu: bool) -> Any:
    """`settings` is an onnxruntime.SessionOptions; given back as it should be."""
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    # Threads that spin while they wait take the CPU from the other instances, and count as load.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # The arena keeps what the largest request ever took; without it an idle instance gives it back.
    settings.enable_cpu_mem_arena = False
    if options.share_weights or on_gpu:
        # Kernels of the CPU would make a copy of the weights in the order they like best: a third faster in the middle
        # of the batch sizes, but then each instance has its own. On a GPU there is nothing to win by it.
        settings.add_session_config_entry("session.disable_prepacking", "1")
    return settings


def machine(onnxruntime: Any) -> Machine:
    """What is there."""
    has_card = bool(glob.glob("/dev/nvidia[0-9]*"))
    available = onnxruntime.get_available_providers()
    return Machine(available, has_card, has_card and CUDA in available and _has_tensorrt())


def give_back_memory() -> None:
    """What C code has freed goes back to the machine; where the C library cannot do that, it stays."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return


def _has_tensorrt() -> bool:
    for name in _TENSORRT_LIBRARIES:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def _unusable(path: Path, options: SessionOptions, error: Exception) -> ModelUnusable:
    said = str(error).strip()
    if "rotobuf" in said:
        return ModelUnusable(f"model '{path.name}' is not an ONNX model: {said}")
    if options.wish.gpu_memory_mib and any(word in said.lower() for word in ("out of memory", "failed to allocate")):
        return ModelUnusable(
            f"model '{path.name}' does not fit into gpuMemorySize, {options.wish.gpu_memory_mib} MiB: {said}"
        )
    return ModelUnusable(f"model '{path.name}' cannot be loaded: {said}")
