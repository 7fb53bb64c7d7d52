"""Session affinity: requests of one session go to one instance while it is there and has a free slot. Pure.

A session sticks to the instance that it had first, however many others come later. A request that finds it busy goes
where any other would, and the session stays where it was: to wait would make it depend on one instance's queue. Which
one is the first is decided by rendezvous hashing among the instances that have a free slot (provisioned before
on-demand, as always), so that several gateways, and one that was started again, mostly agree without saying anything
to each other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

from runtime.gateway.pick import Instance, Picker

SESSIONS_MAX: Final = 10_000  # of one function version; the least recently used is forgotten
_KEPT_BYTES_MAX: Final = 32  # of a session's key; of a longer one its digest is


class Sessions:
    """Which session has which instance."""

    __slots__ = ("_at",)

    def __init__(self) -> None:
        self._at: OrderedDict[bytes, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._at)

    def enter(self, session: bytes, picker: Picker, instances: Mapping[str, Instance]) -> Instance:
        """The instance of this session has one more in flight, or another one if it is busy. There must be one free."""
        instance_id = self._at.get(session)
        instance = None if instance_id is None else instances.get(instance_id)
        if instance is None or not instance.is_there:
            instance = max(picker.offered(), key=lambda each: _weight(session, each.instance_id))
            self._at[session] = instance.instance_id
            if len(self._at) > SESSIONS_MAX:
                self._at.popitem(last=False)
        self._at.move_to_end(session)
        if not instance.is_offered:
            return picker.enter()
        picker.enter_one(instance)
        return instance


def session_key(value: bytes) -> bytes:
    """A session by what a client calls it: as it is if it is short, so that no client decides how much is kept."""
    return value if len(value) <= _KEPT_BYTES_MAX else blake2b(value, digest_size=16).digest()


def _weight(session: bytes, instance_id: str) -> bytes:
    return blake2b(instance_id.encode(), digest_size=8, key=session).digest()
