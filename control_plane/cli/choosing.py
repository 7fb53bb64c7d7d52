"""Which functions a command is about: from its options, else from the deployment file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from control_plane.cli.context import Session
from control_plane.cli.failures import BadInput
from control_plane.cli.plans import select_plans

ServiceName = Annotated[str | None, typer.Option("--service-name", help="A service's name, or its key in s.yaml")]
FunctionName = Annotated[str | None, typer.Option("--function-name", help="A function's name, or its key in s.yaml")]
Qualifier = Annotated[str, typer.Option("--qualifier", help="LATEST, or an alias")]


@dataclass(frozen=True, slots=True)
class Chosen:
    key: str  # under which to print it: the key in s.yaml, or the service's name
    service: str
    function: str

    def __str__(self) -> str:
        return f"{self.service}/{self.function}"


def choose(session: Session, service_name: str | None, function_name: str | None) -> tuple[Chosen, ...]:
    """Both names given and no file asked for: just those. Else the functions of the file that match.

    Raises:
        BadInput: no file to choose from, or nothing in it matches.
    """
    if service_name and function_name and session.options.template is None:
        return (Chosen(service_name, service_name, function_name),)
    manifest = session.manifest()
    if manifest is None:
        raise BadInput("no s.yaml in this folder: name the file with -t, or give --service-name and --function-name")
    plans = select_plans(manifest.plans, service_name, function_name)
    return tuple(Chosen(plan.key, plan.service_name, plan.function_name) for plan in plans)


def choose_one(session: Session, service_name: str | None, function_name: str | None) -> Chosen:
    """As choose, for a command that is about one function. Raises BadInput when several match."""
    chosen = choose(session, service_name, function_name)
    if len(chosen) > 1:
        names = ", ".join(map(str, chosen))
        raise BadInput(f"several functions match: {names}; choose one with --function-name (and --service-name)")
    return chosen[0]
