"""A request's wait for a slot: its place in the queue, and the time that it may spend there."""

from __future__ import annotations

from asyncio import TimerHandle, get_running_loop
from time import monotonic
from typing import TYPE_CHECKING, Final

from runtime.gateway.line import Ticket

if TYPE_CHECKING:
    from runtime.gateway.gateway import Gateway
    from runtime.gateway.invocation import Invocation


class Wait:
    """From the moment that a request has a ticket, until it has a slot or is over."""

    __slots__ = ("_gateway", "_invocation", "_patience", "ticket")

    def __init__(self, gateway: Gateway, invocation: Invocation, ticket: Ticket, arrived_at_s: float) -> None:
        """Begins it. The time that its claim allows counts from when the request arrived."""
        self._gateway: Final = gateway
        self._invocation: Final = invocation
        self.ticket: Final = ticket
        self._patience: TimerHandle | None = None  # where its claim allows less than the gateway does
        gateway.patience.for_a_slot.add(invocation)
        wait_s_max = ticket.claim.wait_s_max
        if wait_s_max < gateway.settings.queue_wait_s:
            left_s = max(0.0, arrived_at_s + wait_s_max - monotonic())
            self._patience = get_running_loop().call_later(left_s, invocation.give_up_waiting, wait_s_max)
        gateway.reporter.soon()

    def end(self) -> None:
        self._gateway.patience.for_a_slot.discard(self._invocation)
        if self._patience is not None:
            self._patience.cancel()


def turn_away(outrun: tuple[Ticket, ...], now_s: float) -> None:
    """Tell those that had to leave the queue, of this function or another, for another request."""
    for ticket in outrun:
        ticket.waiter.outrun(now_s)
