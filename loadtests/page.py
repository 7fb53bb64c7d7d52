"""The report as one HTML page that needs nothing else: no network, no other file. plotly.js lies inside it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from string import Template
from typing import Final

from loadtests.formats import instances, milliseconds, seconds
from loadtests.outcome import Outcome, Requests

REASONS_LENGTH_MAX: Final = 400
REQUEST_HEADS: Final = ("request", "requests", "failed", "cold starts", "per second", "p50", "p90", "p99", "longest")

PAGE: Final = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { --ink: #1f2933; --soft: #64707d; --line: #e3e8ee; --bad: #b3261e; --good: #00704f; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: #f6f8fa; margin: 0; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 24px 60px; }
h1 { font-size: 24px; margin: 0; } h2 { font-size: 17px; margin: 34px 0 10px; }
.about { color: var(--soft); margin: 2px 0 20px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 12px; }
.tile, .card { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; }
.tile b { display: block; font-size: 23px; font-variant-numeric: tabular-nums; line-height: 1.25; }
.tile span { color: var(--soft); font-size: 13px; }
.bad b { color: var(--bad); } .good b { color: var(--good); }
.card { margin-top: 14px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--soft); font-weight: 500; font-size: 13px; }
th, td { padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; } td:last-child, th:last-child { padding-right: 0; }
.decisions td:last-child, .decisions th:last-child { width: 60%; }
.n { text-align: right; white-space: nowrap; }
.none { color: var(--soft); margin: 2px 0; }
</style></head><body><main>
<h1>$title</h1><p class="about">$about</p>
<div class="tiles">$tiles</div>
<div class="card">$chart</div>
<h2>Requests</h2><div class="card">$requests</div>
$failures
<h2>Scaling decisions</h2><div class="card">$decisions</div>
</main></body></html>
""")


def page(title: str, about: str, outcome: Outcome, chart_html: str) -> str:
    """`chart_html` is HTML already; everything else is escaped here."""
    return PAGE.substitute(
        title=html.escape(title),
        about=html.escape(f"{about} · {datetime.fromtimestamp(outcome.began_at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"),
        tiles="".join(_tiles(outcome)),
        chart=chart_html,
        requests=_requests(outcome),
        failures=_failures(outcome),
        decisions=_decisions(outcome),
    )


def _tiles(outcome: Outcome) -> Iterable[str]:
    whole, fleet = outcome.total, outcome.reaction
    yield _tile(f"{whole.requests:,}", "requests")
    yield _tile(f"{whole.failures:,}", "failed", "bad" if whole.failures else "good")
    yield _tile(f"{whole.requests_per_s:,.0f}/s", "mean over the run")
    yield _tile(milliseconds(whole.p50_ms), "p50")
    yield _tile(milliseconds(whole.p99_ms), "p99")
    yield _tile(f"{whole.cold_starts:,}", "waited for a cold start")
    yield _tile(instances(fleet), "instances, at rest → peak")
    yield _tile(seconds(fleet.first_ready_s), "load up → new instance ready")
    yield _tile(seconds(fleet.first_served_s), "load up → its first answer")
    yield _tile(seconds(fleet.back_s), "load down → back at rest")


def _tile(value: str, label: str, mood: str = "") -> str:
    return f'<div class="tile {mood}"><b>{html.escape(value)}</b><span>{html.escape(label)}</span></div>'


def _requests(outcome: Outcome) -> str:
    rows = list(outcome.by_name) if len(outcome.by_name) == 1 else [*outcome.by_name, outcome.total]
    return table(REQUEST_HEADS, [requests_row(row) for row in rows], numbers_from=1)


def requests_row(row: Requests) -> list[str]:
    """The cells of one row, for any table."""
    counts = [f"{row.requests:,}", f"{row.failures:,}", f"{row.cold_starts:,}", f"{row.requests_per_s:,.1f}"]
    return [row.name, *counts, *(milliseconds(value) for value in (row.p50_ms, row.p90_ms, row.p99_ms, row.max_ms))]


def _failures(outcome: Outcome) -> str:
    rows = [[f"{times:,}", error] for error, times in outcome.errors.items()]
    rows += [["launch", error] for error in outcome.launch_errors]
    if outcome.looks_missed:
        rows.append([f"{outcome.looks_missed:,}", "looks at the fleet that got no answer"])
    return f'<h2>What went wrong</h2><div class="card">{table(("times", "what"), rows)}</div>' if rows else ""


def _decisions(outcome: Outcome) -> str:
    if not outcome.changes:
        return '<p class="none">The target did not change.</p>'
    rows = [
        [
            f"{change.at_s - outcome.began_at_s:.1f} s",
            f"{change.before} → {change.after}",
            ", ".join(change.in_force) or "static target",
            " · ".join(change.reasons)[:REASONS_LENGTH_MAX],
        ]
        for change in outcome.changes
    ]
    return f'<div class="decisions">{table(("at", "target", "in force", "reasons"), rows)}</div>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers_from: int | None = None) -> str:
    """A table whose columns from `numbers_from` on are set to the right."""

    def cells(tag: str, texts: Sequence[str]) -> str:
        left, right = texts[:numbers_from], texts[numbers_from:] if numbers_from is not None else ()
        parts = [f"<{tag}>{html.escape(text)}</{tag}>" for text in left]
        return "".join(parts + [f"<{tag} class=n>{html.escape(text)}</{tag}>" for text in right])

    lines = [cells("th", heads), *(cells("td", row) for row in rows)]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
