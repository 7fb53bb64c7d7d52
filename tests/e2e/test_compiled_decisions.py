"""The build decides as its sources do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from runtime.compiled import DECISIONS, SWITCH

STEPS = 200  # of each kind of policy


def decided(switch: str) -> list[str]:
    command = [sys.executable, "-m", "tests.support.decisions", str(STEPS)]
    environment = os.environ | {SWITCH: switch}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.skipif(not DECISIONS.folder().is_dir(), reason="no build: scripts/compile found no C compiler")
def test_the_build_decides_as_its_sources_do_to_the_last_digit() -> None:
    built, sources = decided("1"), decided("0")
    assert (built[0], sources[0]) == ("compiled=True", "compiled=False")
    assert len(sources) > 10 * STEPS
    assert built[1:] == sources[1:]
    assert "False" not in sources  # what a memory is, it is again after it was written and read
