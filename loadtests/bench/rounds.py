"""What benchmarks of interleaved rounds share: their options, the median of rounds, and where a result goes."""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

Round = TypeVar("Round")  # a dataclass of numbers


def measure_and_write(
    name: str, about: str | None, run: Callable[[int, float], dict[str, object]], arguments: Sequence[str] | None
) -> int:
    """Run with the rounds and seconds asked for; the result is printed and goes to a file as JSON."""
    parser = argparse.ArgumentParser(prog=f"python -m loadtests.bench.{name}", description=about)
    parser.add_argument("--json", type=Path, required=True, help="where to write the result")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds <= 0:
        parser.error(f"--rounds {options.rounds} --seconds {options.seconds:g}: at least 1 round, above 0 s")
    result = run(options.rounds, options.seconds)
    write(result, options.json)
    return 0


def write(result: Mapping[str, object], path: Path) -> None:
    """Print it, and put it into a file, as JSON."""
    text = json.dumps(result, indent=2)
    path.write_text(text + "\n")
    print(text)


def median_of(rounds: Sequence[Round]) -> Round:
    """Field by field."""
    first: Any = rounds[0]
    made: Round = type(first)(
        *(statistics.median(getattr(each, field.name) for each in rounds) for field in dataclasses.fields(first))
    )
    return made
