"""`stoke usage`: what functions used and cost, and what they lived through, to be simulated."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from control_plane.cli.context import Session, command
from control_plane.cli.failures import BadInput
from control_plane.cli.output import Format
from provision.words import counted

UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
COLUMNS: Final = (
    "begin", "function", "qualifier", "kind", "instance-s", "GPU MB-s", "memory MB-s", "vCPU-s", "requests", "cost",
)  # fmt: skip
EXPORT: Final = "export"


class By(StrEnum):
    HOUR = "hour"
    DAY = "day"


@command
def usage(
    session: Session,
    what: Annotated[list[str] | None, typer.Argument(metavar="[export] [SERVICE/FUNCTION]")] = None,
    since: Annotated[str, typer.Option(metavar="TIME", help="90s, 30m, 24h or 7d ago, or an ISO 8601 time")] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="As --since (default: now)")] = "",
    by: Annotated[By, typer.Option(help="How to add up")] = By.HOUR,
    qualifier: Annotated[str, typer.Option("--qualifier", help="LATEST, a version or an alias")] = "",
) -> None:
    """Show what functions used: instance time, memory time, requests, their cost, and that of a static peak.

    `stoke usage export SERVICE/FUNCTION` prints recorded usage as a trace for `stoke simulate`.
    """
    named = list(what or [])
    exported = named[:1] == [EXPORT]
    service, function = function_of(named[1:] if exported else named, needed=exported)
    now_s = time.time()
    query = {"service": service, "function": function, "qualifier": qualifier}
    query |= {name: f"{moment(name, text, now_s):.3f}" for name, text in (("since", since), ("until", until)) if text}
    query = {name: value for name, value in query.items() if value}
    with session.client() as client:
        from control_plane.cli.client import OWN

        if exported:
            export(session, client.get(f"{OWN}/usage/recorded", query))
        else:
            show(session, client.get(f"{OWN}/usage", query | {"by": by.value}))


def function_of(named: list[str], *, needed: bool) -> tuple[str, str]:
    """Service and function of `SERVICE/FUNCTION`; empty ones for nothing said. Raises BadInput."""
    if not named and not needed:
        return "", ""
    service, slash, function = (named[0] if len(named) == 1 else "").partition("/")
    if not (service and slash and function) or "/" in function:
        raise BadInput(f"'{' '.join(named)}': SERVICE/FUNCTION is expected")
    return service, function


def moment(name: str, text: str, now_s: float) -> float:
    """UTC seconds of `24h` (ago) or of an ISO 8601 time, which is UTC unless it says otherwise. Raises BadInput."""
    if ago := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text):
        return now_s - float(ago[1]) * UNITS_S[ago[2]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"--{name}: '{text}'; 90s, 30m, 24h, 7d or an ISO 8601 time is allowed") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def export(session: Session, found: dict[str, Any]) -> None:
    """The trace on stdout, and on stderr what it does not say."""
    from control_plane.metering.recorded import of_json, to_csv

    launch_s = found["launch_s"]
    session.output.progress(
        f"{found['service']}/{found['function']} version {found['version']}: "
        f"{counted(sum(row[1] for row in found['rows']), 'request')} in {found['until_s'] - found['since_s']:.0f} s; "
        f"{found['instance_concurrency']} at once in an instance; "
        + ("nothing was launched" if launch_s is None else f"launches took {launch_s:.3f} s")
    )
    if session.output.chosen in (Format.JSON, Format.YAML):
        session.output.result(found)
        return
    for line in to_csv(of_json(found["rows"])).splitlines():
        session.output.line(line)


def show(session: Session, found: dict[str, Any]) -> None:
    if session.output.chosen in (Format.JSON, Format.YAML):
        session.output.result(found)
        return
    if not found["rows"]:
        session.output.line("nothing used")
        return
    currency = found["currency"]
    columns = [name for name in COLUMNS if name != "cost" or currency]
    session.output.result([row(one, currency) for one in found["rows"]], default=Format.TABLE, columns=columns)
    for line in summed(found):
        session.output.line(line)


def row(used: dict[str, Any], currency: str | None) -> dict[str, str]:
    return {
        "begin": f"{datetime.fromtimestamp(used['begin_s'], UTC):%Y-%m-%dT%H:%MZ}",
        "function": f"{used['service']}/{used['function']}",
        "qualifier": used["qualifier"],
        "kind": used["kind"],
        "instance-s": f"{used['instance_seconds']:,.1f}",
        "GPU MB-s": f"{used['gpu_memory_mb_seconds']:,.0f}",
        "memory MB-s": f"{used['memory_mb_seconds']:,.0f}",
        "vCPU-s": f"{used['vcpu_seconds']:,.1f}",
        "requests": f"{used['requests']:,}",
        "cost": "" if used["cost"] is None else f"{used['cost']:.4f} {currency}",
    }


def summed(found: dict[str, Any]) -> list[str]:
    """A line for each function version and one for all, each with its static peak beside it."""
    currency, lines = found["currency"], []
    for one in found["functions"]:
        static = one["static_peak"]
        name = f"{one['service']}/{one['function']} {one['qualifier']}"
        against = f"{counted(static['instances'], 'instance')} for {static['span_s']:,.0f} s"
        lines.append(_compared(name, one, against, currency))
    if len(found["functions"]) > 1:
        lines.append(_compared("all", found["total"], "each at its peak", currency))
    return lines


def _compared(name: str, used: dict[str, Any], against: str, currency: str | None) -> str:
    static = used["static_peak"]
    saved = 1.0 - used["instance_seconds"] / static["instance_seconds"] if static["instance_seconds"] else 0.0
    requests = counted(f"{used['requests']:,}", "request")
    line = f"{name}: {used['instance_seconds']:,.1f} instance-s, {requests}; "
    line += f"static peak ({against}): {static['instance_seconds']:,.1f} instance-s; {saved:.0%} saved"
    if currency and static["cost"] is not None:
        line += f"; {used['cost']:.4f} {currency} instead of {static['cost']:.4f}"
    return line
