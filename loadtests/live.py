"""Shows a running load test: a picture that is redrawn on a terminal, a line every two seconds anywhere else."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from loadtests.formats import milliseconds
from loadtests.recorder import Span
from loadtests.spans import total
from loadtests.timeline import Sample

LINE_EVERY_S: Final = 2.0
BAR_WIDTH_MAX: Final = 40


@dataclass(frozen=True, slots=True)
class Progress:
    """One moment of a run. `latest` is the newest full second of load; both may be missing at the start."""

    phase: str
    elapsed_s: float
    latest: Span | None
    fleet: Sample | None
    failures: int


class View(Protocol):
    """Whatever shows progress."""

    def show(self, progress: Progress) -> None: ...


class LiveView:
    """Use it as a context manager; `show` may be called as often as one likes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=5, transient=False) if console.is_terminal else None
        self._line_due_s = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, progress: Progress) -> None:
        if self._live is not None:
            self._live.update(picture(progress))
        elif time.monotonic() >= self._line_due_s:
            self._line_due_s = time.monotonic() + LINE_EVERY_S
            self._console.print(line(progress), highlight=False, soft_wrap=True)


def line(progress: Progress) -> str:
    """`  12 s  burst · 8 users · target 8 · current 5 · 3 starting · 4.0 in flight · 812 requests/s · 0 failed`."""
    parts = [progress.phase]
    if progress.latest is not None:
        parts.append(_users(progress.latest))
    if progress.fleet is not None:
        parts += [f"target {progress.fleet.target}", f"current {progress.fleet.current}"]
        parts += [f"{progress.fleet.starting} starting"] if progress.fleet.starting else []
    if progress.latest is not None:
        parts += [f"{progress.latest.in_flight_mean:.1f} in flight", f"{_rate(progress.latest):,.0f} requests/s"]
    parts.append(f"{progress.failures} failed")
    return f"{progress.elapsed_s:4.0f} s  {' · '.join(parts)}"


def picture(progress: Progress) -> Table:
    """Bars for target, current and in flight above a line of numbers."""
    rows = Table.grid(padding=(0, 2))
    fleet, load = progress.fleet, progress.latest
    if fleet is not None:
        rows.add_row("target", Text("■" * min(fleet.target, BAR_WIDTH_MAX), style="yellow"), str(fleet.target))
        starting = f"{fleet.current}" + (f"  ({fleet.starting} starting)" if fleet.starting else "")
        bar = Text("■" * min(fleet.current, BAR_WIDTH_MAX), style="green")
        bar.append("□" * min(fleet.starting, BAR_WIDTH_MAX), style="green dim")
        rows.add_row("current", bar, starting)
    if load is not None:
        bar = Text("■" * min(round(load.in_flight_mean), BAR_WIDTH_MAX), style="cyan")
        rows.add_row("in flight", bar, f"{load.in_flight_mean:.1f}")
    shown = Table.grid()
    shown.add_row(rows)
    shown.add_row(Text(_numbers(progress), style="bold" if progress.failures == 0 else "bold red"))
    return shown


def _numbers(progress: Progress) -> str:
    parts = [f"{progress.elapsed_s:.0f} s", progress.phase]
    if progress.latest is not None:
        p99 = total([progress.latest]).latency.percentile(0.99)
        parts += [
            _users(progress.latest),
            f"{_rate(progress.latest):,.0f} requests/s",
            f"p99 {milliseconds(p99)}",
        ]
    return " · ".join([*parts, f"{progress.failures} failed"])


def _users(span: Span) -> str:
    return "1 user" if span.users == 1 else f"{span.users} users"


def _rate(span: Span) -> float:
    return total([span]).requests / max(span.end_s - span.begin_s, 1e-9)
