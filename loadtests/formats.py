"""How numbers are written for people, the same on the page and on the terminal. "–" means: there is none."""

from __future__ import annotations

from loadtests.outcome import Reaction


def milliseconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


def instances(reaction: Reaction) -> str:
    return "–" if reaction.instances_before is None else f"{reaction.instances_before} → {reaction.instances_peak}"
