"""A shell in an instance, through a whole Stoke: by the command line, as FC's clients speak, and who may not."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from runtime.signature import authorization
from tests.support.stoke import ROOT, Stoke
from tests.support.websocket_client import Closed, Refused, websocket

TIMEOUT_S = 30.0
SOURCE = """
import os
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

async def show(request):
    return PlainTextResponse(os.environ["FC_INSTANCE_ID"])

async def shout(socket):
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text.upper())

routes = [WebSocketRoute("/{path:path}", shout), Route("/{path:path}", show, methods=["GET", "POST"])]
handler = Starlette(routes=routes)
"""
CUSTOM = """
import os, uvicorn
from app import handler
uvicorn.run(handler, port=int(os.environ["FC_SERVER_PORT"]), ws="wsproto", log_level="warning")
"""


@pytest.fixture(scope="module")
def stoke(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stoke]:
    with Stoke(tmp_path_factory.mktemp("exec"), "--listen", "127.0.0.1:0") as running:
        running.deploy("f", {"app.py": SOURCE})
        running.provision("f", 1)
        running.await_current("f", 1)
        yield running


def instance_of(stoke: Stoke) -> str:
    return str(stoke.ready("f")[0]["instance_id"])


def key_of(stoke: Stoke) -> tuple[str, str]:
    saved = json.loads((stoke.data / "credentials.json").read_text())
    return saved["access_key_id"], saved["access_key_secret"]


def signed(path: str, key: tuple[str, str]) -> dict[str, str]:
    headers = {"date": formatdate(usegmt=True)}
    return headers | {"authorization": authorization("GET", path, headers, *key)}


def exec_path(stoke: Stoke, prefix: str = "/2016-08-15/services/svc.LATEST/functions/f") -> str:
    return f"{prefix}/instances/{instance_of(stoke)}/exec"


def query(*command: str, **more: str) -> str:
    return urlencode([*(("command", word) for word in command), *more.items()])


def place(stoke: Stoke) -> str:
    return f"tcp:{urlsplit(stoke.endpoint).netloc}"


# -- as FC's clients speak ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix",
    [
        "/2016-08-15/services/svc.LATEST/functions/f",
        "/2021-04-06/services/svc/functions/f",
        "/2023-03-30/functions/svc$f",
    ],
)
async def test_fcs_clients_get_texts_and_are_told_the_status_at_the_end(stoke: Stoke, prefix: str) -> None:
    path = exec_path(stoke, prefix)
    target = f"{path}?{query('sh', '-c', 'read x; echo out $x; echo err >&2; exit 7', stdin='true', tty='false')}"
    heard = {"\x01": "", "\x02": ""}
    async with websocket(place(stoke), target, signed(path, key_of(stoke))) as talk:
        await talk.send("\0hello\n")
        closed = None
        while closed is None:
            try:
                message = str(await talk.receive())
                heard[message[0]] += message[1:]
            except Closed as end:
                closed = end
    assert heard == {"\x01": "out hello\n", "\x02": "err\n"}
    assert (closed.code, closed.reason) == (1000, "exit status 7")


def test_the_published_client_runs_a_command(stoke: Stoke) -> None:
    python = ROOT / ".venv-sdk" / "fc2" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{python.relative_to(ROOT)} is missing: scripts/install-sdks makes it")
    script = """
