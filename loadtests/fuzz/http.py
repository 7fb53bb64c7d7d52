"""Fuzzes the reader of requests with atheris (libFuzzer): `python -m loadtests.fuzz.http [CORPUS] -max_total_time=600`.

Arguments are libFuzzer's. Needs the extra `fuzz`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["runtime.http"]):
    from loadtests.fuzz.reading import differences, read_here


def one(data: bytes) -> None:
    """Two bytes say where it is cut; the rest is what a client sends. An exception is a finding."""
    if len(data) < 2:
        return
    cut, sent = int.from_bytes(data[:2], "big") % len(data), data[2:]
    whole = read_here([sent])
    parts = read_here([sent[:cut], sent[cut:]])
    assert whole == parts, f"cut at {cut}: {parts}, not {whole}"
    found = differences(sent)
    assert not found, found


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
