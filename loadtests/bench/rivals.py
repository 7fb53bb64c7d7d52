"""The proxies that are compared, each in front of the same backend, on a core of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis

from loadtests.bench.written import instance_of, routes_of
from runtime.contract import (
    INSTANCES_KEY,
    ROUTES_KEY,
    Kind,
)
from runtime.store import arguments as store_arguments
from runtime.store import find_server

PROXY_CORE: Final = 0
LOAD_CORE: Final = 1
PATH: Final = "/2016-08-15/proxy/bench/echo/"
CONNECTIONS: Final = 32
START_TIMEOUT_S: Final = 10.0

NGINX_CONFIGURATION: Final = """
daemon off;
{user}
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream backend {{ server unix:{backend}; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port};
        keepalive_requests 1000000000;
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            {more}
        }}
{beside}
    }}
}}
"""

NGINX_LOCATION: Final = """
        location {path} {{
            proxy_pass http://unix:{backend}:{path};
            {more}
        }}
"""


HAPROXY_CONFIGURATION: Final = """
global
    nbthread 1
    maxconn 1024
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option http-keep-alive
    http-reuse always
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    server one unix@{backend} pool-max-conn 64
"""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that runs: where it listens, and the process whose processor time counts."""

    name: str
    port: int
    pid: int


# -- the proxies -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def start_gateway(directory: Path, backend: Path, functions: int = 1) -> Iterator[Proxy]:
    """A gateway with a store of its own, in which the backend is an instance with a slot for each connection.

    Beside the function that is asked for, there are others, so that there are `functions` in all.
    """
    server = find_server()
    if server is None:
        raise SystemExit("no valkey-server or redis-server on this machine: the gateway needs one")
    socket_path = directory / "store.sock"
    with running([*server, *store_arguments(directory, socket_path)], LOAD_CORE):
        wait_for(socket_path.exists, "the store")
        url = f"unix://{socket_path}"
        _write_routes(url, backend, functions)
        command = [sys.executable, "-m", "runtime.gateway", "--listen", "127.0.0.1:0", "--store", url]
        command += ["--control-plane", f"unix:{directory}/none.sock", "--data", str(directory)]
        log = directory / "gateway.log"
        with running(command, PROXY_CORE, log) as process:
            wait_for(lambda: all(word in log.read_text() for word in ("feed-loaded", "port=")), "the gateway")
            port = int(log.read_text().split("port=")[1].split()[0])
            yield Proxy("gateway", port, process.pid)


def find_program(name: str) -> str | None:
    """A server's program: Debian keeps them out of a user's PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextlib.contextmanager
def start_nginx(
    program: str, directory: Path, backend: Path, more: str = "", beside: Mapping[str, Path] | None = None
) -> Iterator[Proxy]:
    """`more` are directives for where it proxies; `beside`, backends that answer what begins with a path."""
    port = free_port()
    configuration = directory / "nginx.conf"
    # Started by root, a worker becomes another user, who may not enter this directory.
    user = "user root;" if os.geteuid() == 0 else ""
    text = textwrap.dedent(NGINX_CONFIGURATION)
    locations = [NGINX_LOCATION.format(path=path, backend=each, more=more) for path, each in (beside or {}).items()]
    text = text.format(directory=directory, backend=backend, port=port, user=user, more=more, beside="".join(locations))
    configuration.write_text(text)
    with running([program, "-c", str(configuration), "-e", str(directory / "nginx.log")], PROXY_CORE) as process:
        wait_for(lambda: _children(process.pid) != [], "nginx")
        [worker] = _children(process.pid)
        yield Proxy("nginx", port, worker)


@contextlib.contextmanager
def start_haproxy(program: str, directory: Path, backend: Path) -> Iterator[Proxy]:
    port = free_port()
    configuration = directory / "haproxy.cfg"
    configuration.write_text(textwrap.dedent(HAPROXY_CONFIGURATION).format(backend=backend, port=port))
    with running([program, "-db", "-f", str(configuration)], PROXY_CORE) as process:
        wait_for(lambda: accepts(port), "haproxy")
        yield Proxy("haproxy", port, process.pid)


def free_port() -> int:
    """One that nothing listens at this instant."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


def _write_routes(url: str, backend: Path, functions: int) -> None:
    routes: dict[str, str] = {}
    for name in ("echo", *(f"other-{number}" for number in range(1, functions))):
        routes |= routes_of(name, instance_concurrency=2 * CONNECTIONS)
    instance = instance_of("echo", "i-1", f"unix:{backend}", 2 * CONNECTIONS, Kind.PROVISIONED)
    with redis.Redis.from_url(url) as store:
        store.hset(ROUTES_KEY, mapping=routes)
        store.hset(INSTANCES_KEY, "i-1", instance)


# -- processes ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def running(command: list[str], core: int, log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Runs on one core while the context lasts, with everything it starts."""
    with open(log or os.devnull, "wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, preexec_fn=lambda: os.sched_setaffinity(0, [core])
        )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5.0)
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = START_TIMEOUT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not start within {timeout_s:g} s")
        time.sleep(0.02)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu_s(pid: int) -> float:
    """User and system time of a process so far (proc(5), stat, fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
