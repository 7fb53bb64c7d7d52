"""The gateway processes of one machine: their names, arguments and listening sockets. Standard library only.

One gateway has the port for itself. Several each have a socket of their own at the same port (SO_REUSEPORT), and the
kernel gives each new connection to one of them by its addresses. All sockets are made and kept by the supervisor: a
gateway that is killed leaves its socket open, so connects to it wait for the one that comes after it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from pathlib import Path

from control_plane.parts import Part

ALONE = "gateway"


def names(count: int) -> list[str]:
    """What the parts are called. One that shares and one that does not are never taken for each other."""
    return [ALONE] if count == 1 else [f"{ALONE}-{number}" for number in range(1, count + 1)]


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening TCP socket that children may inherit; `shared`: others may have the port too. Raises OSError, naming
    host and port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listener


class Gateways:
    """All gateways of one `stoke up`."""

    def __init__(self, host: str, port: int, count: int, run_dir: Path, logs: Path) -> None:
        self.host = host
        self.port = port
        self.names = names(count)
        self._run_dir = run_dir
        self._logs = logs
        self._listeners: dict[str, socket.socket] = {}

    def open(self, *, adoptable: bool, stop_timeout_s: float) -> None:
        """Make the sockets of the gateways that have to be started. Those that live and are not wanted as they are, are
        stopped before: other ones, or all if not `adoptable`. Raises OSError: the address cannot be had."""
        living = [path.name.removesuffix(".pid.json") for path in sorted(self._run_dir.glob(f"{ALONE}*.pid.json"))]
        kept = [
            name for name in living if self._lives(name, keep=adoptable and name in self.names, wait_s=stop_timeout_s)
        ]
        if not kept and len(self.names) > 1:
            # Shared sockets would share the port with another Stoke too: this one finds out whether it is free.
            with listen(self.host, self.port) as probe:
                self.port = probe.getsockname()[1]
        for name in self.names:
            if name not in kept:
                self.listen(name)

    def listen(self, name: str) -> int:
        """The descriptor of a gateway's socket, made when it is first asked for."""
        listener = self._listeners.get(name)
        if listener is None:
            listener = listen(self.host, self.port, shared=len(self.names) > 1)
            self._listeners[name] = listener
            self.port = listener.getsockname()[1]
        return listener.fileno()

    def has_socket(self, name: str) -> bool:
        """Whether its socket is here; that of a gateway that was adopted is with it alone."""
        return name in self._listeners

    def arguments(self, name: str, sockets: Path) -> list[str]:
        """What tells a gateway where it listens, and who else does."""
        listening = (
            ["--listen-fd", str(self.listen(name))]
            if self.has_socket(name)
            else ["--listen", f"{self.host}:{self.port}"]
        )
        if len(self.names) == 1:
            return listening
        number = self.names.index(name) + 1
        return [*listening, "--gateways", str(len(self.names)), "--number", str(number), "--sockets", str(sockets)]

    def _lives(self, name: str, *, keep: bool, wait_s: float) -> bool:
        """Whether an earlier gateway of this name lives and is kept; one that is not is stopped."""
        part = Part(name, [], self._run_dir, self._logs / f"{name}.log")
        if not part.adopt():
            return False
        if not keep:
            part.signal(signal.SIGTERM)
            select.select([part.pidfd], [], [], wait_s)
        os.close(part.pidfd)
        return keep
