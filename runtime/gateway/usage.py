"""What one gate counts for the autoscaler. Pure: told what happens, and when."""

from __future__ import annotations


class Usage:
    """Counts of one gate. The `_s` ones are integrals over time: exact however short a request is."""

    __slots__ = (
        "_since_s",
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
    )

    def __init__(self) -> None:
        self._since_s = 0.0
        self.in_flight = 0
        self.in_flight_provisioned = 0
        self.queued = 0
        self.demand = 0  # slots that would be taken now if there were enough: in flight, queued and in the background
        self.background = 0  # asynchronous events that wait in the store for a slot: demand, and no place in the queue
        self.arrived = 0
        self.arrived_before = 0  # in all earlier intervals
        self.begin_interval()

    def begin_interval(self) -> None:
        """Start the counts of the next report. What is in flight and queued goes on."""
        self.demand_request_s = 0.0
        self.provisioned_request_s = 0.0
        self.queue_wait_s = 0.0
        self.demand_peak = self.demand
        self.arrived_before += self.arrived
        self.arrived = self.finished = self.failed = 0

    def advance(self, now_s: float) -> None:
        """Add the time since the last change to the integrals."""
        elapsed_s = now_s - self._since_s
        self._since_s = now_s
        if elapsed_s > 0.0:
            self.demand_request_s += self.demand * elapsed_s
            self.provisioned_request_s += self.in_flight_provisioned * elapsed_s

    def enter(self, now_s: float, provisioned: bool) -> None:
        self.advance(now_s)
        self.in_flight += 1
        self.demand = demand = self.demand + 1
        if provisioned:
            self.in_flight_provisioned += 1
        if demand > self.demand_peak:
            self.demand_peak = demand

    def leave(self, now_s: float, provisioned: bool) -> None:
        self.advance(now_s)
        self.in_flight -= 1
        self.demand -= 1
        if provisioned:
            self.in_flight_provisioned -= 1

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
        return not (self.demand or self.arrived or self.finished or self.failed)
