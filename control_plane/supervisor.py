"""`stoke up`: starts the parts on one machine, starts again what dies, and stops them in order.

Run as `python -m control_plane.supervisor`. Only the standard library is imported: this process lives as long as Stoke
does and should weigh next to nothing. Parts and instances outlive it; a new supervisor adopts what it finds.
"""

from __future__ import annotations

import ctypes
import fcntl
import http.client
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from control_plane.credentials import write_credentials, write_private, write_secret_key
from control_plane.gateways import Gateways
from control_plane.options import Options, parse
from control_plane.parts import Part
from runtime import short_folder, store
from runtime.processes import host_id, start_time

log = logging.getLogger("stoke")

PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h
READY_TIMEOUT_S = 30.0
_LONGEST_SOCKET: Final = "control-plane.sock"
STOP_TIMEOUT_S = 45.0  # the gateway may finish requests for 30 s


class Supervisor:
    """The parts of one Stoke on one machine."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.data = options.data
        self.run_dir = self.data / "run"
        self._stopping = False
        for folder in (self.run_dir, self.data / "logs", self.data / "store", self.data / "instances"):
            folder.mkdir(parents=True, exist_ok=True)
        self.data.chmod(0o700)
        self._lock = self._take_lock()
        fits = short_folder.fits(self.run_dir / _LONGEST_SOCKET)
        self._sockets = self.run_dir if fits else short_folder.make(self.run_dir)
        port = options.port or self._of_before()[0]
        self.gateways = Gateways(options.host, port, options.gateways, self.run_dir, self.data / "logs")
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.parts: dict[str, Part] = {}

    # -- the way up -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start or adopt every part; returns when the API answers. Raises TimeoutError, naming the part's log."""
        # First of all: an address that cannot be had leaves everything as it was. A gateway that listens elsewhere than
        # asked, or shares with others than asked, is not adopted.
        adoptable = (
            self._of_before() == (self.gateways.port, self.options.gateways) and self._tls() == self._tls_of_before()
        )
        self.gateways.open(adoptable=adoptable, stop_timeout_s=STOP_TIMEOUT_S)
        write_credentials(self.data / "credentials.json")
        write_secret_key(self.data / "secret.key")
        store_url = self.options.store or f"unix://{self._sockets / 'store.sock'}"
        if not self.options.store:
            self._begin("store", self._store_command())
            self._await(lambda: can_connect(self._sockets / "store.sock"), "store")
        python = [sys.executable, "-m"]
        control_plane = self._sockets / "control-plane.sock"
        node = self._sockets / "node.sock"
        gpu = ["--simulated-gpu", self.options.simulated_gpu] if self.options.simulated_gpu else []
        if self.options.backend != "kubernetes":
            self._begin(
                "node",
                [
                    *python, "runtime.node", "--data", str(self.data), "--socket", str(node), "--name", "local", *gpu,
                    *self._engine_arguments(),
                ],
            )  # fmt: skip
        self._begin("control-plane", [
            *python, "control_plane", "--data", str(self.data), "--store", store_url,
            "--socket", str(control_plane), "--node", f"unix:{node}", "--public-url", self.public_url,
            *self.options.cluster_arguments(),
        ])  # fmt: skip
        for name in self.gateways.names:
            self._begin(name, self._gateway_arguments(name, store_url, control_plane))
        self._await(self._serves, self.gateways.names[0])
        self._write_stoke_json(store_url, control_plane, node)

    @property
    def endpoint(self) -> str:
        """Where this machine reaches it: of all its addresses, the loopback one."""
        host, port = self._near_host, self.gateways.port
        scheme = "https" if self.options.tls_certificate else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    @property
    def _near_host(self) -> str:
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.options.host, self.options.host)  # noqa: S104 (nothing is bound here)

    @property
    def public_url(self) -> str:
        return self.options.public_url or self.endpoint

    def _store_command(self) -> list[str]:
        server = store.find_server()
        if server is None:
            raise FileNotFoundError("no valkey-server or redis-server was found")
        return [*server, *store.arguments(self.data / "store", self._sockets / "store.sock")]

    def _engine_arguments(self) -> list[str]:
        engine = ["--engine", self.options.engine] if self.options.engine else []
        return ["--backend", self.options.backend, *engine]

    def _gateway_arguments(self, name: str, store_url: str, control_plane: Path) -> list[str]:
        return [
            sys.executable, "-m", "runtime.gateway", "--store", store_url, "--control-plane", f"unix:{control_plane}",
            "--data", str(self.data), *self.gateways.arguments(name, self._sockets), *self._tls_arguments(),
        ]  # fmt: skip

    def _tls_arguments(self) -> list[str]:
        options = self.options
        if not options.tls_certificate:
            return []
        return ["--tls-certificate", options.tls_certificate, "--tls-key", options.tls_key]

    def _begin(self, name: str, arguments: list[str]) -> None:
        fds = [self.gateways.listen(name)] if self.gateways.has_socket(name) else []
        part = Part(name, arguments, self.run_dir, self.data / "logs" / f"{name}.log", pass_fds=fds)
        self.parts[name] = part
        if part.adopt():
            log.info("part.adopted part=%s pid=%d", name, part.pid)
        else:
            part.start()
            log.info("part.started part=%s pid=%d", name, part.pid)

    def _await(self, condition: Callable[[], bool], name: str) -> None:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not condition():
            if self._stopping:
                raise KeyboardInterrupt
            if time.monotonic() > deadline_s:
                raise TimeoutError(
                    f"{name} did not become ready within {READY_TIMEOUT_S:g} s; see {self.parts[name].log_path}"
                )
            self._turn(0.02)

    def _serves(self) -> bool:
        connection = self._connection()
        try:
            connection.request("GET", "/stoke/v1/status")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if not self.options.tls_certificate:
            return http.client.HTTPConnection(self._near_host, self.gateways.port, timeout=2.0)
        import ssl  # which a supervisor without TLS does without

        # Whether it answers is the question, not who it is: the socket is our own.
        context = ssl._create_unverified_context()  # noqa: S323
        return http.client.HTTPSConnection(self._near_host, self.gateways.port, timeout=2.0, context=context)

    def _write_stoke_json(self, store_url: str, control_plane: Path, node: Path) -> None:
        values = {
            "endpoint": self.endpoint,
            "store": store_url,
            "control_plane_socket": str(control_plane),
            "node_socket": str(node),
            "pid": os.getpid(),
            "start_time": start_time(os.getpid()),
            "host": host_id(),
            **self._tls(),
            "gateways": self.options.gateways,
        }
        write_private(self.data / "stoke.json", json.dumps(values, indent=2))

    def _of_before(self) -> tuple[int, int]:
        """The port and the number of gateways of the last time, which adopted ones still have; (0, 0) when Stoke was
        stopped in order."""
        try:
            values = json.loads((self.data / "stoke.json").read_text())
            return int(values["endpoint"].rpartition(":")[2]), int(values.get("gateways", 1))
        except (OSError, ValueError, KeyError, TypeError):
            return 0, 0

    def _tls(self) -> dict[str, str]:
        """The files, as `stoke.json` has them; empty without TLS."""
        options = self.options
        if not options.tls_certificate:
            return {}
        return {"tls_certificate": options.tls_certificate, "tls_key": options.tls_key}

    def _tls_of_before(self) -> dict[str, str]:
        try:
            before = json.loads((self.data / "stoke.json").read_text())
            return {name: str(before[name]) for name in ("tls_certificate", "tls_key") if name in before}
        except (OSError, ValueError, TypeError):
            return {}

    def _take_lock(self) -> int:
        """One supervisor a data folder. Raises BlockingIOError where another one runs."""
        lock = os.open(self.run_dir / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"Stoke already runs on {self.data}; `stoke status` tells, `stoke down` stops it"
            ) from None
        return lock

    # -- staying up -------------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Start again what dies, until asked to stop."""
        while not self._stopping:
            self._turn(None)

    def _turn(self, timeout_s: float | None) -> None:
        """Wait for the next thing to happen, `timeout_s` at most, and see to it."""
        now = time.monotonic()
        waits = [part.start_again_at_s - now for part in self.parts.values() if not part.is_running]
        if timeout_s is not None:
            waits.append(timeout_s)
        by_fd = {part.pidfd: part for part in self.parts.values() if part.is_running}
        poll = select.poll()
        for fd in (*by_fd, self._wake_read):
            poll.register(fd, select.POLLIN)
        for fd, _event in poll.poll(max(0.0, min(waits)) * 1000.0 if waits else None):
            if fd in by_fd:
                part = by_fd[fd]
                log.warning("part.ended part=%s pid=%d how=%s", part.name, part.pid, part.ended())
            else:
                os.read(self._wake_read, 4096)
        self._reap_orphans()
        for part in self.parts.values():
            if not part.is_running and not self._stopping and time.monotonic() >= part.start_again_at_s:
                self._start_again(part)

    def _start_again(self, part: Part) -> None:
        if part.name in self.gateways.names and not self.gateways.has_socket(part.name):
            # An adopted gateway had its own socket; from now on it is ours.
            part.pass_fds = [self.gateways.listen(part.name)]
            at = list(part.arguments).index("--listen")
            listening = self.gateways.arguments(part.name, self._sockets)
            part.arguments = [*part.arguments[:at], *listening]
        part.start()
        log.info("part.started part=%s pid=%d", part.name, part.pid)

    def _reap_orphans(self) -> None:
        """Instances whose zygote is gone are ours by inheritance (PR_SET_CHILD_SUBREAPER); their ends are collected."""
        ours = {part.pid for part in self.parts.values() if part.is_running}
        while True:
            try:
                info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if info is None or info.si_pid in ours:
                return
            os.waitpid(info.si_pid, os.WNOHANG)

    # -- the way down -----------------------------------------------------------------------------------------------

    def read_certificate_again(self) -> None:
        """Tell the gateway. May be called from a signal handler."""
        for part in self.parts.values():
            if part.name.startswith("gateway") and part.is_running:
                part.signal(signal.SIGHUP)

    def ask_to_stop(self) -> None:
        """May be called from a signal handler."""
        self._stopping = True
        os.write(self._wake_write, b"x")

    def stop(self) -> None:
        """Stop in order: nobody relaunches, nobody new comes in, instances end, then the store."""
        self._stopping = True
        self._stop_part("control-plane")
        for name in self.gateways.names:  # all are told before any is waited for
            if part := self.parts.get(name):
                part.signal(signal.SIGTERM)
        for name in self.gateways.names:
            self._stop_part(name)
        if (node := self.parts.get("node")) and node.is_running:
            self._stop_instances()
        if self.options.backend == "kubernetes" and "control-plane" in self.parts:
            self._stop_pods()
        for name in ("node", "store"):
            self._stop_part(name)
        self._clear_sockets()
        (self.data / "stoke.json").unlink(missing_ok=True)

    def _clear_sockets(self) -> None:
        """Of parts that have ended, however they did. Until this process has, its lock keeps others from making any."""
        for part in self.parts.values():
            if not part.is_running:
                (self._sockets / f"{part.name}.sock").unlink(missing_ok=True)
        short_folder.remove(self.run_dir)

    def _stop_part(self, name: str) -> None:
        part = self.parts.get(name)
        if part is None or not part.is_running:
            return
        part.signal(signal.SIGTERM)
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        while part.is_running and time.monotonic() < deadline_s:
            self._turn(0.2)
        if part.is_running:
            log.warning("part.killed part=%s after_s=%g", name, STOP_TIMEOUT_S)
            part.signal(signal.SIGKILL)
            self._turn(5.0)

    def _stop_instances(self) -> None:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(STOP_TIMEOUT_S)
                connection.connect(str(self._sockets / "node.sock"))
                connection.sendall(b'{"id":1,"op":"shutdown","grace_s":10.0}\n')
                connection.makefile("rb").readline()
        except OSError as error:
            log.warning("instances.not_stopped error=%s", error)

    def _stop_pods(self) -> None:
        """By a process of its own: what speaks to a cluster is too heavy to be carried along here."""
        store_url = self.options.store or f"unix://{self._sockets / 'store.sock'}"
        command = [
            sys.executable, "-m", "control_plane.backends.kubernetes.sweep", "--store", store_url,
            *self.options.cluster_arguments(),
        ]  # fmt: skip
        try:
            subprocess.run(command, timeout=STOP_TIMEOUT_S, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            log.warning("instances.not_stopped error=%s", error)


# -- small helpers ----------------------------------------------------------------------------------------------------


def can_connect(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def become_subreaper() -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or Ctrl-C. Exit code 0 after an orderly stop, 1 when it could not start."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    options = parse(sys.argv[1:] if arguments is None else arguments)
    become_subreaper()
    try:
        supervisor = Supervisor(options)
    except OSError as error:
        print(f"stoke up: {error.strerror or error}", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.ask_to_stop())
    if options.tls_certificate:
        signal.signal(signal.SIGHUP, lambda *_: supervisor.read_certificate_again())
    failure = ""
    try:
        supervisor.start()
        print(f"endpoint: {supervisor.endpoint}", flush=True)
        supervisor.watch()
    except (OSError, TimeoutError) as error:
        failure = f"stoke up: {error.strerror if isinstance(error, OSError) and error.strerror else error}"
    except KeyboardInterrupt:
        failure = "stoke up: stopped before it served"
    supervisor.stop()
    if failure:
        print(failure, file=sys.stderr)
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
