"""Which process a pid names. Standard library only: the supervisor stays small."""

from __future__ import annotations

import os
from pathlib import Path


def start_time(pid: int) -> int:
    """When a process began, in clock ticks since boot (/proc/PID/stat, field 22); 0 if it is gone or a zombie.

    With the pid it names one process for ever: a pid alone may be given to another.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()
    return 0 if fields[0] in "ZX" else int(fields[19])


def host_id() -> str:
    """Where a pid means the same: this boot of this machine, in this process namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
