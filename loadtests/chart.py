"""One chart of a load test: the fleet, the latencies and the requests above each other, on one time axis."""

from __future__ import annotations

from typing import Any, Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loadtests.recorder import Span
from loadtests.spans import total
from loadtests.timeline import Sample, TargetChange

# Okabe and Ito's colours, which stay apart for colour-blind readers.
BLUE: Final = "#0072b2"
SKY: Final = "#56b4e9"
ORANGE: Final = "#e69f00"
GREEN: Final = "#009e73"
RED: Final = "#d55e00"
GREY: Final = "#8a94a0"
GRID: Final = "#e9edf1"
INK: Final = "#1f2933"

HEIGHT_PX: Final = 820
CONFIG: Final = {"displaylogo": False, "modeBarButtons": [["zoom2d", "pan2d", "resetScale2d", "toImage"]]}


def figure(spans: list[Span], samples: list[Sample], changes: list[TargetChange], began_at_s: float) -> go.Figure:
    """Three panels over seconds since the load began."""
    chart = make_subplots(
        rows=3,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.07,
        row_heights=[0.46, 0.27, 0.27],
        subplot_titles=("Instances and requests in flight", "Latency (ms)", "Requests per second"),
    )
    _fleet(chart, spans, samples, changes, began_at_s)
    _latencies(chart, spans, began_at_s)
    _rates(chart, spans, began_at_s)
    ends = [spans[-1].end_s, *(sample.at_s for sample in samples[-1:])]
    _style(chart, max(ends) - began_at_s)
    return chart


def _fleet(
    chart: go.Figure, spans: list[Span], samples: list[Sample], changes: list[TargetChange], began_at_s: float
) -> None:
    middles = [_middle(span) - began_at_s for span in spans]
    times = [sample.at_s - began_at_s for sample in samples]
    chart.add_trace(
        go.Scatter(
            name="in flight",
            x=middles,
            y=[span.in_flight_mean for span in spans],
            line={"color": SKY, "width": 1, "shape": "hvh"},
            fill="tozeroy",
            fillcolor="rgba(86,180,233,0.25)",
            hovertemplate="%{y:.2f}",
        ),
        1,
        1,
    )
    chart.add_trace(_steps("users", middles, [span.users for span in spans], GREY, dash="dot", shape="hvh"), 1, 1)
    chart.add_trace(_steps("current", times, [sample.current for sample in samples], GREEN, width=3), 1, 1)
    chart.add_trace(_steps("target", times, [sample.target for sample in samples], ORANGE, width=2), 1, 1)
    if any(sample.on_demand for sample in samples):
        chart.add_trace(
            _steps("ready on demand", times, [sample.on_demand for sample in samples], RED, dash="dash"), 1, 1
        )
    chart.add_trace(
        go.Scatter(
            name="decisions",
            mode="markers",
            x=[change.at_s - began_at_s for change in changes],
            y=[change.after for change in changes],
            text=[f"{change.before} → {change.after}: {', '.join(change.reasons)}" for change in changes],
            hovertemplate="%{text}<extra></extra>",
            marker={"color": ORANGE, "size": 9, "line": {"color": "white", "width": 1.5}},
        ),
        1,
        1,
    )


def _latencies(chart: go.Figure, spans: list[Span], began_at_s: float) -> None:
    x = [_middle(span) - began_at_s for span in spans]
    latencies = [total([span]).latency for span in spans]
    for name, share, colour in (("p99", 0.99, RED), ("p90", 0.90, ORANGE), ("p50", 0.50, BLUE)):
        trace = go.Scatter(
            name=name,
            x=x,
            y=[latency.percentile(share) for latency in latencies],
            line={"color": colour, "width": 2},
            hovertemplate="%{y:.1f} ms",
            legend="legend2",
        )
        chart.add_trace(trace, 2, 1)


def _rates(chart: go.Figure, spans: list[Span], began_at_s: float) -> None:
    x = [_middle(span) - began_at_s for span in spans]
    totals = [total([span]) for span in spans]
    lengths_s = [max(span.end_s - span.begin_s, 1e-9) for span in spans]
    series = (
        ("answered", [n.requests - n.failures for n in totals], BLUE),
        ("failed", [n.failures for n in totals], RED),
        ("cold starts", [n.cold_starts for n in totals], ORANGE),
    )
    for name, counts, colour in series:
        rates = [count / length for count, length in zip(counts, lengths_s, strict=True)]
        trace = go.Scatter(
            name=name, x=x, y=rates, line={"color": colour, "width": 2}, hovertemplate="%{y:.1f}/s", legend="legend3"
        )
        chart.add_trace(trace, 3, 1)


def _steps(
    name: str, x: list[float], y: list[int], colour: str, *, dash: str = "solid", width: float = 1.5, shape: str = "hv"
) -> Any:
    line = {"color": colour, "width": width, "dash": dash, "shape": shape}
    return go.Scatter(name=name, x=x, y=y, line=line, mode="lines", hovertemplate="%{y}")


def _middle(span: Span) -> float:
    return (span.begin_s + span.end_s) / 2


def _style(chart: go.Figure, end_s: float) -> None:
    beside = {"x": 1.01, "xanchor": "left", "yanchor": "top", "bgcolor": "rgba(0,0,0,0)"}
    chart.update_layout(
        height=HEIGHT_PX,
        template="plotly_white",
        hovermode="x unified",
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        margin={"l": 50, "r": 20, "t": 40, "b": 50},
        legend={**beside, "y": 1.0},
        legend2={**beside, "y": 0.50},
        legend3={**beside, "y": 0.20},
    )
    chart.update_xaxes(gridcolor=GRID, zeroline=False, range=[0, end_s])
    chart.update_yaxes(gridcolor=GRID, rangemode="tozero", zeroline=False)
    chart.update_xaxes(title={"text": "seconds since the load began", "font": {"size": 13}}, row=3, col=1)
    chart.update_annotations(x=0, xanchor="left", font={"size": 14, "color": INK})
