"""What one gate counts for the autoscaler. Pure: told what happens, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

ARRIVAL_SLOTS_PER_S: Final = 10
ARRIVAL_SLOTS_MAX: Final = 600  # kept while nobody listens: a minute of them


@dataclass(slots=True)
class Served:
    """What is written down for good: told once, to somebody who heard it."""

    provisioned: int = 0  # requests that an instance has had
    on_demand: int = 0
    service_s: float = 0.0
    arrivals: dict[int, int] = field(default_factory=dict)  # by tenth of a second on the monotonic clock

    def __bool__(self) -> bool:
        return bool(self.provisioned or self.on_demand or self.arrivals)

    def add(self, other: Served) -> None:
        """Of arrivals, the newest ARRIVAL_SLOTS_MAX tenths stay."""
        self.provisioned += other.provisioned
        self.on_demand += other.on_demand
        self.service_s += other.service_s
        for slot, count in other.arrivals.items():
            self.arrivals[slot] = self.arrivals.get(slot, 0) + count
        for slot in sorted(self.arrivals)[:-ARRIVAL_SLOTS_MAX]:
            del self.arrivals[slot]


class Usage:
    """Counts of one gate. The `_s` ones are integrals over time: exact however short a request is."""

    __slots__ = (
        "_since_s",
        "_slot",
        "_slot_arrived_before",
        "_slot_ends_s",
        "_unheard",
        "arrived",
        "arrived_before",
        "background",
        "demand",
        "demand_peak",
        "demand_request_s",
        "failed",
        "finished",
        "in_flight",
        "in_flight_provisioned",
        "provisioned_request_s",
        "queue_wait_s",
        "queued",
        "served_on_demand",
        "served_provisioned",
        "service_s",
    )

    def __init__(self) -> None:
        self._since_s = 0.0
        self.in_flight = 0
        self.in_flight_provisioned = 0
        self.queued = 0
        self.demand = 0  # slots that would be taken now if there were enough: in flight, queued and in the background
        self.background = 0  # asynchronous events that wait in the store for a slot: demand, and no place in the queue
        # What is written down for good, since `take_served`; with what was taken and not heard.
        self.served_provisioned = self.served_on_demand = 0
        self.service_s = 0.0
        self._slot = 0  # the newest tenth of a second in which requests came
        self._slot_ends_s = 0.0
        self._unheard = Served()
        self.arrived_before = 0  # in all earlier intervals
        self.arrived = self._slot_arrived_before = 0
        self.begin_interval()

    def begin_interval(self) -> None:
        """Start the counts of the next report. What is in flight and queued goes on."""
        self.demand_request_s = 0.0
        self.provisioned_request_s = 0.0
        self.queue_wait_s = 0.0
        self.demand_peak = self.demand
        self._end_slot()
        self._slot_arrived_before = 0
        self.arrived_before += self.arrived
        self.arrived = self.finished = self.failed = 0

    def advance(self, now_s: float) -> None:
        """Add the time since the last change to the integrals."""
        elapsed_s = now_s - self._since_s
        self._since_s = now_s
        if elapsed_s > 0.0:
            self.demand_request_s += self.demand * elapsed_s
            self.provisioned_request_s += self.in_flight_provisioned * elapsed_s

    def arrive(self, now_s: float) -> None:
        if now_s >= self._slot_ends_s:
            self._end_slot()
            self._slot = int(now_s * ARRIVAL_SLOTS_PER_S)
            self._slot_ends_s = (self._slot + 1) / ARRIVAL_SLOTS_PER_S
        self.arrived += 1

    def _end_slot(self) -> None:
        """What came since it began, to the tenth that it came in."""
        count = self.arrived - self._slot_arrived_before
        self._slot_arrived_before = self.arrived
        if count:
            arrivals = self._unheard.arrivals
            arrivals[self._slot] = arrivals.get(self._slot, 0) + count

    def take_served(self) -> Served:
        """What is to be written down; a new count begins."""
        self._end_slot()
        taken, self._unheard = self._unheard, Served()
        taken.add(Served(self.served_provisioned, self.served_on_demand, self.service_s))
        self.served_provisioned = self.served_on_demand = 0
        self.service_s = 0.0
        return taken

    def give_back(self, served: Served) -> None:
        """Nobody heard what was taken: it is told again."""
        self._unheard.add(served)

    def enter(self, now_s: float, provisioned: bool) -> None:
        self.advance(now_s)
        self.in_flight += 1
        self.demand = demand = self.demand + 1
        if provisioned:
            self.in_flight_provisioned += 1
        if demand > self.demand_peak:
            self.demand_peak = demand

    def leave(self, now_s: float, provisioned: bool, since_s: float) -> None:
        """One that had a slot since then has given it back."""
        self.advance(now_s)
        self.in_flight -= 1
        self.demand -= 1
        self.service_s += now_s - since_s
        if provisioned:
            self.in_flight_provisioned -= 1
            self.served_provisioned += 1
        else:
            self.served_on_demand += 1

    def enqueue(self, now_s: float) -> None:
        self.advance(now_s)
        self.queued += 1
        self.demand += 1
        self.demand_peak = max(self.demand_peak, self.demand)

    def dequeue(self, now_s: float, queued_at_s: float) -> None:
        self.advance(now_s)
        self.queued -= 1
        self.demand -= 1
        self.queue_wait_s += now_s - queued_at_s

    def relabel(self, now_s: float, more_provisioned: int) -> None:
        """An instance with requests inside has become provisioned (or, negative, on-demand)."""
        self.advance(now_s)
        self.in_flight_provisioned += more_provisioned

    def set_background(self, now_s: float, events: int) -> None:
        """So many asynchronous events wait now."""
        self.advance(now_s)
        self.demand += events - self.background
        self.background = events
        self.demand_peak = max(self.demand_peak, self.demand)

    @property
    def arrived_ever(self) -> int:
        return self.arrived_before + self.arrived

    @property
    def is_idle(self) -> bool:
        """Nothing has happened in this interval and nothing goes on."""
        return not (
            self.demand or self.arrived or self.finished or self.failed
            or self.served_provisioned or self.served_on_demand or self._unheard
        )  # fmt: skip
