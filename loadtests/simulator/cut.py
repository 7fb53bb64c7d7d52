"""A part of a trace, from one moment until another. Pure."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from datetime import UTC, datetime

from loadtests.simulator.trace import Trace


def cut(trace: Trace, since_s: float | None, until_s: float | None) -> Trace:
    """The requests in [since, until), in UTC seconds; None leaves that end as it is. What was known stays known.

    Raises:
        ValueError: nothing lies between them.
    """
    ended_s = trace.began_utc_s + trace.duration_s
    begin_s = 0.0 if since_s is None else max(0.0, since_s - trace.began_utc_s)
    end_s = trace.duration_s if until_s is None else min(trace.duration_s, until_s - trace.began_utc_s)
    first, last = bisect_left(trace.arrivals_s, begin_s), bisect_left(trace.arrivals_s, end_s)
    if first >= last:
        asked = f"from {_said(since_s, trace.began_utc_s)} until {_said(until_s, ended_s)}"
        spans = f"{_said(None, trace.began_utc_s)} until {_said(None, ended_s)}"
        raise ValueError(f"since, until: no request of {trace.name} came {asked}; it goes from {spans}")
    if (begin_s, end_s) == (0.0, trace.duration_s):
        return trace
    return replace(
        trace,
        arrivals_s=tuple(at_s - begin_s for at_s in trace.arrivals_s[first:last]),
        service_s=trace.service_s[first:last],
        duration_s=end_s - begin_s,
        began_utc_s=trace.began_utc_s + begin_s,
    )


def from_first_request(trace: Trace) -> Trace:
    """Without the time before anybody asked for anything, in whole seconds."""
    return cut(trace, trace.began_utc_s + float(int(trace.arrivals_s[0])), None)


def _said(at_s: float | None, otherwise_s: float) -> str:
    return f"{datetime.fromtimestamp(otherwise_s if at_s is None else at_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
