"""Writes what a load test found: `report.html` for people, `report.json` with the same numbers for programs.

plotly draws the chart: it is well kept, its charts can be zoomed and read point by point, and the whole of it fits
into the page, which then needs no network. The price is 4.7 MB a report.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loadtests.outcome import Outcome, outcome
from loadtests.recorder import Span
from loadtests.spans import total
from loadtests.timeline import Sample, Timeline

DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class Report:
    """Where the two files are, and what they say."""

    html: Path
    json: Path
    outcome: Outcome


def write_report(folder: Path, title: str, run: dict[str, Any], spans: list[Span], timeline: Timeline) -> Report:
    """`run` says how the load was made; it is shown and stored as it is.

    Raises:
        ValueError: nothing was recorded.
    """
    from loadtests.chart import CONFIG, figure  # plotly takes a third of a second to import
    from loadtests.page import page

    found, samples = outcome(spans, timeline), timeline.samples
    report = Report(folder / "report.html", folder / "report.json", found)
    values = as_json(title, run, found, spans, samples)
    report.json.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    chart = figure(spans, samples, list(found.changes), found.began_at_s)
    chart_html = chart.to_html(full_html=False, include_plotlyjs=True, config=CONFIG)
    about = " · ".join(f"{key.replace('_', ' ')} {value}" for key, value in run.items() if value not in ("", None))
    report.html.write_text(page(title, about, found, chart_html), encoding="utf-8")
    return report


def as_json(
    title: str, run: dict[str, Any], found: Outcome, spans: list[Span], samples: list[Sample]
) -> dict[str, Any]:
    """Everything the page shows. Times in the two series are seconds since `began_at_s` (UTC)."""
    values = {"title": title, "run": run, **dataclasses.asdict(found)}
    values["load"] = [_load_row(span, found.began_at_s) for span in spans]
    values["fleet"] = [_fleet_row(sample, found.began_at_s) for sample in samples]
    rounded = _rounded(values)
    assert isinstance(rounded, dict)
    return rounded


def _load_row(span: Span, began_at_s: float) -> dict[str, Any]:
    counts = total([span])
    at = counts.latency.percentile
    return {
        "t_s": span.begin_s - began_at_s,
        "length_s": span.end_s - span.begin_s,
        "users": span.users,
        "in_flight_mean": span.in_flight_mean,
        "in_flight_max": span.in_flight_max,
        "requests": counts.requests,
        "failures": counts.failures,
        "cold_starts": counts.cold_starts,
        "p50_ms": at(0.50),
        "p90_ms": at(0.90),
        "p99_ms": at(0.99),
    }


def _fleet_row(sample: Sample, began_at_s: float) -> dict[str, Any]:
    values = dataclasses.asdict(sample)
    del values["ready_at_s"]  # only the reaction times need it
    return {"t_s": values.pop("at_s") - began_at_s, **values}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value
