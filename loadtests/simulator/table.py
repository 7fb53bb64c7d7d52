"""Outcomes side by side, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from loadtests.simulator.outcome import Outcome

HEADS: Final = (
    "config", "within limit", "wait p50", "p90", "p99", "longest", "cold starts", "instance-s", "× work", "peak",
    "launches", "useful", "turns/h", "over", "under", "refused", "lost", "GPU-s", "least",
)  # fmt: skip


def rows(outcomes: Mapping[str, Outcome]) -> list[tuple[str, ...]]:
    """A line a config, under `HEADS`."""
    return [
        (
            name,
            f"{found.attainment:.2%}" if found.requests else "–",
            _seconds(found.wait_p50_s),
            _seconds(found.wait_p90_s),
            _seconds(found.wait_p99_s),
            _seconds(found.wait_max_s),
            f"{found.cold_start_share:.2%}",
            f"{found.instance_seconds:,.0f}",
            f"{found.cost:.2f}" if found.work_seconds else "–",
            str(found.instances_peak),
            str(found.launches),
            str(found.useful_launches),
            f"{found.direction_changes_per_hour:.1f}",
            f"{found.over_provisioned_s:.0f} s",
            f"{found.under_provisioned_s:.0f} s",
            str(found.refused),
            str(found.lost),
            _count(found.gpu_seconds),
            _count(found.optimum_seconds),
        )
        for name, found in outcomes.items()
    ]


def plain(heads: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    """Columns under each other, the first to the left and the rest to the right."""
    widths = [max(len(line[i]) for line in (heads, *lines)) for i in range(len(heads))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        ).rstrip()
        for line in (heads, *lines)
    )


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"
