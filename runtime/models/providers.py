"""Which of ONNX Runtime's execution providers a session gets, and with which options. Pure: what is there is told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from runtime.models.errors import ModelUnusable
from runtime.models.spec import MIB, PROVIDERS

CPU: Final = PROVIDERS["cpu"]
CUDA: Final = PROVIDERS["cuda"]
TENSORRT: Final = PROVIDERS["tensorrt"]

Provider = tuple[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Machine:
    """What a session can run on here."""

    available: Collection[str] = (CPU,)  # what this build of ONNX Runtime has
    has_card: bool = False
    has_tensorrt: bool = False  # its libraries: the build names the provider whether they are there or not


@dataclass(frozen=True, slots=True)
class Wish:
    """What the function and its model.yaml ask for. `providers` None = the best that is there."""

    gpu_memory_mib: int = 0
    gpu_limit_bytes: int = 0  # what may be allocated of it, where the node has reckoned that; 0 = all
    providers: Sequence[str] | None = None
    cuda_graphs: bool = False
    sessions: int = 1  # that share the GPU memory
    cache_folder: str = ""  # for engines that TensorRT has built; "" = none


def choose(machine: Machine, wish: Wish) -> list[Provider]:
    """The providers, first choice first. What a graph has that one cannot run falls to the next; the CPU is the last.

    Raises:
        ModelUnusable: model.yaml asks for providers of which this machine has none.
    """
    usable = {
        TENSORRT: wish.gpu_memory_mib > 0 and machine.has_card and machine.has_tensorrt,
        CUDA: wish.gpu_memory_mib > 0 and machine.has_card,
        CPU: True,
    }
    asked = [PROVIDERS[name] for name in wish.providers] if wish.providers else [TENSORRT, CUDA, CPU]
    found = [name for name in asked if usable[name] and name in machine.available]
    if not found:
        raise ModelUnusable(
            f"providers is {list(wish.providers or ())}: this instance has {', '.join(_there(machine, usable))} "
            f"(gpuMemorySize is {wish.gpu_memory_mib})"
        )
    if found[-1] != CPU:
        found.append(CPU)
    return [(name, _OPTIONS[name](wish)) for name in found]


def uses_gpu(providers: Sequence[Provider]) -> bool:
    return providers[0][0] != CPU


def limit_bytes(wish: Wish) -> int:
    """What all sessions may allocate together."""
    return wish.gpu_limit_bytes or wish.gpu_memory_mib * MIB


def _there(machine: Machine, usable: dict[str, bool]) -> list[str]:
    return [short for short, name in PROVIDERS.items() if usable[name] and name in machine.available]


def _cuda(wish: Wish) -> dict[str, str]:
    options = {
        # Without a limit one instance could take what others on the card have asked for.
        "gpu_mem_limit": str(limit_bytes(wish) // wish.sessions),
        # Doubling the arena at each growth would soon be at the limit without need.
        "arena_extend_strategy": "kSameAsRequested",
        "do_copy_in_default_stream": "1",
    }
    if wish.cuda_graphs:
        options["enable_cuda_graph"] = "1"
    return options


def _tensorrt(wish: Wish) -> dict[str, str]:
    options = {"trt_max_workspace_size": str(wish.gpu_memory_mib * MIB // (2 * wish.sessions))}
    if wish.cache_folder:
        options |= {"trt_engine_cache_enable": "True", "trt_engine_cache_path": wish.cache_folder}
    if wish.cuda_graphs:
        options["trt_cuda_graph_enable"] = "True"
    return options


def _cpu(_: Wish) -> dict[str, str]:
    return {}


_OPTIONS: Final[dict[str, Callable[[Wish], dict[str, Any]]]] = {CPU: _cpu, CUDA: _cuda, TENSORRT: _tensorrt}
