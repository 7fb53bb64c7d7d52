"""What usage comes to: rows, sums by function, what they cost, and what a static peak would have cost. Pure.

The static peak is what one would have without scaling: as many instances as there were at most, all of the time from
the first of them to the end of the span, or until the function version is deleted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from control_plane.metering.meter import Amounts, Line
from control_plane.metering.prices import Prices
from control_plane.metering.store import Counted
from runtime.contract import VersionKey

COST_DIGITS = 6
NOTHING_GONE: Final[Mapping[VersionKey, float]] = {}


def bill(
    counted: Counted, prices: Prices | None, until_s: float, gone_s: Mapping[VersionKey, float] = NOTHING_GONE
) -> dict[str, Any]:
    """Everything about a span that ends at `until_s`, as the API tells it. `gone_s`: until when a static peak of what
    is deleted would have been there."""
    by_key: defaultdict[VersionKey, Amounts] = defaultdict(Amounts)
    for line, used in counted.lines.items():
        by_key[line.key] = by_key[line.key].plus(used)
    peaks, firsts_ms = _peaks(counted)
    functions = [
        _names(key)
        | _priced(used, prices)
        | _static(used, prices, peaks.get(key, 0), firsts_ms.get(key, 0), gone_s.get(key, until_s))
        for key, used in sorted(by_key.items())
    ]
    return {
        "currency": None if prices is None else prices.currency,
        "rows": [_row(line, used, prices) for line, used in sorted(counted.lines.items())],
        "functions": functions,
        "total": _total(list(by_key.values()), functions, prices),
    }


def _row(line: Line, used: Amounts, prices: Prices | None) -> dict[str, Any]:
    return {"begin_s": line.begin_s} | _names(line.key) | {"kind": line.kind.value} | _priced(used, prices)


def _names(key: VersionKey) -> dict[str, Any]:
    service, version, function = key
    return {"service": service, "function": function, "qualifier": version}


def _priced(used: Amounts, prices: Prices | None) -> dict[str, Any]:
    cost = None if prices is None else round(prices.of_time(used) + prices.of_requests(used), COST_DIGITS)
    return {
        "instance_seconds": used.instance_ms / 1000,
        "gpu_memory_mb_seconds": used.gpu_memory_mib_ms / 1000,
        "memory_mb_seconds": used.memory_mib_ms / 1000,
        "vcpu_seconds": used.cpu_milli_ms / 1_000_000,
        "requests": used.requests,
        "cost": cost,
    }


def _peaks(counted: Counted) -> tuple[dict[VersionKey, int], dict[VersionKey, int]]:
    """Of each function version the most instances at once, and since when (ms) there were any."""
    peaks, firsts_ms = dict[VersionKey, int](), dict[VersionKey, int]()
    for (_, key), most in counted.peaks.items():
        peaks[key] = max(most, peaks.get(key, 0))
    for (_, key), at_ms in counted.firsts_ms.items():
        firsts_ms[key] = min(at_ms, firsts_ms.get(key, at_ms))
    return peaks, firsts_ms


def _static(used: Amounts, prices: Prices | None, peak: int, first_ms: int, until_s: float) -> dict[str, Any]:
    """Beside what was used: instances as large as the mean of those there were, and the same requests."""
    span_s = max(0.0, until_s - first_ms / 1000) if peak else 0.0
    instance_seconds = max(peak * span_s, used.instance_ms / 1000)
    static: dict[str, Any] = {"instances": peak, "span_s": round(span_s, 3), "instance_seconds": instance_seconds}
    if prices is None or not used.instance_ms:
        return {"static_peak": static | {"cost": None}, "saving": None, "instance_second_cost": None}
    part = instance_seconds * 1000 / used.instance_ms
    cost = prices.of_time(used) * part + prices.of_requests(used)
    saving = prices.of_time(used) * (part - 1.0)
    return {
        "static_peak": static | {"cost": round(cost, COST_DIGITS)},
        "saving": round(saving, COST_DIGITS),
        "instance_second_cost": prices.of_time(used) * 1000 / used.instance_ms,
    }


def _total(used: list[Amounts], functions: list[dict[str, Any]], prices: Prices | None) -> dict[str, Any]:
    whole = Amounts()
    for one in used:
        whole = whole.plus(one)
    static_seconds = sum(one["static_peak"]["instance_seconds"] for one in functions)
    static_costs = [one["static_peak"]["cost"] if one["saving"] is not None else one["cost"] for one in functions]
    total = _priced(whole, prices) | {"static_peak": {"instance_seconds": static_seconds, "cost": None}, "saving": None}
    if prices is not None:
        total["static_peak"]["cost"] = round(sum(static_costs), COST_DIGITS)
        total["saving"] = round(sum(one["saving"] or 0.0 for one in functions), COST_DIGITS)
    return total
