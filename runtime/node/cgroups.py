"""A control group of memory for each instance, where this process may make one (version 1 or 2)."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PREFIX: Final = "stoke-"


@dataclass(frozen=True, slots=True)
class MemoryGroups:
    """Makes groups below `parent`. The file names are what differs between the two versions."""

    parent: Path
    limit_file: str
    swap_file: str
    events_file: str

    def make(self, instance_id: str, limit_mib: int) -> Path:
        """A group with a limit, for a process to move itself into. Raises OSError."""
        group = self.parent / f"{PREFIX}{instance_id}"
        group.mkdir(exist_ok=True)
        self.limit(group, limit_mib)
        return group

    def limit(self, group: Path, limit_mib: int) -> None:
        """Have its processes use no more than that together. Raises OSError: they do already, or it is gone."""
        limit = str(limit_mib * 2**20)
        swap = "0" if self.limit_file == "memory.max" else limit
        try:
            (group / self.limit_file).write_text(limit)
        except OSError:  # version 1 keeps it below the limit of memory and swap together: that one has to grow first
            (group / self.swap_file).write_text(swap)
            (group / self.limit_file).write_text(limit)
        with suppress(OSError):  # without an account of swap there is nothing to forbid
            (group / self.swap_file).write_text(swap)

    def kills(self, group: Path) -> int:
        """How many of its processes the kernel killed for want of memory."""
        return kills_in(group / self.events_file)


def kills_in(events_file: Path) -> int:
    """How many processes of a group the kernel killed for want of memory; 0 when the group is gone."""
    with suppress(OSError):
        found = re.search(r"^oom_kill (\d+)$", events_file.read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


def memory_events_file(cgroup: str, mounts: str) -> Path | None:
    """Where the kernel counts what it killed in a process's group of memory, from the texts of `/proc/PID/cgroup` and
    `/proc/self/mounts`. None where memory is not accounted for. Pure."""
    own = [line.split(":", 2) for line in cgroup.splitlines() if line.count(":") >= 2]
    by_memory = next((path for _, names, path in own if "memory" in names.split(",")), None)
    by_all = next((path for number, _, path in own if number == "0"), None)
    for _, mount, kind, options, *_ in (line.split() for line in mounts.splitlines()):
        if kind == "cgroup" and "memory" in options.split(",") and by_memory is not None:
            return Path(mount + by_memory, "memory.oom_control")
        if kind == "cgroup2" and by_memory is None and by_all is not None:
            return Path(mount + by_all, "memory.events")
    return None


def members(group: Path) -> set[int]:
    try:
        return {int(line) for line in (group / "cgroup.procs").read_text().split()}
    except OSError:
        return set()


def remove(group: Path) -> None:
    """Succeeds once its last process is gone; a group that is gone already is fine."""
    with suppress(OSError):
        group.rmdir()


def find() -> MemoryGroups | None:
    """Where groups with a memory limit can be made, tried out by making one; None where they cannot."""
    for candidate in _candidates():
        try:
            probe = candidate.make(f"probe-{os.getpid()}", 64)
        except OSError:
            remove(candidate.parent / f"{PREFIX}probe-{os.getpid()}")
            continue
        remove(probe)
        return candidate
    return None


def _candidates() -> list[MemoryGroups]:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    found = []
    for _, mount, kind, options, *_ in mounts:
        if kind == "cgroup" and "memory" in options.split(","):
            path = next((path for _, names, path in own if "memory" in names.split(",")), "/")
            # Inside a container the path may be the host's, which is not mounted here: then the mount's root is ours.
            found += [_version_1(parent) for parent in (Path(mount + path), Path(mount)) if parent.is_dir()]
        elif kind == "cgroup2":
            path = next((path for number, _, path in own if number == "0"), "/")
            found += [_version_2(parent) for parent in (Path(mount + path), Path(mount)) if _passes_on_memory(parent)]
    return found


def _version_1(parent: Path) -> MemoryGroups:
    return MemoryGroups(parent, "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control")


def _version_2(parent: Path) -> MemoryGroups:
    return MemoryGroups(parent, "memory.max", "memory.swap.max", "memory.events")


def _passes_on_memory(parent: Path) -> bool:
    """May groups below this one have a memory limit? Asks the kernel for it where it is not so yet."""
    control = parent / "cgroup.subtree_control"
    try:
        if "memory" not in control.read_text().split():
            control.write_text("+memory")
    except OSError:
        return False
    return True
