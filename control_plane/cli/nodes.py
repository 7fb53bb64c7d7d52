"""`stoke nodes`: the machine and its devices, one line each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from control_plane.cli.context import Session, command
from control_plane.cli.output import Format

COLUMNS: Final = (
    "node",
    "device",
    "family",
    "memory",
    "promised",
    "used",
    "busy",
    "instances",
    "health",
    "sharing",
    "age",
)
POOL_COLUMNS: Final = ("pool", "kind", "price", "instances", "ready", "reclaims", "compensations", "stock")
MACHINE: Final = "(machine)"


@command
def nodes(
    session: Session,
    pools: Annotated[bool, typer.Option("--pools", help="The pools of nodes, in place of the nodes.")] = False,
) -> None:
    """List nodes and their devices: memory, what is promised and used of it, health, how they are shared."""
    with session.client() as client:
        from control_plane.cli.client import OWN

        reply: dict[str, Any] = client.get(f"{OWN}/nodes")
    if pools:
        _show_pools(session, reply.get("pools") or [])
        return
    found: list[dict[str, Any]] = reply["nodes"]
    if session.output.chosen in (Format.JSON, Format.YAML):
        session.output.result(found)
    elif found:
        rows = [row for node in found for row in rows_of(node, time.time())]
        # A column in which nobody has anything to say is left out.
        columns = [name for name in COLUMNS if any(row.get(name) for row in rows)]
        session.output.result(rows, default=Format.TABLE, columns=columns)
    else:
        session.output.line("no node has been reached yet")


def _show_pools(session: Session, pools: list[dict[str, Any]]) -> None:
    if session.output.chosen in (Format.JSON, Format.YAML):
        session.output.result(pools)
    elif pools:
        session.output.result([pool_row(pool) for pool in pools], default=Format.TABLE, columns=POOL_COLUMNS)
    else:
        session.output.line("there are no pools of nodes")


def pool_row(pool: dict[str, Any]) -> dict[str, str]:
    """One pool as the table shows it."""
    return {
        "pool": str(pool["name"]),
        "kind": str(pool["kind"]),
        "price": f"{pool['price']:g}",
        "instances": str(pool["instances"]),
        "ready": str(pool["ready"]),
        "reclaims": str(pool["reclaims"]),
        "compensations": str(pool["compensations"]),
        "stock": f"out: {pool['reason']}" if pool["is_out"] else "in stock",
    }


def rows_of(node: dict[str, Any], now_s: float) -> Iterator[dict[str, str]]:
    """The machine, then its devices, the slices of a card below it. `now_s` is UTC, against which ages are told."""
    yield {
        "node": str(node["node"]),
        "device": MACHINE,
        "memory": _mebibytes(node["memory_mib"]),
        "promised": _mebibytes(node["memory_promised_mib"]),
        "instances": str(node["instances"]),
    }
    for device in node["devices"]:
        yield {"node": str(node["node"]), **_device(device, now_s)}


def _device(device: dict[str, Any], now_s: float) -> dict[str, str]:
    busy, at_s = device.get("utilization"), device.get("at_s")
    return {
        "device": _name(device),
        "family": str(device.get("family") or ""),
        "memory": _mebibytes(device["memory_mib"]),
        "promised": "" if device.get("is_divided") else _mebibytes(device["promised_mib"]),
        "used": _mebibytes(device.get("memory_used_mib")),
        "busy": "" if busy is None else f"{busy * 100:.0f} %",
        "instances": "" if device.get("is_divided") else str(len(device["instances"])),
        "health": "healthy" if device.get("is_healthy", True) else str(device.get("reason") or "not healthy"),
        "sharing": _sharing(device),
        "age": f"{max(0.0, now_s - at_s):.0f} s" if at_s else "",
    }


def _name(device: dict[str, Any]) -> str:
    text = f"{device['index']} {device['name']}"
    if device.get("simulated") and "simulated" not in text:
        text += " (simulated)"
    return f"  {text}" if device.get("kind") == "slice" else text


def _sharing(device: dict[str, Any]) -> str:
    how, why = str(device.get("sharing") or ""), str(device.get("sharing_reason") or "")
    return f"{how} ({why})" if why else how


def _mebibytes(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} MiB"
