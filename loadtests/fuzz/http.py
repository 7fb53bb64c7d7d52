"""Fuzzes all readers of HTTP with atheris (libFuzzer): `python -m loadtests.fuzz.http [CORPUS] -max_total_time=600`.

Arguments are libFuzzer's. Needs the extra `fuzz`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["runtime"]):
    from loadtests.fuzz.targets import one


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
