"""`stoke deploy` of a function with a requirements.txt, on a whole Stoke: all of it, or nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.stoke import ROOT, Stoke
from tests.support.wheels import put_wheel

YAML = """
edition: 1.0.0
name: t
services:
  wordy:
    component: fc
    props:
      region: cn-local
      service: {name: svc}
      function: {name: wordy, runtime: python3, handler: app.handler, codeUri: ./code}
      triggers:
        - {name: http, type: http, config: {authType: anonymous, methods: [GET, POST]}}
"""


@pytest.fixture(scope="module")
def stoke(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stoke]:
    running = Stoke(tmp_path_factory.mktemp("stoke") / "d", "--listen", "127.0.0.1:0").up()
    yield running
    running.down()


def deploy(stoke: Stoke, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "STOKE_DATA": str(stoke.data), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "from control_plane.cli import main; main()", "deploy", "-y"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_requirements_are_installed_before_anything_is_changed(stoke: Stoke, tmp_path: Path) -> None:
    code = tmp_path / "code"
    put_wheel(code / "wheels", "words", "1.2", {"words.py": "__version__ = '1.2'\n"})
    (tmp_path / "s.yaml").write_text(YAML)
    (code / "app.py").write_text("import words\ndef handler(event, context):\n    return words.__version__\n")

    (code / "requirements.txt").write_text("--no-index\nno-such-package-at-all==9\n")
    refused = deploy(stoke, tmp_path)
    assert refused.returncode == 1
    assert "No matching distribution found for no-such-package-at-all==9" in refused.stderr
    assert stoke.client.get(f"{stoke.endpoint}/2016-08-15/services/svc").status_code == 404

    (code / "requirements.txt").write_text("--no-index\n--find-links wheels\nwords\n")
    deployed = deploy(stoke, tmp_path)
    assert deployed.returncode == 0, deployed.stderr
    assert "requirements.txt, installed: words==1.2" in deployed.stderr
    shown = stoke.call("GET", "/2023-03-30/functions/svc$wordy")
    assert (shown["state"], shown["lastUpdateStatus"]) == ("Active", "Successful")
    answer = httpx.post(f"{stoke.endpoint}/2016-08-15/proxy/svc/wordy/", timeout=30.0)
    assert (answer.status_code, answer.text) == (200, "1.2")
