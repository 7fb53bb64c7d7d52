"""The text of one gateway's figures: what it has counted, and what is at its gates now."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from runtime.contract import VersionKey
from runtime.gateway.gate import Gate
from runtime.gateway.metrics import OUTLIER, UNREACHABLE, Level, Metrics


def figures(metrics: Metrics, gates: Mapping[VersionKey, Gate], held_back: Mapping[tuple[VersionKey, str], int]) -> str:
    """`held_back`: how many instances are kept from requests, by what for."""
    levels = [
        Level(
            *key,
            in_flight=gate.usage.in_flight,
            queued=gate.usage.queued,
            left_out=held_back.get((key, OUTLIER), 0),
            unreachable=held_back.get((key, UNREACHABLE), 0),
        )
        for key, gate in gates.items()
    ]
    return metrics.text(levels, time.process_time(), _resident_bytes())


def _resident_bytes() -> int:
    """What of this process is in memory (proc(5), statm)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
