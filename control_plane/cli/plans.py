"""What a deployment file asks for, function by function, as the FC 2.0 API takes it; and choosing some of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from control_plane.cli.failures import BadInput

Owner = tuple[str, str]
"""A service and a function of it."""


@dataclass(frozen=True, slots=True)
class DomainPlan:
    """A custom domain, or what one function has of it."""

    name: str
    protocol: str
    routes: tuple[dict[str, Any], ...]  # as FC 2.0 has them, with serviceName
    owner: Owner | None  # whose routes these are all; None: the domain has no others at all
    key: str = ""  # under resources:, where it is an entry of its own


@dataclass(frozen=True, slots=True)
class FunctionPlan:
    """One function as the FC 2.0 API takes it. The dicts are request bodies, in FC's spelling."""

    key: str  # its name under services: or resources:
    service: dict[str, Any]
    function: dict[str, Any]
    triggers: tuple[dict[str, Any], ...] = ()
    code: Path | None = None  # a folder to zip, or a zip file
    provision: dict[str, dict[str, Any]] = field(default_factory=dict)  # by qualifier; edition 3.0.0 only
    context: Path | None = None  # the folder that a container's image is built from
    async_invoke: dict[str, dict[str, Any]] = field(default_factory=dict)  # by qualifier
    domains: tuple[DomainPlan, ...] = ()

    @property
    def service_name(self) -> str:
        return str(self.service["serviceName"])

    @property
    def function_name(self) -> str:
        return str(self.function["functionName"])


def select_plans(
    plans: tuple[FunctionPlan, ...], service_name: str | None, function_name: str | None
) -> tuple[FunctionPlan, ...]:
    """The plans that match the given names (a name may also be the key in the file).

    Raises:
        BadInput: none matches; the message lists what there is.
    """
    chosen = tuple(
        plan
        for plan in plans
        if service_name in (None, plan.service_name, plan.key) and function_name in (None, plan.function_name, plan.key)
    )
    if not chosen:
        have = ", ".join(f"{plan.service_name}/{plan.function_name}" for plan in plans)
        raise BadInput(f"no function {service_name or '*'}/{function_name or '*'} in the file; there: {have or 'none'}")
    return chosen
