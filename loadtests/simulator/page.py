"""The report of a simulation as one HTML page that needs no network: the chart, and the numbers under it."""

from __future__ import annotations

import html
from string import Template
from typing import Final

from loadtests.chart import CONFIG
from loadtests.simulator.chart import figure
from loadtests.simulator.outcome import Outcome
from loadtests.simulator.run import Record
from loadtests.simulator.table import HEADS, rows

PAGE: Final = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Simulated</title><style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; background: #f6f8fa; margin: 0; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 24px 60px; }
.card { background: #fff; border: 1px solid #e3e8ee; border-radius: 10px; padding: 12px 16px; overflow-x: auto; }
.card + .card { margin-top: 14px; }
table { border-collapse: collapse; white-space: nowrap; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px 5px 0; text-align: right; border-bottom: 1px solid #e3e8ee; }
th:first-child, td:first-child { text-align: left; } th { color: #64707d; font-weight: 500; }
</style></head><body><main><h1>Simulated</h1><p>$about</p>
<div class="card">$chart</div><div class="card"><table>$table</table></div></main></body></html>
""")


def page(about: str, records: dict[str, Record], outcomes: dict[str, Outcome]) -> str:
    """`about` says what was simulated."""
    lines = [_row("th", HEADS), *(_row("td", row) for row in rows(outcomes))]
    chart = figure(records).to_html(full_html=False, include_plotlyjs=True, config=CONFIG)
    return PAGE.substitute(about=html.escape(about), chart=chart, table="".join(lines))


def _row(tag: str, cells: tuple[str, ...]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
