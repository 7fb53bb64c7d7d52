"""The table of instances: the record of each, and by function version what is counted of them. Pure.

Whoever keeps it puts records in and drops them; all others look. What is counted is counted anew only after a change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from control_plane.fleet.census import EMPTY, Census, census
from control_plane.fleet.holdings import Holdings
from runtime.contract import InstanceRecord, VersionKey, version_key


class InstanceTable(Mapping[str, InstanceRecord]):
    """Records by instance id, those of instances that start and drain too. None: there is no such instance."""

    def __init__(self) -> None:
        self._records: dict[str, InstanceRecord] = {}
        self._by_version: defaultdict[VersionKey, set[str]] = defaultdict(set)  # those that have any
        self._counted: dict[VersionKey, Census] = {}  # of those that did not change since
        self._moved: set[VersionKey] = set()
        self.holdings = Holdings()

    # -- changing ---------------------------------------------------------------------------------------------------

    def put(self, record: InstanceRecord) -> None:
        """An instance that is new, or is now as this says; its function version and its device stay what they were."""
        if record.instance_id not in self._records:
            self.holdings.put(record)
        self._records[record.instance_id] = record
        key = version_key(record)
        self._by_version[key].add(record.instance_id)
        self._count_again(key)

    def drop(self, instance_id: str) -> None:
        """It is no more. One that is not there changes nothing."""
        record = self._records.pop(instance_id, None)
        if record is None:
            return
        self.holdings.drop(record)
        key = version_key(record)
        self._by_version[key].discard(instance_id)
        if not self._by_version[key]:
            del self._by_version[key]
        self._count_again(key)

    def _count_again(self, key: VersionKey) -> None:
        self._counted.pop(key, None)
        self._moved.add(key)

    # -- looking ----------------------------------------------------------------------------------------------------

    def __getitem__(self, instance_id: str) -> InstanceRecord:
        return self._records[instance_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def versions(self) -> set[VersionKey]:
        """The function versions that have instances."""
        return set(self._by_version)

    def version_of(self, instance_id: str) -> VersionKey | None:
        record = self._records.get(instance_id)
        return None if record is None else version_key(record)

    def of(self, key: VersionKey) -> Iterable[InstanceRecord]:
        """The records of one function version, in no order."""
        return (self._records[i] for i in self._by_version.get(key, ()))

    def census(self, key: VersionKey) -> Census:
        """How many live instances a function version has."""
        counted = self._counted.get(key)
        if counted is None:
            counted = self._counted[key] = census(self.of(key)) if key in self._by_version else EMPTY
        return counted

    def moved(self) -> set[VersionKey]:
        """The function versions whose instances are not as they were at the last call."""
        moved, self._moved = self._moved, set()
        return moved


def oldest_first(records: Iterable[InstanceRecord]) -> list[InstanceRecord]:
    return sorted(records, key=lambda r: (r.launched_at_s, r.instance_id))
