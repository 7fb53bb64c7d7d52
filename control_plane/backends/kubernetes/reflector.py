"""A copy of some of the cluster's objects that stays true: list, then watch from there, and anew after whatever breaks.

1. A list gives every object and the version of the whole; what is here and not in it is gone.
2. A watch from that version gives each change. Bookmarks move the version on where nothing else does, so that the
   next watch begins late enough to be allowed. The server ends a watch after a while; the next goes on from there.
3. A version that is too old (410, "Expired") begins anew with a list, at once. So does whatever else goes wrong, after
   a pause with chance in it, so that not all clients of a restarted server come back at the same moment.
A connection that is dead and does not say so is given up when it has been silent for longer than the server should
have kept the watch open.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from random import Random
from typing import Final

from control_plane.backends.kubernetes.client import ApiAway, ApiBusy, ApiError, KubernetesClient, Object
from control_plane.backends.kubernetes.limits import backoff_s
from control_plane.ports import Clock

log = logging.getLogger(__name__)

_PAGE: Final = 500  # as kubectl asks
_WATCH_S: Final = 60
_BUSY_MAX: Final = 3
_SILENCE_S_MAX: Final = _WATCH_S + 20.0


class Reflector:
    """`objects` by name, as last heard. `changed` is told each one, and `gone` what is no more."""

    def __init__(
        self,
        client: KubernetesClient,
        path: str,
        selector: str,
        clock: Clock,
        chance: Random,
        *,
        changed: Callable[[Object], None],
        gone: Callable[[Object], None],
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self.objects: dict[str, Object] = {}
        self.is_current = False
        self.why_not = "the cluster has not been asked yet"
        self._client = client
        self._path = path
        self._query = {"labelSelector": selector} if selector else {}
        self._clock = clock
        self._chance = chance
        self._changed = changed
        self._gone = gone
        self._moved = moved
        self._version = ""
        self._failures = 0  # since something was heard

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                if not self._version:
                    await self._list()
                self._become(True, "")
                await self._watch()
                self._failures = 0
                continue
            except ApiError as error:
                if error.status == 410 and self._failures == 0:
                    self._version = ""
                    log.info("kubernetes.relist path=%s", self._path)
                    self._failures = 1
                    continue
                if isinstance(error, ApiBusy) and self._version and self._failures < _BUSY_MAX:
                    self._failures += 1  # what is known is not wrong yet
                    await self._clock.sleep(max(error.retry_after_s, backoff_s(self._failures, self._chance)))
                    continue
                self._version = ""
                why = f"the API server at {self._client.server} answered {error.status}: {error}"
            except ApiAway as error:
                self._version = ""
                why = str(error)
            self._failures += 1
            self._become(False, why)
            log.warning("kubernetes.away path=%s error=%s", self._path, why)
            await self._clock.sleep(backoff_s(self._failures, self._chance))

    def _become(self, current: bool, why: str) -> None:
        moved, self.is_current, self.why_not = self.is_current != current, current, why
        if moved:
            self._moved()

    async def _list(self) -> None:
        known = set(self.objects)  # what is noted while the list is under way may be too new for it
        seen: dict[str, Object] = {}
        more = ""
        while True:
            query: dict[str, str | int] = {**self._query, "limit": _PAGE}
            if more:
                query["continue"] = more
            page = await self._client.get(self._path, **query)
            for item in page.get("items") or ():
                seen[item["metadata"]["name"]] = item
            metadata = page.get("metadata") or {}
            more = str(metadata.get("continue") or "")
            if not more:
                break
        gone = [self.objects.pop(name) for name in known if name in self.objects and name not in seen]
        before = {name: self.objects.get(name) for name in seen}
        self.objects.update(seen)  # whoever is told of one finds all the others
        for item in gone:
            self._gone(item)
        for name, item in seen.items():
            self._tell(before[name], item)
        self._version = str(metadata.get("resourceVersion") or "")

    async def _watch(self) -> None:
        events = self._client.watch(
            self._path,
            seconds=_WATCH_S,
            silence_s=_SILENCE_S_MAX,
            resourceVersion=self._version,
            **self._query,
        )
        async for event in events:
            self._failures = 0
            item = event.get("object") or {}
            metadata = item.get("metadata") or {}
            if event.get("type") == "DELETED":
                self.objects.pop(metadata["name"], None)
                self._gone(item)
            elif event.get("type") in ("ADDED", "MODIFIED"):
                self._keep(item)
            self._version = str(metadata.get("resourceVersion") or self._version)

    def note(self, item: Object) -> None:
        """What another answer has told, before the watch does."""
        self.objects.setdefault(item["metadata"]["name"], item)

    def _keep(self, item: Object) -> None:
        before = self.objects.get(item["metadata"]["name"])
        self.objects[item["metadata"]["name"]] = item
        self._tell(before, item)

    def _tell(self, before: Object | None, item: Object) -> None:
        """An object of an older life of the same name is gone, even if nobody said so."""
        if before is not None and before["metadata"].get("uid") != item["metadata"].get("uid"):
            self._gone(before)
        self._changed(item)
