"""What an instance gets of a device, and how its programs are told. Pure.

Memory is its `gpuMemorySize`, compute the same share of the device. Where MPS serves the card, the driver holds both;
else instances take turns on the SMs, their ONNX Runtime keeps to the limit that it is told, and the node ends one that
takes more (`watch.py` of devices).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from runtime.node.devices import Gpu

# A CUDA context with the libraries' kernels and workspaces takes memory beside what a program allocates: 300 to 500 MiB
# were seen with ONNX Runtime. Of a small share it is half at most.
CONTEXT_MIB: Final = 512
# What the driver counts beyond what was asked for, such as rounding to 2 MiB pages, is no reason to end an instance.
TOLERANCE: Final = 1.02


@dataclass(frozen=True, slots=True)
class GpuShare:
    """An instance's part of one device."""

    uuid: str
    memory_mib: int
    compute_percent: int  # of the device's SMs; held by MPS alone
    simulated: bool = False
    mps_pipe: str = ""  # the folder in which MPS is reached; "" = no MPS


def share_of(gpu: Gpu, asked_mib: int, mps_pipe: str = "") -> GpuShare:
    """Of 24576 MiB, 6144 are a quarter of its compute. More than there is (a card sold as 16 GB may show 15) is all."""
    memory_mib = min(asked_mib, gpu.memory_mib)
    percent = min(100, max(1, math.ceil(100 * memory_mib / gpu.memory_mib)))
    return GpuShare(gpu.uuid, memory_mib, percent, gpu.simulated, mps_pipe)


def allocation_limit_bytes(memory_mib: int) -> int:
    """What a program may allocate so that it stays within `memory_mib` with its CUDA context."""
    return (memory_mib - min(CONTEXT_MIB, memory_mib // 2)) * 2**20


def gpu_environment(share: GpuShare) -> dict[str, str]:
    """Variables that a function's own cannot replace."""
    values = {
        # By uuid: a number would mean another card under MPS. A simulated card is none that CUDA could find.
        "CUDA_VISIBLE_DEVICES": "" if share.simulated else share.uuid,
        "STOKE_GPU_DEVICE": share.uuid,
        "STOKE_GPU_MEMORY_LIMIT_BYTES": str(allocation_limit_bytes(share.memory_mib)),
    }
    if share.mps_pipe:
        values["CUDA_MPS_PIPE_DIRECTORY"] = share.mps_pipe
        values["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] = str(share.compute_percent)
        values["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = f"0={share.memory_mib}M"  # 0: the only device it sees
    return values


def is_over(used_mib: float, share: GpuShare) -> bool:
    """Does an instance hold more of the device than it asked for?"""
    return used_mib > share.memory_mib * TOLERANCE
