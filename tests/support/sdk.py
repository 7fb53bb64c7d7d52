"""The scripts of `tests/sdk`, run in the environments of the SDKs that they drive."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "tests" / "sdk"
SDKS = ("fc2", "fc20210406", "fc20230330")
TIMEOUT_S = 120.0

Keys = Mapping[str, Mapping[str, str]]  # by name: id, secret, token


@dataclass(frozen=True, slots=True)
class Call:
    """A line of `tests/sdk/SDK.calls`: a public operation, and what becomes of it."""

    name: str
    how: str  # an HTTP method, "refused" or "uncalled"
    what: str  # the path, status and code, or the reason

    def is_shown_by(self, line: str) -> bool:
        """Whether a script's line tells of this."""
        if self.how == "refused":
            return line == f"refused {self.name} {self.what}"
        path = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(self.what)).replace("…", ".*")
        return re.fullmatch(f"answered {self.name} {self.how} {path}", line) is not None


def calls(sdk: str) -> list[Call]:
    lines = (SCRIPTS / f"{sdk}.calls").read_text().splitlines()
    return [Call(*line.split(None, 2)) for line in lines if line and not line.startswith("#")]


def errors() -> list[tuple[str, str, str]]:
    """Status ("---": none), code, and the script or the reason, of each line of `tests/sdk/errors.table`."""
    lines = (SCRIPTS / "errors.table").read_text().splitlines()
    parts = [line.split(None, 2) for line in lines if not line.startswith("#")]
    return [(status, code, rest) for status, code, rest in parts]


def python_of(sdk: str) -> Path:
    """The SDK's interpreter; skips the test where there is none."""
    python = ROOT / ".venv-sdk" / sdk / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{python.relative_to(ROOT)} is missing: scripts/install-sdks makes it")
    return python


def run(sdk: str, script: str, endpoint: str, folder: Path, keys: Keys, *arguments: str) -> list[str]:
    """What the script prints; the test fails if it does. `folder` is the script's own, and made here."""
    folder.mkdir()
    named = folder / "keys.json"
    named.write_text(json.dumps(keys))
    command = [str(python_of(sdk)), str(SCRIPTS / script), endpoint, str(folder), str(named), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout.splitlines()
