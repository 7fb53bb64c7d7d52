"""FC's published Python SDKs against a real API server: every call they have, read through their own models."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.api_server import api_server

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120.0
CALLS_MIN = {"fc2": 60, "fc20210406": 45, "fc20230330": 50}


@pytest.mark.parametrize("sdk", sorted(CALLS_MIN))
def test_every_call_of_a_published_sdk_is_answered_as_it_expects(sdk: str, tmp_path: Path) -> None:
    python = ROOT / ".venv-sdk" / sdk / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{python.relative_to(ROOT)} is missing: scripts/install-sdks makes it")
    with api_server(tmp_path) as server:
        done = subprocess.run(
            [str(python), str(ROOT / "tests" / "sdk" / f"calls_{sdk}.py"), server.endpoint, str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert len(done.stdout.splitlines()) >= CALLS_MIN[sdk]
