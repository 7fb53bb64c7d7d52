"""`stoke exec`: runs a command in an instance, with this terminal if there is one, and exits as the command did."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import ssl
import sys
import termios
import threading
import tty
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode, urlsplit

import typer

from control_plane.cli.context import Session, command
from control_plane.cli.failures import BadInput, Failed, Unreachable
from runtime.shell import Stream

if TYPE_CHECKING:
    from control_plane.cli.websocket import WebSocket

SUBPROTOCOL: Final = "stoke.exec.v1"
_READ_BYTES: Final = 32_768
_CONNECT_TIMEOUT_S: Final = 10.0
_OUTPUTS: Final = {Stream.STDOUT: 1, Stream.STDERR: 2}


@command
def exec_(
    session: Session,
    function: Annotated[str, typer.Argument(metavar="SERVICE/FUNCTION", help="Whose instance")],
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[-- COMMAND...]", help="What to run; a shell by default")
    ] = None,
    instance: Annotated[str | None, typer.Option("--instance", help="Which one; by default the newest ready")] = None,
    terminal: Annotated[
        bool | None, typer.Option("--tty/--no-tty", help="With a terminal (default: if this is one)")
    ] = None,
) -> None:
    """Run a command, or a shell, in an instance. Exits with the command's status."""
    service, slash, name = function.partition("/")
    if not slash or not service or not name or "/" in name:
        raise BadInput(f"SERVICE/FUNCTION: {function!r} is not allowed: must be two names with a slash between")
    with session.client() as client:
        from control_plane.cli.client import OWN, function_path

        instance_id = instance or newest(
            client.get(f"{OWN}/instances", {"service": service, "function": name}), function
        )
        path = f"{function_path(service, name)}/instances/{instance_id}/exec"
        headers = client.signed_headers("GET", path)
        endpoint = client.endpoint
    is_tty = sys.stdin.isatty() and sys.stdout.isatty() if terminal is None else terminal
    status = asyncio.run(_run(endpoint, f"{path}?{query_of(words or [], is_tty)}", headers, is_tty=is_tty))
    raise typer.Exit(status)


def newest(listed: Mapping[str, Any], function: str) -> str:
    """The id of the ready instance that came last. Pure. Raises Failed."""
    ready = [item for item in listed["instances"] if item["state"] == "READY"]
    if not ready:
        raise Failed(
            f"no instance of {function} is ready: invoke it, or keep one with `stoke provision put --target 1`"
        )
    return str(max(ready, key=lambda item: (item["ready_at_s"], item["instance_id"]))["instance_id"])


def query_of(words: list[str], is_tty: bool) -> str:
    """Without a terminal, standard error comes apart from standard output."""
    size = shutil.get_terminal_size()
    asked = [("command", word) for word in words]
    asked += [("tty", "true"), ("columns", str(size.columns)), ("rows", str(size.lines))] if is_tty else []
    return urlencode(asked)


# -- inside ------------------------------------------------------------------------------------------------------------


async def _run(endpoint: str, target: str, headers: Mapping[str, str], *, is_tty: bool) -> int:
    from control_plane.cli.websocket import Closed, Refused, WebSocket

    try:
        reader, writer = await _connected(endpoint)
        host = urlsplit(endpoint).netloc
        talk = WebSocket(reader, writer, host=host, target=target, headers=headers, subprotocols=[SUBPROTOCOL])
        async with talk:
            with _raw_terminal(is_tty):
                _send_input(talk, is_tty=is_tty)
                return await _until_exit(talk)
    except Refused as refused:
        import httpx

        from control_plane.cli.client import server_error

        raise server_error(httpx.Response(refused.status, content=refused.body)) from refused
    except Closed as closed:
        raise Failed(f"the connection was closed: {closed.reason or closed.code}") from closed
    except (OSError, TimeoutError) as error:
        raise Unreachable(f"Stoke does not answer at {endpoint}: {error or 'no answer in time'}") from error


async def _connected(endpoint: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = urlsplit(endpoint)
    is_tls = url.scheme == "https"
    async with asyncio.timeout(_CONNECT_TIMEOUT_S):
        return await asyncio.open_connection(
            url.hostname, url.port or (443 if is_tls else 80), ssl=ssl.create_default_context() if is_tls else None
        )


async def _until_exit(talk: WebSocket) -> int:
    """Print what comes. The process's status ends it."""
    while True:
        message = await talk.receive()
        data = message.encode() if isinstance(message, str) else message
        stream = Stream(data[0])
        if stream is Stream.EXIT:
            return int(data[1:])
        if stream is Stream.ERROR:
            raise Failed(data[1:].decode(errors="replace"))
        await asyncio.to_thread(_print, _OUTPUTS[stream], data[1:])


def _print(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _send_input(talk: WebSocket, *, is_tty: bool) -> None:
    """Read standard input in a thread, which nothing waits for: it may block for ever, also on a plain file."""
    loop = asyncio.get_running_loop()

    def send(stream: Stream, data: bytes = b"") -> None:
        asyncio.run_coroutine_threadsafe(talk.send(bytes((stream,)) + data), loop).result()

    def read() -> None:
        with suppress(Exception):  # the conversation is over; whoever has it says so
            while data := os.read(0, _READ_BYTES):
                send(Stream.STDIN, data)
            send(Stream.STDIN_END)

    threading.Thread(target=read, daemon=True).start()
    if is_tty:
        loop.add_signal_handler(signal.SIGWINCH, lambda: loop.create_task(_resized(talk)))


async def _resized(talk: WebSocket) -> None:
    size = shutil.get_terminal_size()
    with suppress(Exception):  # as above
        await talk.send(bytes((Stream.RESIZE,)) + b"%d %d" % (size.columns, size.lines))


@contextmanager
def _raw_terminal(is_tty: bool) -> Iterator[None]:
    """Every key is the other side's while this lasts, Ctrl-C too."""
    if not is_tty or not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSADRAIN)  # what was typed ahead is meant for the other side
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
