"""A signed request between its signature, which holds, and the word of the store that its nonce is new."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from runtime.access.admit import replayed
from runtime.gateway.refusal import Refusal
from runtime.http.exchange import Exchange

if TYPE_CHECKING:
    from runtime.gateway.authorize import Admission
    from runtime.gateway.gateway import Gateway


class NonceWait:
    """Owns the exchange until the store has answered; then whoever `go_on` makes does, if the client is still there."""

    __slots__ = ("_admission", "_exchange", "_gateway", "_go_on")

    def __init__(self, gateway: Gateway, exchange: Exchange, admission: Admission, go_on: Callable[[], None]) -> None:
        self._gateway = gateway
        self._exchange = exchange
        self._admission = admission
        self._go_on = go_on

    def begin(self) -> None:
        self._exchange.owner = self
        self._gateway.spawn(self._ask())

    def body_arrived(self) -> None:
        if self._exchange.body_bytes > self._gateway.settings.held_body_bytes_max:
            self._exchange.pause_reading()

    def client_gone(self) -> None: ...

    def client_paused(self) -> None: ...

    def client_resumed(self) -> None: ...

    async def _ask(self) -> None:
        admission, exchange = self._admission, self._exchange
        is_new = await self._gateway.nonces.use_everywhere(admission.access_key_id, admission.nonce)
        if not exchange.gone:
            exchange.owner = None
            self._gateway.guarded(exchange, self._enter if is_new else self._refuse)

    def _enter(self) -> None:
        self._exchange.resume_reading()
        self._go_on()

    def _refuse(self) -> None:
        refused = replayed(self._admission.nonce)
        raise Refusal(refused.status, refused.code, refused.message)
