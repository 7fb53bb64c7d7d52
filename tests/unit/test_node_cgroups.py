"""Where a node reads that a process's group ran out of memory, on either version of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.node.cgroups import kills_in, memory_events_file

VERSION_1 = "4:memory:/libpod_parent/libpod-a1\n2:cpu,cpuacct:/libpod_parent/libpod-a1\n0::/libpod_parent/libpod-a1\n"
MOUNTS_1 = (
    "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
    "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup /sys/fs/cgroup/memory cgroup rw,nosuid,memory 0 0\n"
)
VERSION_2 = "0::/machine.slice/libpod-a1.scope/container\n"
MOUNTS_2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"


@pytest.mark.parametrize(
    ("cgroup", "mounts", "file"),
    [
        (VERSION_1, MOUNTS_1, Path("/sys/fs/cgroup/memory/libpod_parent/libpod-a1/memory.oom_control")),
        (VERSION_2, MOUNTS_2, Path("/sys/fs/cgroup/machine.slice/libpod-a1.scope/container/memory.events")),
        ("3:cpu:/a\n", MOUNTS_1, None),
        (VERSION_1, "proc /proc proc rw 0 0\n", None),
        ("", "", None),
    ],
)
def test_a_process_s_group_is_found_on_either_version(cgroup: str, mounts: str, file: Path | None) -> None:
    assert memory_events_file(cgroup, mounts) == file


def test_the_kernel_s_count_is_read_and_a_group_that_is_gone_has_none(tmp_path: Path) -> None:
    file = tmp_path / "memory.events"
    assert kills_in(file) == 0
    file.write_text("low 0\nmax 12\noom 2\noom_kill 2\noom_group_kill 0\n")
    assert kills_in(file) == 2
    file.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    assert kills_in(file) == 1
