"""A process whose lease ended while it stood still does nothing more when it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from runtime.gateway.tenure import EXIT_STATUS

# A loop that is never idle, as one that has answers of instances to read: each round is told.
BUSY = """
import os
from runtime.gateway.lease_term import LeaseTerm
from runtime.gateway.tenure import Tenure, awake_or_asleep_s, end_in_time

term = LeaseTerm("1", 0.5, 0.0)
term.renewed(awake_or_asleep_s(), 0)
end_in_time(Tenure(term, None, None))
while True:
    os.write(1, b".")
"""


def test_a_process_that_stood_still_for_longer_than_its_lease_does_nothing_more() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as busy:
        assert busy.stdout is not None
        assert os.read(busy.stdout.fileno(), 1) == b"."
        busy.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, busy.pid, os.WSTOPPED)
        begun_s = time.monotonic()
        os.set_blocking(busy.stdout.fileno(), False)
        while time.monotonic() - begun_s < 0.6 or busy.stdout.read(1 << 20):
            pass  # what it wrote before is read, and the lease runs out
        busy.send_signal(signal.SIGCONT)
        assert busy.wait(10.0) == EXIT_STATUS
        assert not busy.stdout.read()


def test_a_lease_that_runs_out_ends_a_process_whose_loop_hangs() -> None:
    hangs = BUSY.replace('os.write(1, b".")', "pass")
    assert subprocess.run([sys.executable, "-c", hangs], timeout=10.0, check=False).returncode == EXIT_STATUS
