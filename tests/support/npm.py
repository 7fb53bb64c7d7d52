"""Runs the drivers of the npm clients that `scripts/install-sdks` installs; says why where that cannot be."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NPM = ROOT / ".venv-sdk" / "npm"
NODE_MAJOR_MIN = 18  # the drivers use fetch
TIMEOUT_S = 120.0


def run_driver(name: str, *arguments: str, environment: Mapping[str, str]) -> str:
    """Run tests/sdk/NAME with node, with what is in `environment` besides our own; give what it printed.

    Skips the test, with the reason, where node or the clients are missing. Raises AssertionError with what the driver
    wrote when it fails.
    """
    command = [_node(), str(ROOT / "tests" / "sdk" / name), *arguments]
    values = os.environ | {"NODE_PATH": str(NPM / "node_modules")} | dict(environment)
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=values)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on this machine")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S).stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < NODE_MAJOR_MIN:
        pytest.skip(f"node is {version}; the drivers need {NODE_MAJOR_MIN} or newer")
    if not (NPM / ".installed").exists():
        pytest.skip(_why_not_installed())
    return node


def _why_not_installed() -> str:
    log = NPM / "log"
    if not log.exists():
        return f"{NPM.relative_to(ROOT)} is missing: scripts/install-sdks makes it"
    lines = [line for line in log.read_text().splitlines() if line.startswith("npm error")]
    return f"npm could not install the clients: {' '.join(lines[:2]) or 'it took too long'}"
