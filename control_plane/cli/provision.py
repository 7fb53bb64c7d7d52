"""`stoke provision put|get|list`: how many instances a function keeps ready."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from control_plane.cli.choosing import Chosen, FunctionName, Qualifier, ServiceName, choose, choose_one
from control_plane.cli.context import Session, command
from control_plane.cli.failures import BadInput, Failed
from control_plane.cli.output import Output
from control_plane.cli.waiting import POLL_S, Progress, Verdict, Watch, judge
from runtime.contract import LATEST

if TYPE_CHECKING:
    from control_plane.cli.client import Client

TABLE_COLUMNS: Final = ("serviceName", "qualifier", "functionName", "target", "current", "currentError")


@command
def put(
    session: Session,
    config: Annotated[Path | None, typer.Option("--config", help="A provision.json; sent as it is")] = None,
    target: Annotated[int | None, typer.Option("--target", help="Instances to keep; wins over the file's")] = None,
    scheduled_actions: Annotated[
        str | None, typer.Option("--scheduled-actions", metavar="JSON", help="A JSON list; wins over the file's")
    ] = None,
    target_tracking_policies: Annotated[
        str | None, typer.Option("--target-tracking-policies", metavar="JSON", help="A JSON list; wins over the file's")
    ] = None,
    qualifier: Qualifier = LATEST,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Return when the instances are ready, or at once")
    ] = True,
    timeout_s: Annotated[float, typer.Option("--timeout-s", min=0.0, help="How long to wait")] = 120.0,
    service_name: ServiceName = None,
    function_name: FunctionName = None,
) -> None:
    """Set how many instances of a function are kept ready, and wait until they are."""
    from control_plane.cli.client import provision_path

    body = provision_body(config, target, scheduled_actions, target_tracking_policies)
    chosen = choose_one(session, service_name, function_name)
    path = provision_path(chosen.service, chosen.function, qualifier)
    with session.client() as client:
        reply = client.put(path, body)
        if wait:
            wait_until_ready(client, chosen, qualifier, timeout_s, session.output)
            reply = client.get(path)
    session.output.result({chosen.key: described(reply)}, columns=TABLE_COLUMNS)


@command
def get(
    session: Session,
    qualifier: Qualifier = LATEST,
    service_name: ServiceName = None,
    function_name: FunctionName = None,
) -> None:
    """Show the provision config of each function of the file, with what it comes to now and why."""
    from control_plane.cli.client import provision_path

    found: dict[str, Any] = {}
    chosen = choose(session, service_name, function_name)
    with session.client() as client:
        for one in chosen:
            config = described(client.get(provision_path(one.service, one.function, qualifier)))
            found[one.key] = {**config, **_why(client, one, qualifier)}
    session.output.result(found)


@command
def list_(
    session: Session,
    service_name: ServiceName = None,
    qualifier: Annotated[str | None, typer.Option("--qualifier", help="Only this one")] = None,
) -> None:
    """List provision configs: those of the file's services, or all of them where there is no file."""
    with session.client() as client:
        configs = [described(item) for service in _services(session, service_name) for item in _listed(client, service)]
    session.output.result([item for item in configs if qualifier in (None, item["qualifier"])], columns=TABLE_COLUMNS)


def provision_body(
    config: Path | None, target: int | None, scheduled_actions: str | None, target_tracking_policies: str | None
) -> dict[str, Any]:
    """The request's body: the file's, with what the options say in its place. Checked, and otherwise untouched.

    Raises:
        BadInput: not JSON; a field that is unknown or has a value that is not allowed; neither file nor target.
    """
    body: dict[str, Any] = {}
    if config is not None:
        try:
            text = config.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"--config: {config} cannot be read: {error}") from error
        body = _json(text, str(config), dict)
    elif target is None:
        raise BadInput("give --config FILE, or --target N")
    if target is not None:
        body["target"] = target
    if scheduled_actions is not None:
        body["scheduledActions"] = _json(scheduled_actions, "--scheduled-actions", list)
    if target_tracking_policies is not None:
        body["targetTrackingPolicies"] = _json(target_tracking_policies, "--target-tracking-policies", list)
    _check(body, str(config) if config is not None else "the options")
    return body