import sys, fc2
endpoint, key, secret, instance = sys.argv[1:]
client = fc2.Client(endpoint=endpoint, accessKeyID=key, accessKeySecret=secret)
hooks = {"on_stdout": lambda ws, data: print("out", data.strip()), "on_error": lambda ws, error: print("error", error)}
params = {"command": ["sh", "-c", "echo $FC_INSTANCE_ID"], "stdin": True, "stdout": True, "stderr": True, "tty": False}
client.instance_exec("svc", "LATEST", "f", instance, params, hooks).ws.run_forever()
"""
    arguments = [stoke.endpoint, *key_of(stoke), instance_of(stoke)]
    done = subprocess.run([str(python), "-c", script, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S)
    # It calls an ordinary close an error, too.
    assert done.stdout.splitlines()[:1] == [f"out {instance_of(stoke)}"], done.stderr


# -- refusals ----------------------------------------------------------------------------------------------------------


async def refusal(stoke: Stoke, target: str, headers: dict[str, str]) -> tuple[int, str, str]:
    with pytest.raises(Refused) as refused:
        async with websocket(place(stoke), target, headers):
            pass
    said = json.loads(refused.value.body)
    assert refused.value.headers["x-fc-request-id"] == said["RequestId"]
    return refused.value.status, said["ErrorCode"], said["ErrorMessage"]


async def test_only_admin_and_deploy_may_open_a_shell(stoke: Stoke) -> None:
    path = exec_path(stoke)
    assert (await refusal(stoke, path, {}))[:2] == (400, "MissingRequiredHeader")
    key_id, _ = key_of(stoke)
    assert (await refusal(stoke, path, signed(path, (key_id, "wrong"))))[:2] == (403, "SignatureNotMatch")
    for role, services in (("invoke", []), ("read", []), ("deploy", ["other"])):
        made = stoke.call("POST", "/stoke/v1/keys", {"role": role, "services": services})
        key = (made["access_key_id"], made["access_key_secret"])
        assert (await refusal(stoke, path, signed(path, key)))[:2] == (403, "AccessDenied")
    made = stoke.call("POST", "/stoke/v1/keys", {"role": "deploy", "services": ["svc"]})
    headers = signed(path, (made["access_key_id"], made["access_key_secret"]))
    async with websocket(place(stoke), f"{path}?{query('echo', 'hi')}", headers) as talk:
        assert await talk.receive() == "\x01hi\n"


async def test_what_is_wrong_is_said_before_the_handshake(stoke: Stoke) -> None:
    async def refused(path: str, asked: str = "") -> tuple[int, str, str]:
        return await refusal(stoke, f"{path}?{asked}", signed(path, key_of(stoke)))

    path = exec_path(stoke)
    status, code, message = await refused(path, query("no-such-program"))
    assert (status, code) == (400, "InvalidArgument")
    assert message == "command 'no-such-program' is neither in the code nor in PATH"
    assert (await refused(path, "tty=perhaps"))[:2] == (400, "InvalidArgument")
    other = "/2016-08-15/services/svc/functions/f/instances/c-other/exec"
    assert (await refused(other))[:2] == (404, "InstanceNotFound")
    assert (await refused(path.replace("/f/", "/g/")))[:2] == (404, "FunctionNotFound")
    answer = stoke.client.get(stoke.endpoint + path)
    assert (answer.status_code, answer.json()["ErrorCode"]) == (426, "InvalidArgument")


async def test_a_message_that_is_too_long_ends_the_conversation(stoke: Stoke) -> None:
    path = exec_path(stoke)
    async with websocket(place(stoke), f"{path}?{query('cat')}", signed(path, key_of(stoke))) as talk:
        await talk.send(b"x" * (1 << 20) + b"x")
        with pytest.raises(Closed) as closed:
            await talk.receive()
    assert closed.value.code == 1009


# -- the command line --------------------------------------------------------------------------------------------------


def command_line(stoke: Stoke, *words: str) -> list[str]:
    return [
        sys.executable,
        "-c",
        "from control_plane.cli import main; main()",
        "exec",
        "--data",
        str(stoke.data),
        *words,
    ]


def stoke_exec(stoke: Stoke, *words: str, typed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command_line(stoke, *words), input=typed, capture_output=True, timeout=TIMEOUT_S, cwd=ROOT, check=False
    )


def test_the_command_line_pipes_and_exits_as_the_command_did(stoke: Stoke) -> None:
    data = os.urandom(300_000)
    done = stoke_exec(stoke, "svc/f", "--", "cat", typed=data)
    assert (done.returncode, done.stdout) == (0, data), done.stderr
    done = stoke_exec(stoke, "svc/f", "--instance", instance_of(stoke), "--", "sh", "-c", "echo a; echo b >&2; exit 42")
    assert (done.returncode, done.stdout, done.stderr) == (42, b"a\n", b"b\n")
    done = stoke_exec(stoke, "svc/f", "--", "sh", "-c", "kill -TERM $$")
    assert done.returncode == 143


def test_the_command_line_says_what_is_wrong(stoke: Stoke) -> None:
    done = stoke_exec(stoke, "svc")
    assert (done.returncode, done.stderr.startswith(b"stoke: SERVICE/FUNCTION: 'svc' is not allowed")) == (2, True)
    done = stoke_exec(stoke, "svc/f", "--", "no-such-program")
    assert (done.returncode, b"is neither in the code nor in PATH" in done.stderr) == (1, True)
    done = stoke_exec(stoke, "svc/none", "--", "ls")
    assert (done.returncode, b"no instance of svc/none is ready" in done.stderr) == (1, True)


def test_the_command_line_hands_its_terminal_over_and_gives_it_back(stoke: Stoke) -> None:
    ours, theirs = pty.openpty()
    before = subprocess.run(["stty", "-g"], stdin=theirs, capture_output=True, check=True).stdout
    shell = subprocess.Popen(
        command_line(stoke, "svc/f", "--", "/bin/sh"), stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT
    )
    try:
        os.write(ours, b"tty; echo inst''ance $FC_INSTANCE_ID\n")
        seen = until_seen(ours, b"instance " + instance_of(stoke).encode())
        assert b"/dev/pts/" in seen
        os.write(ours, b"sh -c \"echo be''gan; exec sleep 1000\"\n")
        until_seen(ours, b"began")
        os.write(ours, b"\x03")  # for the command there, not for the one here
        os.write(ours, b"echo st''ill; exit 9\n")
        until_seen(ours, b"still")
        assert shell.wait(TIMEOUT_S) == 9
        after = subprocess.run(["stty", "-g"], stdin=theirs, capture_output=True, check=True).stdout
        assert after == before
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)
        os.close(theirs)


def until_seen(terminal: int, text: bytes) -> bytes:
    seen, deadline_s = b"", time.monotonic() + TIMEOUT_S
    while text not in seen:
        left_s = deadline_s - time.monotonic()
        assert left_s > 0, seen
        if select.select([terminal], [], [], left_s)[0]:
            seen += os.read(terminal, 65_536)
    return seen


def test_a_shell_ends_when_the_command_line_is_killed(stoke: Stoke) -> None:
    words = command_line(stoke, "svc/f", "--", "sh", "-c", "echo $$; exec sleep 1000")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as running:
        assert running.stdout is not None
        pid = int(running.stdout.readline())
        running.kill()
    deadline_s = time.monotonic() + TIMEOUT_S
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


# -- WebSockets of functions -------------------------------------------------------------------------------------------


async def test_functions_of_both_runtimes_talk_over_websockets(stoke: Stoke) -> None:
    if not stoke.ready("custom"):
        command: dict[str, Any] = {"customRuntimeConfig": {"command": ["python", "server.py"]}}
        files = {"app.py": SOURCE, "server.py": CUSTOM}
        await asyncio.to_thread(lambda: stoke.deploy("custom", files, runtime="custom", **command))
    for function in ("f", "custom"):
        path = urlsplit(stoke.trigger_url(function, "chat")).path
        async with websocket(place(stoke), path) as talk:
            await talk.send("hello")
            assert await talk.receive() == "HELLO"
        answer = await asyncio.to_thread(stoke.client.get, stoke.trigger_url(function))
        assert answer.status_code == 200  # the slot is free again


# -- the end of the log ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def _logging_function(stoke: Stoke) -> None:
    stoke.deploy("logs", {"app.py": "def handler(event, context): print('heard', event.decode()); return b'ok'"})


@pytest.mark.usefixtures("_logging_function")
def test_an_invocation_comes_with_its_log_for_who_asks(stoke: Stoke) -> None:
    program = "from control_plane.cli import main; main()"
    words = ["--service-name", "svc", "--function-name", "logs", "-e", "hello", "--data", str(stoke.data)]
    for more, log in ((["--log-type", "Tail"], ["FC Invoke Start", "heard hello", "FC Invoke End"]), ([], [])):
        done = subprocess.run(
            [sys.executable, "-c", program, "invoke", *words, *more],
            capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "ok")
        lines = done.stderr.splitlines()
        assert len(lines) == len(log)
        assert all(line.startswith(begin) for line, begin in zip(lines, log, strict=True))


@pytest.mark.usefixtures("_logging_function")
def test_the_published_client_gets_the_log_in_a_header(stoke: Stoke) -> None:
    python = ROOT / ".venv-sdk" / "fc2" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{python.relative_to(ROOT)} is missing: scripts/install-sdks makes it")
    script = """
import base64, sys, fc2
endpoint, key, secret = sys.argv[1:]
client = fc2.Client(endpoint=endpoint, accessKeyID=key, accessKeySecret=secret)
reply = client.invoke_function("svc", "f", payload=b"x", headers={"x-fc-log-type": "Tail"})
print(base64.b64decode(reply.headers["x-fc-log-result"]).decode())
"""
    arguments = [stoke.endpoint, *key_of(stoke)]
    done = subprocess.run([str(python), "-c", script, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    assert [line[:15] for line in done.stdout.split("\n") if line] == ["FC Invoke Start", "FC Invoke End R"]
