"""One chart of how true a simulation is: the target that was lived, and the one that was simulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from loadtests.chart import CONFIG, GREEN, GRID, INK, ORANGE, RED
from loadtests.truth import Agreement


def write(path: Path, found: Agreement, began_s: float) -> None:
    """One HTML page that needs no network."""
    times = [tick.at_s - began_s for tick in found.ticks]
    chart = go.Figure()
    chart.add_trace(_line("live", times, [tick.live for tick in found.ticks], GREEN))
    chart.add_trace(_line("simulated", times, [tick.simulated for tick in found.ticks], ORANGE))
    apart = [(at_s, tick.simulated) for at_s, tick in zip(times, found.ticks, strict=True) if not tick.agrees]
    if apart:
        x, y = zip(*apart, strict=True)
        marker = {"color": RED, "size": 9, "symbol": "x"}
        chart.add_trace(go.Scatter(name="differs", x=x, y=y, mode="markers", marker=marker))
    chart.update_layout(
        title={"text": f"Targets, live and simulated: {found.share:.1%} of {len(found.ticks)} ticks agree"},
        template="plotly_white",
        hovermode="x unified",
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
    )
    chart.update_xaxes(gridcolor=GRID, title={"text": "seconds of load"})
    chart.update_yaxes(gridcolor=GRID, rangemode="tozero", title={"text": "instances"})
    path.write_text(chart.to_html(include_plotlyjs=True, config=CONFIG), encoding="utf-8")


def _line(name: str, x: list[float], y: list[int], colour: str) -> Any:
    return go.Scatter(name=name, x=x, y=y, mode="lines", line={"color": colour, "width": 2, "shape": "hv"})
