"""How many more instances of a function fit on the machine, and why not more. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runtime.contract import NodeInfo


@dataclass(frozen=True, slots=True)
class Need:
    """What one instance takes. GPU memory counts only where there are devices; elsewhere functions run on the CPU."""

    memory_mib: int
    gpu_memory_mib: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """`instances` more would fit; `limit` names what ends first, as a sentence for `currentError`."""

    instances: int
    limit: str


def room(node: NodeInfo, taken: Iterable[Need], need: Need) -> Room:
    """How many instances of `need` fit beside `taken`. Memory is promised in full: each may use all it asked for."""
    held = list(taken)
    memory_left_mib = node.memory_mib - sum(n.memory_mib for n in held)
    fits = max(0, memory_left_mib // max(1, need.memory_mib))
    limit = f"{need.memory_mib} MiB of memory asked for, {max(0, memory_left_mib)} of {node.memory_mib} MiB left"
    if need.gpu_memory_mib and node.gpus:
        total_mib = sum(int(gpu["memory_mib"]) for gpu in node.gpus)
        gpu_left_mib = total_mib - sum(n.gpu_memory_mib for n in held)
        gpu_fits = max(0, gpu_left_mib // need.gpu_memory_mib)
        if gpu_fits < fits:
            fits = gpu_fits
            limit = f"{need.gpu_memory_mib} MiB of GPU memory asked for, {max(0, gpu_left_mib)} of {total_mib} MiB left"
    return Room(fits, limit)
