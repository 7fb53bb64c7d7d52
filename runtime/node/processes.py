"""What /proc says of processes: who lives, who belongs to an instance, what it uses; and how to end all of it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_MIB: Final = os.sysconf("SC_PAGE_SIZE") / 2**20
_SIGKILL_PATIENCE_S: Final = 5.0  # a process in an uninterruptible wait may take its time; the kernel keeps the signal


@dataclass(frozen=True, slots=True)
class Stat:
    """One line of /proc/PID/stat. `cpu_ticks` has the waited-for children's too, so an instance's sum never falls."""

    pid: int
    state: str
    ppid: int
    group: int
    session: int
    cpu_ticks: int
    start_ticks: int

    @property
    def is_dead(self) -> bool:
        return self.state in "ZX"


def read_stat(pid: int) -> Stat | None:
    """None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may hold spaces and parentheses of its own.
    fields = text[text.rindex(")") + 2 :].split()
    cpu_ticks = sum(int(field) for field in fields[11:15])
    return Stat(pid, fields[0], int(fields[1]), int(fields[2]), int(fields[3]), cpu_ticks, int(fields[19]))


def lives(pid: int, start_ticks: int) -> bool:
    """Is this very process still running? Another one with its pid is not it, and a zombie is dead."""
    stat = read_stat(pid)
    return stat is not None and not stat.is_dead and stat.start_ticks == start_ticks


def all_stats() -> list[Stat]:
    stats = (read_stat(int(name)) for name in os.listdir("/proc") if name.isdecimal())
    return [stat for stat in stats if stat is not None]


Member = tuple[int, int]  # pid and start: a pid alone may be another process's by the time it is used


def family(leader: int, start_ticks: int, stats: Iterable[Stat], known: Iterable[int] = ()) -> set[Member]:
    """The living processes of an instance: its session, its group, who descends from its leader; and `known` pids.

    A leader's pid that was given to another process since then names nobody: no pid is reused while a session or a
    group of that number exists.
    """
    by_pid = {stat.pid: stat for stat in stats}
    members = {pid for pid in known if pid in by_pid}
    if leader not in by_pid or by_pid[leader].start_ticks == start_ticks:
        members |= {stat.pid for stat in by_pid.values() if leader in (stat.session, stat.group, stat.pid)}
    grown = True
    while grown:
        more = {stat.pid for stat in by_pid.values() if stat.ppid in members} - members
        members |= more
        grown = bool(more)
    return {(pid, by_pid[pid].start_ticks) for pid in members if not by_pid[pid].is_dead}


def living(members: Iterable[Member]) -> set[Member]:
    return {(pid, start_ticks) for pid, start_ticks in members if lives(pid, start_ticks)}


def memory_mib(pid: int) -> float:
    """What a process keeps to itself plus its share of what it has in common (PSS), so that sums count nothing twice.

    Where the kernel has no PSS it is the resident size. 0 for a process that is gone.
    """
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        pass
    with suppress(FileNotFoundError, ProcessLookupError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MIB
    return 0.0


def signal_each(members: Iterable[Member], number: signal.Signals) -> None:
    for pid, start_ticks in members:
        with suppress(ProcessLookupError, PermissionError):
            if lives(pid, start_ticks):
                os.kill(pid, number)


async def kill_until_gone(members: Callable[[], set[Member]]) -> set[Member]:
    """SIGKILL everyone, again for those born meanwhile. Gives who is left after some seconds: nobody, mostly."""
    deadline_s = time.monotonic() + _SIGKILL_PATIENCE_S
    pause_s = 0.001
    while left := members():
        signal_each(left, signal.SIGKILL)
        if time.monotonic() > deadline_s:
            break
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.05)
    return left


def boot_id() -> str:
    """Changes with each start of the machine: a pid of another boot names nobody."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
