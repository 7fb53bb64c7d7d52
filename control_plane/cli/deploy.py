"""`stoke deploy`: makes services, functions, triggers and domains what the deployment file says. Removes nothing."""

from __future__ import annotations

import base64
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from control_plane.cli.choosing import FunctionName, ServiceName
from control_plane.cli.context import Session, command
from control_plane.cli.manifest_parts import FUNCTION_UNSET, SERVICE_UNSET
from control_plane.cli.output import Output

if TYPE_CHECKING:
    from control_plane.cli.client import Client
    from control_plane.cli.plans import DomainPlan, FunctionPlan


@command
def deploy(
    session: Session,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing (deploy never asks: it removes nothing)")
    ] = False,
    service_name: ServiceName = None,
    function_name: FunctionName = None,
) -> None:
    """Create or update what s.yaml describes, and print the URLs of its triggers.

    The whole file is checked, and all code packed, before the first request; what each requirements.txt asks for is
    installed before the first change. Deploying twice changes nothing.
    """
    del yes
    from control_plane.cli.package import package
    from control_plane.cli.plans import select_plans

    manifest = session.required_manifest()
    whole = service_name is None and function_name is None
    domains = manifest.domains if whole else ()
    plans = select_plans(manifest.plans, service_name, function_name) if manifest.plans or not domains else ()
    for note in manifest.notes:
        session.output.progress(f"note: {note}")
    code = {plan.code: package(plan.code) for plan in plans if plan.code is not None}
    with session.client() as client:
        session.output.result(deploy_plans(client, plans, code, session.output, domains))


def deploy_plans(
    client: Client,
    plans: tuple[FunctionPlan, ...],
    code: dict[Path, bytes],
    output: Output,
    own_domains: tuple[DomainPlan, ...] = (),
) -> dict[str, dict[str, Any]]:
    """Deploy in the file's order, domains last; gives what was done, by key of the file.

    Raises:
        ServerError: the first refusal.
        Failed: requirements that cannot be installed, a domain whose path leads elsewhere: nothing was changed.
    """
    from control_plane.cli import domains

    changes = domains.look(client, (*(domain for plan in plans for domain in plan.domains), *own_domains))
    for plan in plans:
        if plan.code is not None and plan.function["runtime"].startswith("python"):
            _make_environment(client, plan, code[plan.code], output)
    done: dict[str, dict[str, Any]] = {}
    services: set[str] = set()
    for plan in plans:
        if plan.service_name not in services:
            _deploy_service(client, plan, output)
            services.add(plan.service_name)
        zipped = code[plan.code] if plan.code is not None else None
        created = _deploy_function(client, plan, zipped, output)
        done[plan.key] = {
            "service": plan.service_name,
            "function": plan.function_name,
            "state": "created" if created else "updated",
            "triggers": [_deploy_trigger(client, plan, trigger, output) for trigger in plan.triggers],
        }
        if plan.domains:
            done[plan.key]["customDomains"] = [domain.name for domain in plan.domains]
        _deploy_provision(client, plan, output)
        _deploy_async_invoke(client, plan, output)
    for change in changes:
        output.progress(f"custom domain {change.name}: {_word(domains.put(client, change))}")
    return done | {plan.key: {"customDomain": plan.name, "protocol": plan.protocol} for plan in own_domains}


def _make_environment(client: Client, plan: FunctionPlan, zipped: bytes, output: Output) -> None:
    """Before the first change, so that requirements that cannot be installed change nothing. Raises Failed."""
    from control_plane.cli.client import OWN
    from control_plane.cli.failures import Failed

    if not _has_requirements(zipped):
        return
    output.progress(f"function {plan.service_name}/{plan.function_name}: requirements.txt")
    body = {"code": {"zipFile": base64.b64encode(zipped).decode()}}
    service = {"service": plan.service_name}
    seen = client.post(f"{OWN}/environments", body, service)
    while seen["state"] == "building":
        seen = client.get(f"{OWN}/environments/{seen['code_sha256']}", service | {"wait_seconds": "30"})
    if seen["state"] == "failed":
        raise Failed(f"function '{plan.function_name}': requirements.txt cannot be installed: {seen['reason']}")
    packages = f"installed: {', '.join(seen['packages'])}" if seen["packages"] else "all of it is there already"
    output.progress(f"function {plan.service_name}/{plan.function_name}: requirements.txt, {packages}")


def _has_requirements(zipped: bytes) -> bool:
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        return "requirements.txt" in archive.namelist()


def _deploy_service(client: Client, plan: FunctionPlan, output: Output) -> None:
    from control_plane.cli.client import API, service_path

    update = dict.fromkeys(SERVICE_UNSET) | {key: value for key, value in plan.service.items() if key != "serviceName"}
    _, created = client.put_or_create(service_path(plan.service_name), update, f"{API}/services", plan.service)
    output.progress(f"service {plan.service_name}: {_word(created)}")


def _deploy_function(client: Client, plan: FunctionPlan, zipped: bytes | None, output: Output) -> bool:
    from control_plane.cli.client import function_path, service_path

    body = dict(plan.function)
    if zipped is not None:
        body["code"] = {"zipFile": base64.b64encode(zipped).decode()}
    path = function_path(plan.service_name, plan.function_name)
    created = client.get_or_none(path) is None  # asked first, so that code is sent but once
    if created:
        client.post(f"{service_path(plan.service_name)}/functions", body)
    else:
        client.put(path, dict.fromkeys(FUNCTION_UNSET) | body)
    size = f", {len(zipped) / 1024:.0f} KiB of code" if zipped is not None else ""
    output.progress(f"function {plan.service_name}/{plan.function_name}: {_word(created)}{size}")
    return created


def _deploy_trigger(client: Client, plan: FunctionPlan, trigger: dict[str, Any], output: Output) -> dict[str, Any]:
    from control_plane.cli.client import function_path, trigger_path

    name = trigger["triggerName"]
    fixed = ("triggerName", "triggerType", "sourceArn")
    update = {key: value for key, value in trigger.items() if key not in fixed}
    reply, created = client.put_or_create(
        trigger_path(plan.service_name, plan.function_name, name),
        update,
        f"{function_path(plan.service_name, plan.function_name)}/triggers",
        trigger,
    )
    output.progress(f"trigger {plan.service_name}/{plan.function_name}/{name}: {_word(created)}")
    config = trigger["triggerConfig"]
    return {
        "name": name,
        "authType": config.get("authType", "function"),
        "methods": config["methods"],
        "url": reply.get("urlInternet", ""),
    }


def _deploy_provision(client: Client, plan: FunctionPlan, output: Output) -> None:
    from control_plane.cli.client import provision_path

    for qualifier, config in plan.provision.items():
        client.put(provision_path(plan.service_name, plan.function_name, qualifier), config)
        output.progress(f"provision {plan.service_name}.{qualifier}/{plan.function_name}: target {config['target']}")


def _deploy_async_invoke(client: Client, plan: FunctionPlan, output: Output) -> None:
    from control_plane.cli.client import async_invoke_path

    for qualifier, config in plan.async_invoke.items():
        client.put(async_invoke_path(plan.service_name, plan.function_name, qualifier), config)
        output.progress(f"async invoke config {plan.service_name}.{qualifier}/{plan.function_name}: put")


def _word(created: bool) -> str:
    return "created" if created else "updated"
