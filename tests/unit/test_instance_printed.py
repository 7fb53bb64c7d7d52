"""What an instance prints while nothing can be written."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from runtime.instance import log_tail, printed


@pytest.mark.parametrize("concurrency", [1, 2])
def test_on_a_full_disk_what_is_printed_is_lost_and_printing_goes_on(tmp_path: Path, concurrency: int) -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    kind = log_tail.Tapped if concurrency > 1 else io.TextIOWrapper
    try:
        stream = printed.stream(descriptor, kind)
        print("lost", file=stream, flush=True)
        stream.write("x" * 100_000)
        stream.flush()
        with open(tmp_path / "output", "wb") as file:
            os.dup2(file.fileno(), descriptor)  # there is room again
        print("found", file=stream)
    finally:
        os.close(descriptor)
    assert (tmp_path / "output").read_bytes() == b"found\n"


def test_a_closed_descriptor_is_told_of() -> None:
    stream = printed.stream(os.open(os.devnull, os.O_WRONLY))
    os.close(stream.fileno())
    with pytest.raises(OSError, match="Bad file descriptor"):
        print("x", file=stream)
