"""Who waits at one gate: higher priorities first, and first come, first served among equals. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from runtime.gateway.claim import PLAIN, Claim

if TYPE_CHECKING:
    from runtime.gateway.gate import Lease


class Ticket:
    """A place in the queue. `lease` is set when its turn has come."""

    __slots__ = ("claim", "held_bytes", "is_again", "lease", "outrun", "queued_at_s", "waiter")

    def __init__(self, waiter: Any, queued_at_s: float, claim: Claim = PLAIN, held_bytes: int = 0) -> None:
        self.waiter: Final = waiter
        self.queued_at_s: Final = queued_at_s
        self.claim: Final = claim
        self.held_bytes: Final = held_bytes
        self.is_again = False  # it had a slot once: it keeps its place
        self.lease: Lease | None = None
        self.outrun: tuple[Ticket, ...] = ()  # those that had to go for it: whoever takes this ticket tells them


class Line:
    """Places by priority. `length` and `held_bytes` are sums over all of them."""

    __slots__ = ("_classes", "held_bytes", "length")

    def __init__(self) -> None:
        self._classes: dict[int, OrderedDict[Ticket, None]] = {}  # highest priority first; none is empty
        self.length = 0
        self.held_bytes = 0

    def __iter__(self) -> Iterator[Ticket]:
        """In the order of their turns."""
        for waiting in self._classes.values():
            yield from waiting

    def __contains__(self, ticket: Ticket) -> bool:
        return ticket in self._classes.get(ticket.claim.priority, ())

    def push(self, ticket: Ticket) -> None:
        """As the last of its priority, or as the first if it had a slot before."""
        priority = ticket.claim.priority
        waiting = self._classes.get(priority)
        if waiting is None:
            waiting = self._classes[priority] = OrderedDict()
            if len(self._classes) > 1:
                self._classes = dict(sorted(self._classes.items(), reverse=True))
        waiting[ticket] = None
        if ticket.is_again:
            waiting.move_to_end(ticket, last=False)
        self.length += 1
        self.held_bytes += ticket.held_bytes

    def pop(self) -> Ticket:
        """Whose turn it is. There must be one."""
        priority, waiting = next(iter(self._classes.items()))
        ticket, _ = waiting.popitem(last=False)
        self._left(priority, waiting, ticket)
        return ticket

    def remove(self, ticket: Ticket) -> bool:
        """Whether it was here."""
        priority = ticket.claim.priority
        waiting = self._classes.get(priority)
        if waiting is None or ticket not in waiting:
            return False
        del waiting[ticket]
        self._left(priority, waiting, ticket)
        return True

    def ahead_of(self, priority: int) -> int:
        """How many would have their turn before a new one of this priority."""
        return sum(len(waiting) for each, waiting in self._classes.items() if each >= priority)

    def last(self, below: int) -> Ticket | None:
        """The one that would go first if places were short: the last come of the lowest priority below this one."""
        return next(self.from_the_end(below), None)

    def from_the_end(self, below: int) -> Iterator[Ticket]:
        """Those of priorities below this one that may have to go, in the order in which they would."""
        for priority in reversed(self._classes):
            if priority >= below:
                return
            for ticket in reversed(self._classes[priority]):
                if ticket.is_again:
                    break  # those stand before all others of their priority
                yield ticket

    def _left(self, priority: int, waiting: OrderedDict[Ticket, None], ticket: Ticket) -> None:
        if not waiting:
            del self._classes[priority]
        self.length -= 1
        self.held_bytes -= ticket.held_bytes
