"""The driver's critical errors (XIDs), by card: which of them mean that a card is broken."""

from __future__ import annotations

import logging
from typing import Any, Final

log = logging.getLogger(__name__)

# What a program did wrong, or what ended with it: 13 and 31 (bad addresses), 43 and 45 (its channel was stopped), 68
# (video), 109 (its context was switched out too late). The card is well, and the next program finds it so.
OF_PROGRAMS: Final = frozenset({13, 31, 43, 45, 68, 109})
_EVENTS_AT_ONCE_MAX: Final = 64  # read by one call; the rest is read by the next


class Xids:
    """A card that has failed stays so for as long as this is there: it needs a reset, after which the node is started
    again. Nothing here raises; where the driver tells no events, there are none."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._failed: dict[str, int] = {}
        self._watched: set[str] = set()
        try:
            self._events = nvml.nvmlEventSetCreate()
        except nvml.NVMLError as error:
            log.debug("nvml.no_events error=%s", error)
            self._events = None

    def watch(self, uuid: str, handle: Any) -> None:
        """From now on. A second call does nothing."""
        if self._events is None or uuid in self._watched:
            return
        self._watched.add(uuid)
        try:
            self._nvml.nvmlDeviceRegisterEvents(handle, self._nvml.nvmlEventTypeXidCriticalError, self._events)
        except self._nvml.NVMLError as error:
            log.debug("nvml.no_events uuid=%s error=%s", uuid, error)

    def read(self) -> None:
        """Take in what has happened since the last call, without waiting."""
        if self._events is None:
            return
        for _ in range(_EVENTS_AT_ONCE_MAX):
            try:
                event = self._nvml.nvmlEventSetWait_v2(self._events, 0)
            except self._nvml.NVMLError:  # nothing more has happened
                return
            self._heard(event)

    def _heard(self, event: Any) -> None:
        xid = int(event.eventData)
        try:
            uuid = self._nvml.nvmlDeviceGetUUID(event.device)
        except self._nvml.NVMLError:
            return  # the card is gone, and the inventory finds that
        uuid = uuid if isinstance(uuid, str) else uuid.decode()
        log.warning("nvml.xid uuid=%s xid=%d", uuid, xid)
        if xid not in OF_PROGRAMS:
            self._failed.setdefault(uuid, xid)

    def of(self, uuid: str) -> int | None:
        """The first XID that says a card has failed; None while it is well."""
        return self._failed.get(uuid)
