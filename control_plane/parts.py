"""One supervised process: start it, find it again, notice its end, stop it. Standard library only, to stay small."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runtime.processes import start_time

RESTART_WAITS_S = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
HEALTHY_AFTER_S = 10.0  # a part that lived this long starts again at once
LOG_BYTES_MAX = 16 * 1024 * 1024


@dataclass(slots=True)
class Part:
    """A process under supervision. `pid` is 0 while it does not run."""

    name: str
    arguments: Sequence[str]
    run_dir: Path
    log_path: Path
    pass_fds: Sequence[int] = ()
    pid: int = 0
    pidfd: int = -1
    started_at_s: float = 0.0  # monotonic
    failures: int = 0
    start_again_at_s: float = 0.0  # monotonic
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def _pid_path(self) -> Path:
        return self.run_dir / f"{self.name}.pid.json"

    @property
    def is_running(self) -> bool:
        return self.pid != 0

    def adopt(self) -> bool:
        """Take over the process that an earlier supervisor has left, if it lives."""
        try:
            record = json.loads(self._pid_path.read_text())
            pid, began = int(record["pid"]), int(record["start_time"])
        except (OSError, ValueError, KeyError, TypeError):
            return False
        if not began or start_time(pid) != began:
            return False
        try:
            self.pidfd = os.pidfd_open(pid)
        except OSError:
            return False
        self.pid, self.started_at_s = pid, time.monotonic()
        return True

    def start(self) -> None:
        """Start the process, its output appended to its log."""
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_BYTES_MAX:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        with self.log_path.open("ab") as output:
            self._child = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=self.pass_fds,
                start_new_session=True,  # a Ctrl-C at the terminal is the supervisor's to handle
            )
        self.pid = self._child.pid
        self.pidfd = os.pidfd_open(self.pid)
        self.started_at_s = time.monotonic()
        record = json.dumps({"pid": self.pid, "start_time": start_time(self.pid), "part": self.name})
        partial = self._pid_path.with_suffix(".tmp")
        partial.write_text(record)
        partial.replace(self._pid_path)

    def ended(self) -> str:
        """Note that the process is gone, and when to start it again; gives how it ended, in words."""
        code: int | None = None
        if self._child is not None:
            code = self._child.wait()
        os.close(self.pidfd)
        lived_s = time.monotonic() - self.started_at_s
        self.failures = 0 if lived_s >= HEALTHY_AFTER_S else self.failures + 1
        wait_s = RESTART_WAITS_S[min(max(0, self.failures - 1), len(RESTART_WAITS_S) - 1)]
        self.start_again_at_s = time.monotonic() + wait_s
        self.pid, self.pidfd, self._child = 0, -1, None
        if code is None:
            return "ended"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"

    def signal(self, number: int) -> None:
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)
