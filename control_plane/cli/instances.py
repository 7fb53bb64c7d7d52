"""`stoke instances`: what runs now, one line an instance."""

from __future__ import annotations

import time
from typing import Any, Final

from control_plane.cli.choosing import Chosen, FunctionName, ServiceName, choose
from control_plane.cli.context import Session, command
from control_plane.cli.output import Format

COLUMNS: Final = (
    "id",
    "function",
    "version",
    "kind",
    "state",
    "in flight",
    "pid",
    "cpu",
    "memory",
    "gpu",
    "age",
    "reason",
)


@command
def instances(session: Session, service_name: ServiceName = None, function_name: FunctionName = None) -> None:
    """List instances: all of them, or those of the functions that -t, --service-name and --function-name choose."""
    narrowed = service_name or function_name or session.options.template
    chosen = choose(session, service_name, function_name) if narrowed else None
    with session.client() as client:
        from control_plane.cli.client import OWN

        found: list[dict[str, Any]] = client.get(f"{OWN}/instances")["instances"]
    if chosen is not None:
        found = [item for item in found if belongs(item, chosen)]
    if session.output.chosen in (Format.JSON, Format.YAML):
        session.output.result(found)
    elif found:
        rows = [row(item, time.time()) for item in found]
        # A column in which nobody has anything to say is left out.
        columns = [name for name in COLUMNS if name not in ("gpu", "reason") or any(row[name] for row in rows)]
        session.output.result(rows, default=Format.TABLE, columns=columns)
    else:
        session.output.line("no instances")


def belongs(item: dict[str, Any], chosen: tuple[Chosen, ...]) -> bool:
    return any((item["service"], item["function"]) == (one.service, one.function) for one in chosen)


def row(item: dict[str, Any], now_s: float) -> dict[str, str]:
    """One instance as the table shows it; `now_s` is UTC, against which the age is told."""
    sample = item.get("sample") or {}
    return {
        "id": str(item["instance_id"]),
        "function": f"{item['service']}/{item['function']}",
        "version": str(item["version"]),
        "kind": str(item["kind"]),
        "state": str(item["state"]),
        "in flight": str(item["in_flight"]),
        "pid": str(item["pid"] or "-"),
        "cpu": _percent(sample.get("cpu_utilization")),
        "memory": _mebibytes(sample.get("memory_mib")),
        "gpu": _gpu(sample),
        "age": age(now_s - item["launched_at_s"]) if item.get("launched_at_s") else "-",
        "reason": str(item.get("reason") or ""),
    }


def age(seconds: float) -> str:
    """0:07, 12:05, 3:04:05, 2 d 3 h."""
    whole = max(0, int(seconds))
    days, hours, minutes = whole // 86_400, whole // 3600, whole // 60
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours}:{minutes % 60:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def _gpu(sample: dict[str, Any]) -> str:
    """SMs and memory of the card; figures of a simulated card say so."""
    if sample.get("gpu_sm_utilization") is None:
        return ""
    mark = ", simulated" if sample.get("simulated") else ""
    return f"{_percent(sample['gpu_sm_utilization'])} SM, {_percent(sample.get('gpu_memory_utilization'))} memory{mark}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.0f} %"


def _mebibytes(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} MiB"
