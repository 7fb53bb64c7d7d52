"""`stoke gateway|node|control-plane|simulate` and `stoke provision suggest`: programs with arguments of their own.

The simulator lies above the control plane, so it is not imported but run.
"""

from __future__ import annotations

import os
import sys
from typing import Final

import typer

from control_plane.cli.context import Options

MODULES: Final = {
    "gateway": "runtime.gateway",
    "node": "runtime.node",
    "control-plane": "control_plane",
    "simulate": "loadtests.simulator",
    "provision suggest": "loadtests.simulator.suggest",
}


def gateway(context: typer.Context) -> None:
    """Run a gateway alone; its arguments are those of `python -m runtime.gateway`."""
    _become("gateway", context.args)


def node(context: typer.Context) -> None:
    """Run a node alone; its arguments are those of `python -m runtime.node`."""
    _become("node", context.args)


def control_plane(context: typer.Context) -> None:
    """Run a control plane alone; its arguments are those of `python -m control_plane`."""
    _become("control-plane", context.args)


def simulate(context: typer.Context) -> None:
    """Replay traffic under a provision config in virtual time; `stoke simulate --help` lists its options."""
    output = context.obj.output if isinstance(context.obj, Options) else None
    chosen = [] if output is None else ["--output", output.value]
    _become("simulate", [*chosen, *context.args])


def suggest(context: typer.Context) -> None:
    """Find the cheapest provision.json for an SLO by simulation; `stoke provision suggest --help` has its options."""
    said = context.obj if isinstance(context.obj, Options) else Options()
    chosen = {"output": said.output and said.output.value, "endpoint": said.endpoint, "data": said.data}
    outer = [text for name, value in chosen.items() if value is not None for text in (f"--{name}", str(value))]
    _become("provision suggest", [*outer, *context.args])


def _become(part: str, arguments: list[str]) -> None:
    """This process becomes the program: signals and exit code are its own, and nothing of the CLI stays in memory."""
    os.execv(sys.executable, [sys.executable, "-m", MODULES[part], *arguments])  # noqa: S606 - no shell is wanted
