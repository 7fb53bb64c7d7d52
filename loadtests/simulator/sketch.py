"""A part of a long trace that stands for all of it: some pieces of each of its parts, the busiest among them. Pure.

What is cheap on the sketch is cheap on the whole, more or less; whether it is enough is for the whole to say.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import Final

from loadtests.simulator.trace import Trace

PIECE_S: Final = 1200.0  # long against a launch and a stable window, short against a day
STRIDE: Final = 8  # one piece in so many


def sketch(trace: Trace, history_s: float, split_s: float) -> tuple[Trace, float]:
    """The history, then some pieces of what is judged until the split and after it; and where it is split."""
    earlier, later = _pieces(trace, history_s, split_s), _pieces(trace, split_s, trace.duration_s)
    spans = [(0.0, history_s), *earlier, *later]
    arrivals, services, ended_s = list[float](), list[float | None](), 0.0
    for begin_s, end_s in spans:
        first, last = bisect_left(trace.arrivals_s, begin_s), bisect_left(trace.arrivals_s, end_s)
        arrivals += [at_s - begin_s + ended_s for at_s in trace.arrivals_s[first:last]]
        services += trace.service_s[first:last]
        ended_s += end_s - begin_s
    made = replace(trace, arrivals_s=tuple(arrivals), service_s=tuple(services), duration_s=ended_s)
    return made, history_s + sum(end_s - begin_s for begin_s, end_s in earlier)


def _pieces(trace: Trace, begin_s: float, end_s: float) -> list[tuple[float, float]]:
    """One in STRIDE, and the one with the most requests."""
    count = max(1, round((end_s - begin_s) / PIECE_S))
    edges = [begin_s + (end_s - begin_s) * number / count for number in range(count + 1)]
    places = [bisect_left(trace.arrivals_s, edge) for edge in edges]
    busiest = max(range(count), key=lambda number: places[number + 1] - places[number])
    return [(edges[n], edges[n + 1]) for n in range(count) if n == busiest or n % STRIDE == STRIDE // 2]
