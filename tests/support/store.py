"""A private store server for tests: the same program and arguments as `stoke up` uses, in a folder of its own."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from pathlib import Path
from shutil import rmtree
from types import TracebackType
from typing import Self

import redis

from runtime.store import arguments, find_server

START_TIMEOUT_S = 10.0


class PrivateStore:
    """Starts on entry, is killed on exit. `kill()` and `start()` in between show what outlives a crash."""

    def __init__(self) -> None:
        # pytest's folders have long names, a unix socket's path may not: so a short folder of its own.
        self.directory = Path(tempfile.mkdtemp(prefix="stoke-"))
        self.socket_path = self.directory / "s.sock"
        self.url = f"unix://{self.socket_path}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when the server answers, with everything it had written loaded."""
        server = find_server()
        if server is None:
            raise RuntimeError("no valkey-server or redis-server on this machine")
        command = [*server, *arguments(self.directory, self.socket_path)]
        with open(self.directory / "store.log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait_until_it_answers(self._process)

    def kill(self) -> None:
        """kill -9, as a power cut would do."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
        self.socket_path.unlink(missing_ok=True)

    def flush(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError((self.directory / "store.log").read_text()) from None
                    time.sleep(0.01)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        rmtree(self.directory, ignore_errors=True)
