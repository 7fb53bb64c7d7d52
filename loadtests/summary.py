"""The end of a run on the terminal: the few numbers one wants at once, and where the rest is."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from loadtests.formats import instances, milliseconds, seconds
from loadtests.outcome import Outcome
from loadtests.report import Report

ERRORS_SHOWN_MAX = 5


def print_summary(console: Console, report: Report) -> None:
    console.print(requests_table(report.outcome))
    console.print(fleet_table(report.outcome))
    for error, times in list(report.outcome.errors.items())[:ERRORS_SHOWN_MAX]:
        console.print(f"{times} × {error}", style="red", markup=False)
    console.print(f"report: {report.html}", markup=False, soft_wrap=True)


def requests_table(outcome: Outcome) -> Table:
    """Narrower than the page's: it has to fit into 80 columns."""
    table = Table("request", show_edge=False, header_style="bold", box=box.SIMPLE_HEAD)
    for head in ("requests", "failed", "cold", "per s", "p50", "p90", "p99"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in outcome.by_name:
        counts = (f"{row.requests:,}", f"{row.failures:,}", f"{row.cold_starts:,}", f"{row.requests_per_s:,.0f}")
        table.add_row(row.name, *counts, *(milliseconds(value) for value in (row.p50_ms, row.p90_ms, row.p99_ms)))
    return table


def fleet_table(outcome: Outcome) -> Table:
    table = Table.grid(padding=(0, 2))
    fleet = outcome.reaction
    table.add_row(" instances, at rest → peak", instances(fleet))
    table.add_row(" load up → new instance ready", seconds(fleet.first_ready_s))
    table.add_row(" load up → its first answer", seconds(fleet.first_served_s))
    table.add_row(" load down → back at rest", seconds(fleet.back_s))
    return table
