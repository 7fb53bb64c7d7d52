"""What a node keeps of each instance on disk, so that the next node finds it: JSON lines, of which the last one counts.

A line is added with each change, by one write. Replacing the file would have some file systems write it out first, and
that on the way of every launch.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runtime.contract import InstanceState
from runtime.node_contract import InstanceStatus, LaunchSpec

log = logging.getLogger(__name__)

NAME: Final = "record.json"


@dataclass(frozen=True, slots=True)
class Record:
    """`boot` and `start_ticks` tell whether a process with this pid is still the same one."""

    spec: LaunchSpec
    state: InstanceState = InstanceState.LAUNCHING
    at_s: float = 0.0
    reason: str = ""
    address: str = ""
    pid: int = 0
    start_ticks: int = 0
    boot: str = ""
    group: str = ""
    stopping: bool = False
    was_ready: bool = False

    @property
    def status(self) -> InstanceStatus:
        return InstanceStatus(self.spec.instance_id, self.state, self.address, self.pid, self.at_s, self.reason)


def save(folder: Path, record: Record) -> None:
    """The record from now on: a node that is killed leaves the one before or this one. `sync` has it outlive the
    machine."""
    line = b"\n" + json.dumps(dataclasses.asdict(record)).encode()
    descriptor = os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        written = os.write(descriptor, line)
        if written < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / NAME))
    finally:
        os.close(descriptor)


def sync(folder: Path) -> None:
    """What was saved is on the disk when this returns, and so is the folder's name."""
    for path in (folder / NAME, folder, folder.parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove(folder: Path) -> None:
    (folder / NAME).unlink(missing_ok=True)


def load_all(instances: Path) -> list[Record]:
    """Every readable record. One that is not is logged and left where it is."""
    found = []
    for path in sorted(instances.glob(f"*/{NAME}")):
        try:
            found.append(_last(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.error("record.unreadable path=%s error=%r", path, error)
    return found


def _last(text: str) -> Record:
    """Of the last whole line: a disk that was full, or a machine that went away, may have left a part of one."""
    lines = [line for line in text.splitlines() if line.strip()]
    for line in reversed(lines[1:]):
        try:
            return _from_dict(json.loads(line))
        except (ValueError, TypeError, KeyError):
            continue
    return _from_dict(json.loads(lines[0] if lines else ""))


def _from_dict(values: dict[str, Any]) -> Record:
    known = {f.name for f in dataclasses.fields(Record)}
    values = {name: value for name, value in values.items() if name in known}
    values["spec"] = LaunchSpec.from_dict(values["spec"])
    values["state"] = InstanceState(values["state"])
    return Record(**values)