def _check(body: dict[str, Any], name: str) -> None:
    from provision.config import parse, unknown_fields
    from provision.problems import ConfigError

    lines = unknown_fields(body)
    try:
        parse(body)
    except ConfigError as error:
        lines += str(error).splitlines()
    if lines:
        raise BadInput("\n".join(f"{name}: {line}" for line in lines))


def wait_until_ready(
    client: Client,
    chosen: Chosen,
    qualifier: str,
    timeout_s: float,
    output: Output,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Show progress until as many instances are ready as are wanted, looking again after each `pause`.

    Raises:
        Failed: an instance does not start (the message has its currentError), or the time is over.
    """
    watch, verdict = Watch(), Verdict.WAIT
    deadline_s = time.monotonic() + timeout_s
    with output.live() as show:
        while True:
            seen = Progress.from_reply(client.get(*status_query(chosen, qualifier)))
            show(str(seen))
            watch, verdict = judge(watch, seen, time.monotonic())
            if verdict is Verdict.DONE:
                break
            if verdict is Verdict.FAILED:
                raise Failed(f"{seen}: {seen.current_error}")
            if time.monotonic() >= deadline_s:
                because = f": {seen.current_error}" if seen.current_error else ""
                raise Failed(f"still {seen} after {timeout_s:g} s{because}")
            pause(POLL_S)
    output.progress(f"ready: {seen}")


def status_query(chosen: Chosen, qualifier: str) -> tuple[str, dict[str, str]]:
    """Path and query of what the autoscaler says of one provision config."""
    from control_plane.cli.client import OWN

    return f"{OWN}/provision", {"service": chosen.service, "qualifier": qualifier, "function": chosen.function}


def described(reply: dict[str, Any]) -> dict[str, Any]:
    """A provision config as FC's tool prints it: `resource` (account#service#qualifier#function) in its parts."""
    parts = str(reply.get("resource") or "").split("#")
    service, qualifier, function = parts[1:4] if len(parts) == 4 else ("", "", "")
    return {
        "serviceName": service,
        "qualifier": qualifier,
        "functionName": function,
        "resource": reply.get("resource", ""),
        "target": reply.get("target", 0),
        "current": reply.get("current", 0),
        "currentError": reply.get("currentError") or "",
        "scheduledActions": reply.get("scheduledActions") or [],
        "targetTrackingPolicies": reply.get("targetTrackingPolicies") or [],
        "alwaysAllocateCPU": reply.get("alwaysAllocateCPU", True),
        "alwaysAllocateGPU": reply.get("alwaysAllocateGPU", True),
    }


def _why(client: Client, chosen: Chosen, qualifier: str) -> dict[str, Any]:
    status = client.get(*status_query(chosen, qualifier))
    return {key: status[key] for key in ("starting", "progress", "in_force", "reasons", "utilization") if key in status}


def _services(session: Session, service_name: str | None) -> list[str]:
    """Names to list by; "" is every service."""
    manifest = session.manifest() if service_name is None or session.options.template else None
    if manifest is None:
        return [service_name or ""]
    names = [plan.service_name for plan in manifest.plans if service_name in (None, plan.service_name, plan.key)]
    if not names:
        raise BadInput(f"--service-name: no service {service_name!r} in {manifest.path}")
    return list(dict.fromkeys(names))


def _listed(client: Client, service: str) -> list[dict[str, Any]]:
    from control_plane.cli.client import API

    query = {"serviceName": service} if service else {}
    return list(client.pages(f"{API}/provision-configs", "provisionConfigs", query))


def _json(text: str, name: str, kind: type) -> Any:
    try:
        value = json.loads(text, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{name}: not valid JSON: {error}") from error
    if not isinstance(value, kind):
        raise BadInput(f"{name}: must be a JSON {'object' if kind is dict else 'list'}")
    return value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A person who wrote a field twice meant one of them, and nothing says which."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is given twice")
    return found
