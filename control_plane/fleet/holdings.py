"""What instances hold of each device, kept as their records come and go. Pure."""

from __future__ import annotations

from collections import Counter

from runtime.contract import InstanceRecord


class Holdings:
    """An instance holds its share as long as it has a record: while it starts and while it drains too."""

    def __init__(self) -> None:
        self.mib: Counter[str] = Counter()  # by the device's uuid; those of which nothing is held are not in it
        self.doubted = False  # has an instance on a device failed since somebody has looked at the devices?

    def put(self, record: InstanceRecord) -> None:
        """An instance that was not there."""
        if record.device:
            self.mib[record.device] += record.gpu_memory_mib

    def drop(self, record: InstanceRecord) -> None:
        """One that was put."""
        if record.device:
            self.mib[record.device] -= record.gpu_memory_mib
            if not self.mib[record.device]:
                del self.mib[record.device]
