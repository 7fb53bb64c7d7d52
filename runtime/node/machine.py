"""What this machine, or the container that the node runs in, can hold."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path


def memory_mib() -> int:
    """The machine's memory, or the limit of the control group if that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [total]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # absent in the other version; "max" is no number
            limits.append(int(Path(path).read_text()))
    return min(limits) // 2**20


def disk_mib(folder: Path) -> int:
    """What is free where `folder` is."""
    return shutil.disk_usage(folder).free // 2**20


def cpu() -> float:
    """The processors that the node may run on, or the quota of the control group if that is less."""
    cores = float(len(os.sched_getaffinity(0)))
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return min(cores, int(quota) / int(period))
    with suppress(OSError, ValueError):
        folder = Path("/sys/fs/cgroup/cpu")
        quota_us = int((folder / "cpu.cfs_quota_us").read_text())
        if quota_us > 0:
            return min(cores, quota_us / int((folder / "cpu.cfs_period_us").read_text()))
    return cores
