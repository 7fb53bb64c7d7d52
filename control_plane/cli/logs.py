"""`stoke logs`: what instances wrote to stdout and stderr, their last lines or as it comes."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import typer

from control_plane.cli.choosing import Chosen, FunctionName, ServiceName, choose
from control_plane.cli.context import Session, command
from control_plane.cli.failures import CliError, Failed, ServerError
from control_plane.cli.instances import belongs
from control_plane.cli.output import Output

if TYPE_CHECKING:
    from control_plane.cli.client import Client

# Enough for a few thousand lines; what an instance keeps may be much more.
TAIL_BYTES_MAX: Final = 1024 * 1024
_LOOK_AGAIN_S: Final = 1.0


@command
def logs(
    session: Session,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is added, until Ctrl-C")] = False,
    instance: Annotated[
        str | None, typer.Option("--instance", help="Only this instance, also when it has ended")
    ] = None,
    tail: Annotated[int, typer.Option("--tail", min=0, help="How many of the last lines of each instance")] = 100,
    service_name: ServiceName = None,
    function_name: FunctionName = None,
) -> None:
    """Print the logs of one instance, or of all instances of the functions that are chosen."""
    chosen = () if instance else choose(session, service_name, function_name)
    reader = _Reader(session, chosen, tail)
    if follow:
        reader.follow(instance)
        return
    with session.client() as client:
        names = [instance] if instance else reader.known(client)
        if not names:
            session.output.progress("no instances")
        for name in names:
            for line in reader.last_lines(client, name, alone=instance is not None):
                session.output.line(line if instance else f"{name} {line}")


def last_lines(text: bytes, count: int) -> bytes:
    """The last `count` lines of `text`, newlines included; a line that is not finished counts."""
    if count <= 0:
        return b""
    begin = len(text) - (1 if text.endswith(b"\n") else 0)
    for _ in range(count):
        begin = text.rfind(b"\n", 0, begin)
        if begin < 0:
            return text
    return text[begin + 1 :]


class LineSplitter:
    """Bytes in, whole lines out; the rest waits for its newline."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace") for line in whole]

    def end(self) -> list[str]:
        rest, self._rest = self._rest, b""
        return [rest.decode(errors="replace")] if rest else []


class _Reader:
    def __init__(self, session: Session, chosen: tuple[Chosen, ...], tail: int) -> None:
        self._session = session
        self._chosen = chosen
        self._tail = tail
        self._print_lock = threading.Lock()

    def known(self, client: Client) -> list[str]:
        from control_plane.cli.client import OWN

        listed: list[dict[str, Any]] = client.get(f"{OWN}/instances")["instances"]
        return [str(item["instance_id"]) for item in listed if belongs(item, self._chosen)]

    def last_lines(self, client: Client, name: str, *, alone: bool) -> list[str]:
        """The last lines of one instance. One that is gone has none, unless it was asked for by name."""
        try:
            kept = self._tail_of(client, name)
        except ServerError as error:
            if alone or error.status != 404:
                raise
            return []
        return kept.decode(errors="replace").splitlines()

    def follow(self, only: str | None) -> None:
        """Follow `only`, or every instance there is and every one that comes. Ends by Ctrl-C, or with `only`."""
        if only is not None:
            with self._session.client() as client:
                self._stream(client, only, "")
            return
        begun: set[str] = set()
        failures: list[CliError] = []
        with self._session.client() as client:
            while not failures:
                for name in self.known(client):
                    if name not in begun:
                        begun.add(name)
                        threading.Thread(target=self._stream_in_thread, args=(name, failures), daemon=True).start()
                time.sleep(_LOOK_AGAIN_S)
        raise Failed(str(failures[0]))

    def _stream_in_thread(self, name: str, failures: list[CliError]) -> None:
        try:
            with self._session.client() as client:
                self._stream(client, name, f"{name} ")
        except ServerError as error:
            if error.status != 404:  # gone between the listing and now
                failures.append(error)
        except CliError as error:
            failures.append(error)

    def _stream(self, client: Client, name: str, prefix: str) -> None:
        # The size of the last lines is asked first, so that the stream can begin with them and miss nothing after.
        tail_bytes = len(self._tail_of(client, name))
        lines = LineSplitter()
        query = {"tail_bytes": str(tail_bytes), "follow": "true"}
        with client.stream(log_path(name), query) as chunks:
            for chunk in chunks:
                self._print(lines.feed(chunk), prefix)
        self._print(lines.end(), prefix)

    def _tail_of(self, client: Client, name: str) -> bytes:
        if self._tail == 0:
            return b""
        query = {"tail_bytes": str(TAIL_BYTES_MAX), "follow": "false"}
        return last_lines(client.send("GET", log_path(name), query=query).content, self._tail)

    def _print(self, lines: list[str], prefix: str) -> None:
        output: Output = self._session.output
        with self._print_lock:
            for line in lines:
                output.line(f"{prefix}{line}")


def log_path(instance_id: str) -> str:
    from control_plane.cli.client import OWN

    return f"{OWN}/instances/{quote(instance_id, safe='')}/logs"
