"""One chart of a simulation: what each config kept ready, and how long requests waited, on one time axis."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loadtests.chart import BLUE, GREEN, GREY, GRID, INK, ORANGE, RED, SKY
from loadtests.simulator.run import Record

COLOURS: Final = (GREEN, ORANGE, BLUE, RED, SKY)
HEIGHT_PX: Final = 760
POINTS_MAX: Final = 1800  # of a line: an hour at 2 s


def figure(records: dict[str, Record]) -> go.Figure:
    """Three panels over seconds since the beginning; a colour a config. Right of the dashed line it is judged."""
    chart = make_subplots(
        rows=3,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.07,
        subplot_titles=("Simulated: instances ready or starting", "Longest wait (s)", "Requests in flight and waiting"),
    )
    first = next(iter(records.values()))
    step_s = max(1.0, first.trace.duration_s / POINTS_MAX)
    for index, (name, record) in enumerate(records.items()):
        colour = COLOURS[index % len(COLOURS)]
        begins_s, there, demand = _fleet(record, step_s)
        chart.add_trace(_line(name, begins_s, there, colour, shape="hv"), 1, 1)
        chart.add_trace(_line(name, *_waits(record, step_s), colour, legend=False), 2, 1)
        chart.add_trace(_line(name, begins_s, demand, colour, legend=False), 3, 1)
    chart.add_hline(y=first.scenario.wait_limit_s, line={"color": GREY, "dash": "dot"}, row=2, col=1)
    if first.scenario.history_s:
        chart.add_vline(x=first.scenario.history_s, line={"color": GREY, "dash": "dash"})
    chart.update_layout(
        height=HEIGHT_PX,
        template="plotly_white",
        hovermode="x unified",
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        margin={"l": 50, "r": 20, "t": 40, "b": 50},
    )
    chart.update_xaxes(gridcolor=GRID, zeroline=False, range=[0, first.trace.duration_s])
    chart.update_yaxes(gridcolor=GRID, rangemode="tozero", zeroline=False)
    chart.update_xaxes(title={"text": "simulated seconds since the beginning"}, row=3, col=1)
    return chart


def _fleet(record: Record, step_s: float) -> tuple[list[float], list[int], list[int]]:
    """The most of each step."""
    there: defaultdict[int, int] = defaultdict(int)
    demand: defaultdict[int, int] = defaultdict(int)
    for sample in record.samples:
        at = int(sample.at_s // step_s)
        there[at] = max(there[at], sample.ready + sample.starting)
        demand[at] = max(demand[at], sample.in_flight + sample.queued)
    return [at * step_s for at in there], list(there.values()), list(demand.values())


def _waits(record: Record, step_s: float) -> tuple[list[float], list[float]]:
    """The longest of the requests that arrived in each step."""
    longest_s: dict[int, float] = {}
    for request in record.requests:
        if request.started_s is not None:
            at = int(request.arrived_s // step_s)
            longest_s[at] = max(longest_s.get(at, 0.0), request.started_s - request.arrived_s)
    return [at * step_s for at in longest_s], list(longest_s.values())


def _line(name: str, x: list[float], y: list[Any], colour: str, *, shape: str = "linear", legend: bool = True) -> Any:
    line = {"color": colour, "width": 1.5, "shape": shape}
    return go.Scatter(name=name, x=x, y=y, line=line, mode="lines", legendgroup=name, showlegend=legend)
