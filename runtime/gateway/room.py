"""Whether one more may wait at a gate, and who has to go for it. Pure.

First the gate's own bounds: a request takes the place of one of lower priority, the last come of the lowest, or is
refused. Then those of the hall, where the largest gate gives up places; a gate that would be the largest itself, with
this request, gets none from others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.gateway.claim import PRIORITY_MAX
from runtime.gateway.hall import Hall
from runtime.gateway.line import Line, Ticket
from runtime.words import counted

if TYPE_CHECKING:
    from runtime.gateway.gate import Gate


def in_line(line: Line, length_max: int, bytes_max: float, priority: int, held_bytes: int) -> tuple[Ticket, ...] | str:
    """Those that have to go, or why it is refused."""
    length, held = line.length + 1, line.held_bytes + held_bytes
    if length <= length_max and held <= bytes_max:
        return ()
    goes: list[Ticket] = []
    for ticket in line.from_the_end(priority):
        goes.append(ticket)
        length -= 1
        held -= ticket.held_bytes
        if length <= length_max and held <= bytes_max:
            return tuple(goes)
    if line.length >= length_max:
        return f"no instance is free and {_waiting(line.length)} already: {length_max} are allowed"
    held = line.held_bytes + held_bytes
    return f"no instance is free and what waits would hold {held} bytes: {bytes_max:g} are allowed"


def in_hall(gate: Gate, hall: Hall, priority: int, held_bytes: int) -> tuple[Gate, Ticket] | str | None:
    """Whose ticket goes next; None: there is room; text: why it is refused."""
    if not hall.is_full_for(held_bytes):
        return None
    line = gate.line
    mine = hall.places(line.length + 1, line.held_bytes + held_bytes)
    largest = hall.largest()
    if largest is not None and largest is not gate and hall.places_of(largest) > mine:
        ticket = largest.line.last(PRIORITY_MAX + 1)
        if ticket is not None:
            return largest, ticket
    ticket = line.last(priority)
    if ticket is not None:
        return gate, ticket
    return (
        f"no instance is free and {_waiting(hall.length)} already, {line.length} of them for this function: "
        f"{hall.length_max} of all functions are allowed, with {hall.bytes_max} bytes"
    )


def _waiting(count: int) -> str:
    return counted(count, "request waits", "requests wait")
