"""`stoke provision explain`: why there are as many instances as there are, decision by decision."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from control_plane.cli.choosing import FunctionName, Qualifier, ServiceName, choose_one
from control_plane.cli.context import Session, command
from control_plane.cli.output import Format
from runtime.contract import LATEST


@command
def explain(
    session: Session,
    qualifier: Qualifier = LATEST,
    service_name: ServiceName = None,
    function_name: FunctionName = None,
) -> None:
    """Show the last decisions about a function's instances, newest first: why, what was seen, who wanted what."""
    from control_plane.cli.client import OWN

    chosen = choose_one(session, service_name, function_name)
    query = {"service": chosen.service, "qualifier": qualifier, "function": chosen.function}
    with session.client() as client:
        found: list[dict[str, Any]] = client.get(f"{OWN}/provision/explain", query)["decisions"]
    if session.output.chosen in (Format.JSON, Format.YAML):
        session.output.result(found)
    elif session.output.chosen is Format.TABLE:
        session.output.result([row(one) for one in found])
    elif found:
        for one in found:
            for line in told(one):
                session.output.line(line)
    else:
        session.output.line("nothing decided yet")


def told(decision: dict[str, Any]) -> Iterator[str]:
    """A decision as people read it: the number and why, then what was seen, then each policy's say."""
    yield f"{_moment(decision)}  {_target(decision)}  {'; '.join(decision['reasons'])}"
    yield f"    seen: {_seen(decision['inputs'])}"
    for policy in decision["policies"]:
        yield f"    {policy['name']} wants {policy['wanted']}: {'; '.join(policy['reasons'])}"


def row(decision: dict[str, Any]) -> dict[str, str]:
    return {
        "at": _moment(decision),
        "target": _target(decision),
        "reasons": "; ".join(decision["reasons"]),
        "policies": ", ".join(f"{policy['name']}={policy['wanted']}" for policy in decision["policies"]),
        "seen": _seen(decision["inputs"]),
    }


def _moment(decision: dict[str, Any]) -> str:
    return f"{datetime.fromtimestamp(decision['at_s'], UTC):%Y-%m-%dT%H:%M:%SZ}"


def _target(decision: dict[str, Any]) -> str:
    was, target = decision["was"], decision["target"]
    return f"target {target}" if was in (None, target) else f"target {was}→{target}"


def _seen(inputs: dict[str, Any]) -> str:
    parts = [f"{inputs['current']} ready", f"{inputs['starting']} starting"]
    if inputs["interval_s"] > 0.0:
        parts.append(f"{inputs['demand']:.2f} requests at once (peak {inputs['demand_peak']})")
        parts.append(f"{inputs['waiting']} waiting")
        parts.append(f"{inputs['requests_per_second']:.1f} requests/s")
    else:
        parts.append("no report of requests")
    parts += [f"{name} {value:.2f}" for name, value in inputs["metrics"].items()]
    if inputs["capacity_limit"] is not None:
        parts.append(f"room for {inputs['capacity_limit']}")
    return ", ".join(parts)
