"""Functions that do not start as they should: `currentError` says why, and nothing else is disturbed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stoke import Stoke, eventually

GOOD = "def handler(environ, start_response):\n    start_response('200 OK', [])\n    return [b'good']\n"


@pytest.fixture(scope="module")
def stoke(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stoke]:
    folder: Path = tmp_path_factory.mktemp("stoke")
    with Stoke(folder / "data", "--listen", "127.0.0.1:0", "--backend", "process") as running:
        running.deploy("good", {"app.py": GOOD})
        running.provision("good", 1)
        yield running


@pytest.mark.parametrize(
    ("name", "code", "fields", "said"),
    [
        (
            "raises-on-import",
            "raise ValueError('no weights')\n",
            {},
            'failed: ValueError: no weights\n  File "app.py", line 1',
        ),
        ("is-no-python", "def handler(:\n", {}, 'failed: SyntaxError: invalid syntax\n  File "app.py", line 1\n'),
        ("no-such-handler", "other = 1\n", {}, "handler"),
        (
            "initialize-fails",
            GOOD + "def init(context):\n    raise OSError('no card')\n",
            {"initializer": "app.init"},
            'OSError: no card\n  File "app.py", line 5, in init\n    raise OSError',
        ),
        (
            "initialize-hangs",
            GOOD + "import time\ndef init(context):\n    time.sleep(60)\n",
            {"initializer": "app.init", "initializationTimeout": 1},
            "1 s",
        ),
        (
            "initialize-exits",
            GOOD + "import os\ndef init(context):\n    os._exit(7)\n",
            {"initializer": "app.init", "initializationTimeout": 5},
            "7",
        ),
    ],
)
def test_a_python_function_that_does_not_start_says_why(
    stoke: Stoke, name: str, code: str, fields: dict[str, Any], said: str
) -> None:
    stoke.deploy(name, {"app.py": code}, **fields)
    stoke.provision(name, 1)
    error = eventually(lambda: stoke.status(name)["currentError"], f"{name} has a currentError")
    assert said in error
    assert stoke.client.get(stoke.trigger_url("good")).text == "good"
    stoke.provision(name, 0)


def test_a_request_for_a_function_that_cannot_start_is_answered_with_the_reason_after_the_second_try(
    stoke: Stoke,
) -> None:
    stoke.deploy("on-demand", {"app.py": "raise ValueError('no weights')\n"})
    begun_s = time.monotonic()
    reply = stoke.client.get(stoke.trigger_url("on-demand"), timeout=50.0)
    assert (reply.status_code, reply.json()["Code"]) == (412, "CAExited")
    assert "no weights" in reply.json()["Message"]
    assert time.monotonic() - begun_s < 30.0, "half of the time that a request may wait"


def test_a_container_function_says_that_there_is_no_container_engine(stoke: Stoke) -> None:
    stoke.deploy(
        "container", runtime="custom-container", handler="not-used",
        customContainerConfig={"image": "example/moderation:v1", "accelerationType": "Default"},
    )  # fmt: skip
    stoke.provision("container", 1)
    error = eventually(lambda: stoke.status("container")["currentError"], "a currentError")
    assert "container engine" in error
    stoke.provision("container", 0)


def test_a_custom_command_that_exits_says_its_code(stoke: Stoke) -> None:
    stoke.deploy("exits", runtime="custom", handler="-", customRuntimeConfig={"command": ["sh", "-c", "exit 3"]})
    stoke.provision("exits", 1)
    error = eventually(lambda: stoke.status("exits")["currentError"], "a currentError")
    assert "3" in error
    stoke.provision("exits", 0)


def test_more_memory_than_the_machine_has_is_said(stoke: Stoke) -> None:
    stoke.deploy("huge", {"app.py": GOOD}, memorySize=1_000_000)
    stoke.provision("huge", 1)
    error = eventually(lambda: stoke.status("huge")["currentError"], "a currentError")
    assert "memory" in error
    stoke.provision("huge", 0)
