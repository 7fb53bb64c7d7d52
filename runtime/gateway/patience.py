"""How long a gateway waits for each kind of thing, in one place: all of it ends with the gateway."""

from __future__ import annotations

import asyncio

from runtime.gateway.api import ApiRequest
from runtime.gateway.invocation import Invocation
from runtime.gateway.settings import GatewaySettings
from runtime.gateway.upgrade import Quiet
from runtime.http.client import ClientConnection
from runtime.http.deadlines import Deadlines
from runtime.http.pool import close_idle


class Patience:
    def __init__(self, loop: asyncio.AbstractEventLoop, settings: GatewaySettings) -> None:
        self._loop = loop
        self.for_a_slot: Deadlines[Invocation] = Deadlines(loop, settings.queue_wait_s, Invocation.waited_too_long)
        self.for_the_api: Deadlines[ApiRequest] = Deadlines(loop, settings.api_timeout_s, ApiRequest.not_answered)
        self.with_idle: Deadlines[ClientConnection] = Deadlines(loop, settings.instance_idle_s, close_idle)
        self.with_silence = Quiet(loop, settings.websocket_idle_s)  # of both sides of a WebSocket
        self._with_functions: dict[float, Deadlines[Invocation]] = {}

    def with_function(self, timeout_s: float) -> Deadlines[Invocation]:
        """The deadlines of the functions with this timeout."""
        deadlines = self._with_functions.get(timeout_s)
        if deadlines is None:
            deadlines = Deadlines(self._loop, timeout_s, lambda each: each.timed_out())
            self._with_functions[timeout_s] = deadlines
        return deadlines

    def bereave(self, instance_id: str) -> None:
        """Nothing more is heard of an instance."""
        for deadlines in self._with_functions.values():
            for invocation in deadlines:
                if invocation.instance_id == instance_id:
                    invocation.bereaved()

    def end(self) -> None:
        self.for_a_slot.clear()
        self.for_the_api.clear()
        self.with_idle.clear()
        self.with_silence.clear()
        for deadlines in self._with_functions.values():
            deadlines.clear()
