"""What a node keeps of each instance on disk, so that the next node finds it: one JSON file, replaced as a whole."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runtime.contract import InstanceState, InstanceStatus, LaunchSpec

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


def save(folder: Path, record: Record, *, durable: bool) -> None:
    """Replace the record. With `durable` it is on the disk when this returns, and so is the folder's name."""
    scratch = folder / f"{NAME}.new"
    with open(scratch, "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(record), file)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(scratch, folder / NAME)
    if durable:
        _sync(folder)
        _sync(folder.parent)


def remove(folder: Path) -> None:
    (folder / NAME).unlink(missing_ok=True)


def load_all(instances: Path) -> list[Record]:
    """Every readable record. One that is not is logged and left where it is."""
    found = []
    for path in sorted(instances.glob(f"*/{NAME}")):
        try:
            found.append(_from_dict(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.error("record.unreadable path=%s error=%r", path, error)
    return found


def _from_dict(values: dict[str, Any]) -> Record:
    known = {f.name for f in dataclasses.fields(Record)}
    values = {name: value for name, value in values.items() if name in known}
    values["spec"] = LaunchSpec.from_dict(values["spec"])
    values["state"] = InstanceState(values["state"])
    return Record(**values)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
