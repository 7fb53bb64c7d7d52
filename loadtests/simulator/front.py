"""The gateway in virtual time: the real gate hands out slots, and the real reports tell the control side what it saw.

Left out are bytes and the network: a request that has a slot is served for its service time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from loadtests.simulator.kernel import Kernel
from loadtests.simulator.scenario import Scenario
from runtime.contract import UsageReport
from runtime.gateway.gate import Full, Gate, Lease, Ticket
from runtime.gateway.report import Moment, make_report
from runtime.gateway.reporter import DEBOUNCE_S, PAUSE_S

KEY: Final = ("simulated", "LATEST", "function")
GATEWAY: Final = "simulated-gateway"


class Request:
    """One request of the trace, and what became of it."""

    __slots__ = (
        "arrived_s",
        "cold_start",
        "finished_s",
        "lease",
        "refused",
        "retries",
        "service_s",
        "started_s",
        "ticket",
    )

    def __init__(self, arrived_s: float, service_s: float) -> None:
        self.arrived_s: Final = arrived_s
        self.service_s: Final = service_s
        self.lease: Lease | None = None
        self.ticket: Ticket | None = None
        self.started_s: float | None = None  # the last time that an instance took it
        self.finished_s: float | None = None
        self.cold_start = False
        self.refused = False  # the queue was full, or it waited there for too long
        self.retries = 0


class Front:
    """One function version's gate with its reporter."""

    def __init__(
        self,
        kernel: Kernel,
        scenario: Scenario,
        began_utc_s: float,
        publish: Callable[[UsageReport], None],
        took: Callable[[str, int], None],
        *,
        urgent: bool,
    ) -> None:
        """`took` hears who took a request, and how many there are now; `urgent`: a queue is said at once."""
        self._kernel = kernel
        self._scenario = scenario
        self._began_utc_s = began_utc_s
        self._publish = publish
        self._took = took
        self._urgent = urgent
        self.gate = Gate(scenario.queue_length_max)
        self._inside: dict[str, dict[Request, None]] = {}
        self._sequence = 0
        self._since = Moment(began_utc_s, 0.0)
        self._wanted = False
        self._due = 0  # the number of the report that is planned; one with another number was overtaken
        self._plan_report(scenario.report_every_s)

    # -- requests ---------------------------------------------------------------------------------------------------

    def arrive(self, request: Request) -> None:
        now_s = self._kernel.now_s
        outcome = self.gate.reserve(request, now_s)
        if isinstance(outcome, Full):
            request.refused = True
        elif isinstance(outcome, Lease):
            self._serve(request, outcome)
        else:
            self._wait(request, outcome)

    def _wait(self, request: Request, ticket: Ticket) -> None:
        request.ticket = ticket
        self._kernel.at(self._kernel.now_s + self._scenario.queue_wait_max_s, self._give_up, request, ticket)
        if self._urgent:
            self.soon()

    def _give_up(self, request: Request, ticket: Ticket) -> None:
        if request.ticket is ticket and ticket.lease is None:
            self.gate.cancel(ticket, self._kernel.now_s)
            request.ticket, request.refused = None, True

    def _serve(self, request: Request, lease: Lease) -> None:
        request.lease, request.ticket = lease, None
        request.started_s = self._kernel.now_s
        request.cold_start = request.cold_start or lease.cold_start
        instance_id = lease.instance.instance_id
        self._inside.setdefault(instance_id, {})[request] = None
        usage = self.gate.usage
        self._took(instance_id, usage.in_flight + usage.queued)
        self._kernel.at(self._kernel.now_s + request.service_s, self._finish, request, lease)

    def _finish(self, request: Request, lease: Lease) -> None:
        if request.lease is not lease:
            return  # its instance died on the way
        request.finished_s, request.lease = self._kernel.now_s, None
        self._inside[lease.instance.instance_id].pop(request)
        self.gate.usage.finished += 1
        ticket = lease.release(self._kernel.now_s)
        if ticket is not None:
            self._wake([ticket])
        if lease.instance.draining and not lease.instance.in_flight:
            self.soon()

    def _wake(self, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            assert ticket.lease is not None
            self._serve(ticket.waiter, ticket.lease)

    # -- instances --------------------------------------------------------------------------------------------------

    def put(self, instance_id: str, *, provisioned: bool) -> None:
        """It is ready, or its label changed."""
        tickets = self.gate.put_instance(
            instance_id, provisioned=provisioned, slots=self._scenario.slots, now_s=self._kernel.now_s
        )
        self._wake(tickets)

    def drain(self, instance_id: str) -> None:
        self.gate.drain_instance(instance_id)
        self.soon()

    def remove(self, instance_id: str) -> None:
        """It has ended. Requests that were inside begin again, before all others."""
        self.gate.remove_instance(instance_id)
        for request in reversed(list(self._inside.pop(instance_id, ()))):
            assert request.lease is not None
            request.lease.release(self._kernel.now_s)
            request.lease, request.started_s = None, None
            request.retries += 1
            outcome = self.gate.reserve_again(request, self._kernel.now_s)
            if isinstance(outcome, Lease):
                self._serve(request, outcome)
            else:
                self._wait(request, outcome)

    # -- reports: each second, and soon after what should be known at once -------------------------------------------

    def soon(self) -> None:
        if not self._wanted:
            self._wanted = True
            since_last_s = self._kernel.now_s - self._since.monotonic_s
            self._plan_report(max(DEBOUNCE_S, PAUSE_S - since_last_s))

    def _plan_report(self, delay_s: float) -> None:
        self._due += 1
        self._kernel.at(self._kernel.now_s + delay_s, self._report, self._due)

    def _report(self, number: int) -> None:
        if number != self._due:
            return
        self._wanted = False
        now = Moment(self._began_utc_s + self._kernel.now_s, self._kernel.now_s)
        report = make_report(GATEWAY, self._sequence, {KEY: self.gate}, [], since=self._since, now=now)
        self._since = now
        self._sequence += 1
        self._plan_report(self._scenario.report_every_s)
        self._publish(report)
