"""`stoke remove`: takes away what the deployment file describes, in the order that leaves nothing behind.

Provision to 0 first, so that no new instance starts while the rest goes; then routes of custom domains, triggers, the
functions, and the service with its aliases and versions, if no other function is left in it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from control_plane.cli.choosing import Chosen, FunctionName, ServiceName, choose
from control_plane.cli.context import Session, command
from control_plane.cli.domains import DomainChange, leading_to_any, put, without
from control_plane.cli.failures import BadInput
from control_plane.cli.output import Output
from control_plane.cli.provision import described

if TYPE_CHECKING:
    from control_plane.cli.client import Client


class What(StrEnum):
    SERVICE = "service"
    FUNCTION = "function"
    TRIGGER = "trigger"


@dataclass(slots=True)
class Removal:
    """What is to go, as it was found; and, while it is carried out, what went and what stayed."""

    provisions: list[tuple[Chosen, str]] = field(default_factory=list)  # function, qualifier
    domains: list[DomainChange] = field(default_factory=list)  # without their routes to the functions
    triggers: list[tuple[Chosen, str]] = field(default_factory=list)
    functions: list[Chosen] = field(default_factory=list)
    aliases: list[tuple[str, str]] = field(default_factory=list)  # service, name
    versions: list[tuple[str, str]] = field(default_factory=list)
    services: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """What goes, in words, in the order in which it goes."""
        return [
            *(f"provision {one.service}.{qualifier}/{one.function}" for one, qualifier in self.provisions),
            *(_domain_line(change) for change in self.domains),
            *(f"trigger {one}/{name}" for one, name in self.triggers),
            *(f"function {one}" for one in self.functions),
            *(f"alias {service}.{name}" for service, name in self.aliases),
            *(f"version {service}.{name}" for service, name in self.versions),
            *(f"service {service}" for service in self.services),
        ]


@command
def remove(
    session: Session,
    what: Annotated[
        What, typer.Argument(help="How much: triggers alone, functions too, or services too")
    ] = What.SERVICE,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
    service_name: ServiceName = None,
    function_name: FunctionName = None,
) -> None:
    """Remove what s.yaml describes. Shows what goes and asks, unless -y."""
    chosen = choose(session, service_name, function_name)
    with session.client() as client:
        removal = look(client, chosen, what)
        for line in removal.kept:
            session.output.progress(f"kept: {line}")
        if removal.lines() and not yes:
            agree(session.output, *removal.lines())
        carry_out(client, removal, session.output)
    session.output.result({"removed": removal.lines(), "kept": removal.kept})


def look(client: Client, chosen: tuple[Chosen, ...], what: What) -> Removal:
    """Find what there is of the chosen functions. What is gone already is left out."""
    from control_plane.cli.client import function_path

    removal = Removal()
    for one in chosen:
        if client.get_or_none(function_path(one.service, one.function)) is None:
            continue
        found = client.pages(f"{function_path(one.service, one.function)}/triggers", "triggers")
        removal.triggers += [(one, str(trigger["triggerName"])) for trigger in found]
        if what is not What.TRIGGER:
            removal.provisions += [(one, qualifier) for qualifier in _provisioned(client, one)]
            removal.functions.append(one)
    if removal.functions:
        going = [(one.service, one.function) for one in removal.functions]
        domains = leading_to_any(client, going)
        removal.domains = [without(domain, going) for domain in domains or ()]
        if domains is None:
            removal.kept.append("routes of custom domains, if there are any: this access key may not see them")
    if what is What.SERVICE:
        for service in dict.fromkeys(one.service for one in chosen):
            _look_at_service(client, service, chosen, removal)
    return removal


def _look_at_service(client: Client, service: str, chosen: tuple[Chosen, ...], removal: Removal) -> None:
    from control_plane.cli.client import service_path

    path = service_path(service)
    if client.get_or_none(path) is None:
        return
    going = {one.function for one in chosen if one.service == service}
    found = [str(item["functionName"]) for item in client.pages(f"{path}/functions", "functions")]
    staying = [name for name in found if name not in going]
    if staying:
        removal.kept.append(f"service {service}: it also has {', '.join(staying)}")
        return
    removal.aliases += [(service, str(a["aliasName"])) for a in client.pages(f"{path}/aliases", "aliases")]
    removal.versions += [(service, str(v["versionId"])) for v in client.pages(f"{path}/versions", "versions")]
    removal.services.append(service)


def _provisioned(client: Client, one: Chosen) -> list[str]:
    from control_plane.cli.client import API

    listed = client.pages(f"{API}/provision-configs", "provisionConfigs", {"serviceName": one.service})
    configs: list[dict[str, Any]] = [described(item) for item in listed]
    return [str(item["qualifier"]) for item in configs if item["functionName"] == one.function]


def carry_out(client: Client, removal: Removal, output: Output) -> None:
    """Remove it. What somebody else removed meanwhile is fine."""
    from control_plane.cli.client import domain_path, function_path, provision_path, service_path, trigger_path

    for one, qualifier in removal.provisions:
        client.put(provision_path(one.service, one.function, qualifier), {"target": 0})
        output.progress(f"provision {one.service}.{qualifier}/{one.function}: target 0")
    for change in removal.domains:
        if change.routes:
            put(client, change)
        word = "removed" if change.routes or client.delete(domain_path(change.name)) else "was gone already"
        output.progress(f"{_domain_line(change)}: {word}")
    paths = {
        **{f"trigger {one}/{name}": trigger_path(one.service, one.function, name) for one, name in removal.triggers},
        **{f"function {one}": function_path(one.service, one.function) for one in removal.functions},
        **{f"alias {service}.{name}": f"{service_path(service)}/aliases/{name}" for service, name in removal.aliases},
        **{
            f"version {service}.{name}": f"{service_path(service)}/versions/{name}"
            for service, name in removal.versions
        },
        **{f"service {service}": service_path(service) for service in removal.services},
    }
    for name, path in paths.items():
        output.progress(f"{name}: {'removed' if client.delete(path) else 'was gone already'}")


def _domain_line(change: DomainChange) -> str:
    return f"custom domain {change.name}" + (", the routes to what goes" if change.routes else "")


def agree(output: Output, *lines: str) -> None:
    """Show what will be removed and ask. Raises BadInput unless somebody agrees."""
    output.progress("This will be removed:")
    for line in lines:
        output.progress(f"  {line}")
    output.progress("Go on? [y/N]")
    answer = sys.stdin.readline()
    if not answer:
        raise BadInput("nothing was removed: give -y where nobody can be asked")
    if answer.strip().lower() not in ("y", "yes"):
        raise BadInput("nothing was removed")
