"""The sample functions as processes of their own, with nothing of Stoke around them: any server can run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.function_code import FUNCTIONS

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 30.0


@contextmanager
def running(function: str, command: list[str], started: str, **environment: str) -> Iterator[str]:
    """What the pattern `started` found in the output of a server that was started in the function's folder."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = subprocess.Popen(
        command,
        cwd=FUNCTIONS / function,
        env={"PATH": path, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    # A server that hangs says nothing; killing it ends its output, and so the wait for it.
    guard = threading.Timer(START_TIMEOUT_S, process.kill)
    guard.start()
    try:
        yield wait_for_line(process, started)
    finally:
        guard.cancel()
        process.terminate()
        process.communicate(timeout=START_TIMEOUT_S)


def wait_for_line(process: subprocess.Popen[str], pattern: str) -> str:
    seen = []
    assert process.stdout is not None
    for line in process.stdout:
        seen.append(line)
        if found := re.search(pattern, line):
            return found.group(1)
    raise AssertionError(f"{process.args!r} ended without {pattern!r}: {''.join(seen)}")


@contextmanager
def served_by_uvicorn(function: str, folder: Path) -> Iterator[httpx.Client]:
    socket = folder / "s.sock"
    command = ["python3", "-m", "uvicorn", "app:app", "--uds", str(socket)]
    with (
        running(function, command, r"Uvicorn running on (unix socket)"),
        httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://function", timeout=30) as client,
    ):
        yield client


def test_digits_runs_under_any_asgi_server(tmp_path: Path) -> None:
    pictures = sorted((ROOT / "loadtests" / "data" / "digits").glob("*-0.png"))
    with served_by_uvicorn("digits", tmp_path) as client:
        assert client.post("/initialize").status_code == 200
        found = [client.post("/", content=picture.read_bytes()).json()["digit"] for picture in pictures]
    assert found == list(range(10))


def test_spam_detection_runs_under_any_asgi_server(tmp_path: Path) -> None:
    with served_by_uvicorn("spam_detection", tmp_path) as client:
        assert client.post("/initialize").status_code == 200
        findings = client.post("/", content="win a free cruise now!\nI'm 5 minutes late").json()
    assert [finding["spam_detection_label"] for finding in findings] == ["spam", "not_spam"]


def test_a_function_that_was_not_initialized_loads_its_model_with_the_first_request(tmp_path: Path) -> None:
    picture = ROOT / "loadtests" / "data" / "digits" / "7-0.png"
    with served_by_uvicorn("digits", tmp_path) as client:
        assert client.post("/", content=picture.read_bytes()).json()["digit"] == 7


def test_flask_app_listens_on_the_port_it_is_told_and_on_loopback_only() -> None:
    started = r"Running on (http://127\.0\.0\.1:\d+)"
    with (
        running("flask_app", ["python3", "app.py"], started, FC_SERVER_PORT="0", FC_INSTANCE_ID="c-1") as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        assert client.post("/initialize").status_code == 200
        seen = client.put("/2016-08-15/proxy/s/f/x?a=1", content=b"hello").json()
        assert client.get("/pre-stop").status_code == 200
    assert (seen["path"], seen["body"], seen["initialized"]) == ("/2016-08-15/proxy/s/f/x", "hello", True)
    assert seen["instance_id"] == "c-1"


@pytest.mark.parametrize("function", ["digits", "spam_detection"])
def test_importing_a_function_loads_no_model(function: str) -> None:
    command = ["python3", "-c", "import app, sys; print('loaded', 'runtime' in sys.modules, app.app is not None)"]
    with running(function, command, r"loaded (.*)") as loaded:
        assert loaded == "False True"
