"""What the control plane says, taken in: routes, keys, instances and leases, at the start and as they change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from time import monotonic

from runtime.access.records import FIELD_PREFIX, KeyRecord
from runtime.contract import INSTANCES_KEY, ROUTES_KEY, InstanceRecord, VersionKey
from runtime.gateway.authorize import Keyring
from runtime.gateway.feeds import decode
from runtime.gateway.gate import Gate
from runtime.gateway.metrics import Metrics
from runtime.gateway.refusal import not_found
from runtime.gateway.routes import Routes
from runtime.gateway.sharing import Sharing
from runtime.gateway.terms import Desk
from runtime.gateway.upstreams import Upstreams
from runtime.leasing import LEASES_KEY

log = logging.getLogger(__name__)


class News:
    """The feed's listener. What cannot be read is logged and left out; the rest counts."""

    def __init__(
        self,
        routes: Routes,
        keys: Keyring,
        upstreams: Upstreams,
        sharing: Sharing,
        gates: Mapping[VersionKey, Gate],
        desk: Desk,
        metrics: Metrics,
    ) -> None:
        self.loaded = asyncio.Event()  # the routes have been read once
        self._routes = routes
        self._keys = keys
        self._upstreams = upstreams
        self._sharing = sharing
        self._gates = gates
        self._desk = desk
        self._metrics = metrics

    def load_leases(self, grants: Mapping[str, str]) -> None:
        self._sharing.load(grants)

    def load(self, routes: Mapping[str, str], instances: Mapping[str, str]) -> None:
        self._routes.clear()
        self._keys.clear()
        for field, value in routes.items():
            self._change_route(field, value)
        for instance_id in [known for known in self._upstreams if known not in instances]:
            self._upstreams.remove(instance_id)
        for field, value in instances.items():
            self._change_instance(field, value)
        self.loaded.set()
        self._turn_away_orphans(list(self._gates))

    def change(self, key: str, field: str, value: str) -> None:
        if key == ROUTES_KEY:
            self._change_route(field, value)
            kind, *names = field.split("/")
            if not value and kind == "function" and len(names) == 3:
                self._turn_away_orphans([(names[0], names[1], names[2])])
        elif key == INSTANCES_KEY:
            self._change_instance(field, value)
        elif key == LEASES_KEY:
            self._sharing.change(field, value)

    def _change_route(self, field: str, value: str) -> None:
        is_key = field.startswith(FIELD_PREFIX)
        if not value:
            if is_key:
                self._keys.remove(field.removeprefix(FIELD_PREFIX))
            else:
                self._routes.remove(field)
            return
        try:
            if is_key:
                self._keys.put(KeyRecord.from_dict(decode(value)))
            else:
                self._routes.put(field, decode(value))
        except (ValueError, TypeError, KeyError) as error:
            log.error("route-unreadable field=%s error=%r", field, str(error))

    def _change_instance(self, instance_id: str, value: str) -> None:
        if not value:
            self._upstreams.remove(instance_id)
            return
        try:
            self._upstreams.put(InstanceRecord.from_dict(decode(value)))
        except (ValueError, TypeError, KeyError) as error:
            log.error("instance-unreadable field=%s error=%r", instance_id, str(error))

    def _turn_away_orphans(self, keys: list[VersionKey]) -> None:
        """Requests that wait for a function that was deleted wait in vain."""
        for key in keys:
            gate = self._gates.get(key)
            if self._routes.function(key) is not None:
                continue
            self._desk.forget(key)
            self._metrics.forget_version(key)
            if gate is not None:
                service, _, function = key
                for ticket in gate.cancel_all(monotonic()):
                    message = f"function '{function}' does not exist in service '{service}'"
                    ticket.waiter.refuse(not_found("Function", message))
        self._metrics.forget(self._routes.has)
