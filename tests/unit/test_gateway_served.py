"""What a gateway tells to be written down: each request once, by kind, and again until somebody heard it."""

from __future__ import annotations

import asyncio

from runtime.contract import FunctionUsage, UsageReport
from runtime.gateway.gate import Gate, Lease
from runtime.gateway.report import Moment, make_report
from runtime.gateway.reporter import Reporter
from runtime.gateway.usage import ARRIVAL_SLOTS_MAX, Served

KEY = ("svc", "LATEST", "f")
UTC_S = 1_763_720_000.0


def gate() -> Gate:
    made = Gate(10)
    made.put_instance("p", provisioned=True, slots=1, now_s=0.0)
    made.put_instance("o", provisioned=False, slots=1, now_s=0.0)
    return made


def serve(made: Gate, from_s: float, until_s: float) -> None:
    lease = made.reserve(None, from_s)
    assert isinstance(lease, Lease)
    lease.release(until_s)


def told(made: Gate, now_s: float, kept: dict[tuple[str, str, str], Served] | None = None) -> list[FunctionUsage]:
    report = make_report("g", 1, {KEY: made}, [], since=Moment(UTC_S, 0.0), now=Moment(UTC_S + now_s, now_s), told=kept)
    return [FunctionUsage.from_dict(values) for values in report.functions]


def test_requests_are_told_by_the_kind_of_their_instance_with_their_seconds_and_when_they_came() -> None:
    made = gate()
    first, second = made.reserve(None, 0.25), made.reserve(None, 0.28)
    assert isinstance(first, Lease)
    assert isinstance(second, Lease)
    first.release(0.75)
    second.release(1.28)
    (usage,) = told(made, 2.0)
    assert (usage.served_provisioned, usage.served_on_demand) == (1, 1)
    assert usage.service_s_sum == 1.5
    assert usage.arrivals == [[round(UTC_S * 10) + 2, 2]]


def test_a_request_that_is_still_inside_is_told_when_it_is_done() -> None:
    made = gate()
    lease = made.reserve(None, 0.1)
    assert isinstance(lease, Lease)
    assert told(made, 1.0)[0].served_provisioned == 0
    lease.release(1.5)
    lease.release(1.6)
    assert told(made, 2.0)[0].served_provisioned == 1
    assert told(made, 3.0) == [], "nothing happened since"


def test_what_nobody_heard_is_told_again_with_what_came_since() -> None:
    made, kept = gate(), dict[tuple[str, str, str], Served]()
    serve(made, 0.1, 0.2)
    told(made, 1.0, kept)
    serve(made, 1.1, 1.2)
    made.usage.give_back(kept[KEY])
    (usage,) = told(made, 2.0)
    assert usage.served_provisioned == 2
    assert [count for _, count in usage.arrivals] == [1, 1]
    assert usage.arrived == 1, "what decisions are made of is of this interval alone"


def test_a_long_silence_keeps_the_counts_and_the_newest_arrivals() -> None:
    served = Served()
    for number in range(ARRIVAL_SLOTS_MAX + 50):
        served.add(Served(provisioned=1, arrivals={number: 1}))
    assert served.provisioned == ARRIVAL_SLOTS_MAX + 50
    assert len(served.arrivals) == ARRIVAL_SLOTS_MAX
    assert min(served.arrivals) == 50


async def test_a_reporter_tells_each_request_once_to_somebody_who_hears_it() -> None:
    """The first two reports reach nobody: one by an error, one for want of listeners."""
    made, said = gate(), list[UsageReport]()
    enough = asyncio.Event()

    async def publish(report: UsageReport) -> bool:
        said.append(report)
        if len(said) == 1:
            raise ConnectionError("the store is away")
        if len(said) >= 4:
            enough.set()
        return len(said) > 2

    serve(made, 0.1, 0.2)
    reporter = asyncio.create_task(Reporter("g", {KEY: made}, list, publish, every_s=0.01).run())
    await asyncio.wait_for(enough.wait(), 10.0)
    reporter.cancel()
    counts = [sum(values["served_provisioned"] for values in report.functions) for report in said[:4]]
    assert counts == [1, 1, 1, 0]
