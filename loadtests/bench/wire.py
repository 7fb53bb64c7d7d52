"""The two ends of the gateway's benchmark: a backend that does as little as it can, and a load of keep-alive clients.

The load is wrk where it is on PATH: a client in Python takes more of its core than a proxy in C takes of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import httptools
import uvloop

SENT: Final = b'{"text": "hello"}'
ANSWERED: Final = b'[{"label": "ham"}]'

_ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(ANSWERED),
    ANSWERED,
)
# What wrk does for each request of a varied load.
_TRACED: Final = """
local number = 0
function request()
  number = number + 1
  wrk.headers["traceparent"] = string.format("00-%032x-%016x-01", number, number)
  return wrk.format()
end
"""
_UNITS_MS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True, slots=True)
class Load:
    """What makes the load: wrk's program, or "" for the clients in this module."""

    wrk: str

    @classmethod
    def found(cls) -> Load:
        return cls(shutil.which("wrk") or "")

    @property
    def name(self) -> str:
        return "wrk" if self.wrk else "loadtests.bench.wire"


@dataclass(frozen=True, slots=True)
class Seen:
    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int


def measure(
    load: Load,
    port: int,
    path: str,
    connections: int,
    seconds: float,
    core: int,
    body: bytes = SENT,
    *,
    varied: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Seen:
    """Keep this many connections busy for so long, from one core. `varied`: each request has a trace id of its own.

    Raises:
        ValueError: `headers` are given, which only wrk sends, and there is no wrk.
    """
    if load.wrk:
        sent = {"content-type": "application/json", **(headers or {})}
        return _measure_with_wrk(load.wrk, port, path, connections, seconds, core, body, sent, varied=varied)
    if headers:
        raise ValueError(f"headers {dict(headers)!r} are sent by wrk only, which is not installed")
    command = [sys.executable, "-m", "loadtests.bench.wire", "load"]
    command += [str(port), path, str(connections), str(seconds), body.decode(), "varied" if varied else "same"]
    done = subprocess.run(command, check=True, capture_output=True, preexec_fn=lambda: os.sched_setaffinity(0, [core]))
    return Seen(**json.loads(done.stdout))


def _measure_with_wrk(
    program: str,
    port: int,
    path: str,
    connections: int,
    seconds: float,
    core: int,
    body: bytes,
    headers: Mapping[str, str],
    *,
    varied: bool,
) -> Seen:
    with tempfile.NamedTemporaryFile() as sent, tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        sent.write(body)
        sent.flush()
        file.write(f"wrk.method = 'POST'\nwrk.body = io.open('{sent.name}', 'rb'):read('*a')\n")
        file.writelines(f"wrk.headers['{name}'] = '{value}'\n" for name, value in headers.items())
        file.write(_TRACED if varied else "")
        file.flush()
        command = [program, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "-s", file.name]
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{port}{path}"],
            check=True,
            capture_output=True,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, [core]),
        )
    return parse_wrk(done.stdout)


def parse_wrk(text: str) -> Seen:
    """What wrk printed.

    Raises:
        ValueError: something of it is missing.
    """

    def found(pattern: str, default: str | None = None) -> str:
        match = re.search(pattern, text)
        if match is None and default is None:
            raise ValueError(f"wrk did not print {pattern!r}: {text}")
        return match[1] if match is not None else cast(str, default)

    def latency_ms(percent: str) -> float:
        value = found(rf"{percent}%\s+([\d.]+(?:us|ms|s|m))")
        number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", value).groups()  # type: ignore[union-attr]
        return float(number) * _UNITS_MS[unit]

    failed = int(found(r"Non-2xx or 3xx responses: (\d+)", "0"))
    failed += sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", text))
    return Seen(
        requests=int(found(r"(\d+) requests in")),
        requests_per_s=float(found(r"Requests/sec:\s+([\d.]+)")),
        p50_ms=latency_ms("50"),
        p99_ms=latency_ms("99"),
        failed=failed,
    )


# -- the backend -------------------------------------------------------------------------------------------------------


class Backend(asyncio.Protocol):
    """Answers each request with the same bytes."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(_ANSWER)


async def serve_backend(path: str, port: int = 0) -> None:
    """At a unix socket, and at a port too for whoever comes without a proxy."""
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        if port:
            await stack.enter_async_context(await loop.create_server(Backend, "127.0.0.1", port, backlog=1024))
        server = await stack.enter_async_context(await loop.create_unix_server(Backend, path, backlog=1024))
        await server.serve_forever()


# -- the load ----------------------------------------------------------------------------------------------------------


class Visitor(asyncio.Protocol):
    """One connection that sends its next request when the last is answered."""

    def __init__(self, requests: Iterator[bytes], latencies_s: list[float], failures: list[int]) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._requests = requests
        self._latencies_s = latencies_s
        self._failures = failures
        self._sent_at_s = 0.0
        self.stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._latencies_s.append(time.perf_counter() - self._sent_at_s)
        if self._parser.get_status_code() != 200:
            self._failures.append(self._parser.get_status_code())
        if self.stopped:
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self.stopped:
            self._failures.append(0)

    def _send(self) -> None:
        self._sent_at_s = time.perf_counter()
        self._transport.write(next(self._requests))


def _requests(path: str, body: bytes, *, varied: bool) -> Iterator[bytes]:
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    for number in itertools.count():
        trace = f"traceparent: 00-{number:032x}-{number:016x}-01\r\n" if varied else ""
        yield f"{head}{trace}content-length: {len(body)}\r\n\r\n".encode() + body


async def visit(port: int, path: str, connections: int, seconds: float, body: bytes, *, varied: bool) -> Seen:
    loop = asyncio.get_running_loop()
    requests = _requests(path, body, varied=varied)
    latencies_s: list[float] = []
    failures: list[int] = []
    visitors = [
        (await loop.create_connection(lambda: Visitor(requests, latencies_s, failures), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    latencies_s.clear()
    begun_at_s = time.perf_counter()
    await asyncio.sleep(seconds)
    elapsed_s, seen = time.perf_counter() - begun_at_s, list(latencies_s)
    for visitor in visitors:
        visitor.stopped = True
    percentiles = statistics.quantiles(seen, n=100)
    return Seen(len(seen), len(seen) / elapsed_s, percentiles[49] * 1e3, percentiles[98] * 1e3, len(failures))


def main(arguments: list[str]) -> None:
    what, *rest = arguments
    if what == "backend":
        with contextlib.suppress(KeyboardInterrupt):
            uvloop.run(serve_backend(rest[0], *map(int, rest[1:])))
    else:
        port, path, connections, seconds, body, kind = rest
        visiting = visit(int(port), path, int(connections), float(seconds), body.encode(), varied=kind == "varied")
        seen = uvloop.run(visiting)
        print(json.dumps({name: getattr(seen, name) for name in Seen.__slots__}))


if __name__ == "__main__":
    main(sys.argv[1:])
