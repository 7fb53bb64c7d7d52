"""The processes of a suggestion: they end with the one that asked, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from runtime.processes import start_time
from tests.support.stoke import ROOT

# One try in a process beside this one, whose id is printed; then it waits to be killed.
ASKING = """
import multiprocessing, time
from loadtests.simulator.candidates import Wanted, statics
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.trace import trace_of
from loadtests.simulator.trial import Trial, Trials, Workers

if __name__ == "__main__":
    whole = Trial(trace_of("few", [(float(n), None) for n in range(30)]), Scenario(), 20.0)
    with Workers(Trials(whole, whole, Wanted(1.0, 0.9, 2)), 2, lambda *_: None) as workers:
        workers.tries(statics(0))
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        time.sleep(600.0)
"""


def test_a_suggestion_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    script = tmp_path / "asking.py"
    script.write_text(ASKING)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment) as asking:
        assert asking.stdout is not None
        workers = [int(pid) for pid in asking.stdout.readline().split()]
        began = {pid: start_time(pid) for pid in workers}
        assert workers
        asking.send_signal(signal.SIGKILL)
    deadline_s = time.monotonic() + 10.0
    while (left := [pid for pid in workers if 0 < start_time(pid) == began[pid]]) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
