"""`stoke gateway|node|control-plane`: one part of Stoke alone, with its own arguments."""

from __future__ import annotations

import os
import sys
from typing import Final

import typer

MODULES: Final = {"gateway": "runtime.gateway", "node": "runtime.node", "control-plane": "control_plane.main"}


def gateway(context: typer.Context) -> None:
    """Run a gateway alone; its arguments are those of `python -m runtime.gateway`."""
    _become("gateway", context.args)


def node(context: typer.Context) -> None:
    """Run a node alone; its arguments are those of `python -m runtime.node`."""
    _become("node", context.args)


def control_plane(context: typer.Context) -> None:
    """Run a control plane alone; its arguments are those of `python -m control_plane.main`."""
    _become("control-plane", context.args)


def _become(part: str, arguments: list[str]) -> None:
    """This process becomes the part: signals and exit code are the part's, and nothing of the CLI stays in memory."""
    os.execv(sys.executable, [sys.executable, "-m", MODULES[part], *arguments])  # noqa: S606 - no shell is wanted
