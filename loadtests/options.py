"""The options that say what load to make: the same for `loadtests.run`, the demo and the Locust file underneath."""

from __future__ import annotations

import argparse
from typing import Final, Protocol

from loadtests.shapes import SHAPES, check

# The sample deployment, s.yaml in the repository's root.
SERVICE: Final = "samples"
FUNCTION: Final = "digits"

STOP_TIMEOUT_S: Final = 30  # a user that is told to go first gets its answer, so no request is cut off by the test


class LoadOptions(Protocol):
    """What `add_load_options` puts into an argparse namespace."""

    service: str
    function: str
    qualifier: str
    path: str
    method: str
    body_file: str
    content_type: str
    shape: str
    low: int
    high: int
    duration_s: float
    pacing_s: float
    timeout_s: float


def add_load_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("Which trigger")
    what.add_argument("--service", default=SERVICE, help=f"service of the function (default: {SERVICE})")
    what.add_argument("--function", default=FUNCTION, help=f"function to load (default: {FUNCTION})")
    what.add_argument("--qualifier", default="LATEST", help="version or alias (default: LATEST)")
    what.add_argument("--path", default="", help="path on the endpoint, in place of the function's trigger")
    what.add_argument("--method", default="", help="HTTP method (default: POST with a body, else GET)")
    what.add_argument("--body-file", default="", help="file whose bytes are sent (default: the sample's own data)")
    what.add_argument("--content-type", default="", help="of the body (default: by the file's name)")
    load = parser.add_argument_group("How much load")
    load.add_argument("--shape", default="steady", choices=SHAPES, help="users over time (default: steady)")
    load.add_argument("--low", type=int, default=1, help="users when the shape is at its lowest (default: 1)")
    load.add_argument("--high", type=int, default=6, help="users when the shape is at its highest (default: 6)")
    load.add_argument("--duration-s", type=float, default=40.0, help="how long, in seconds (default: 40)")
    load.add_argument("--pacing-s", type=float, default=0.0, help="seconds between two requests of a user (default: 0)")
    load.add_argument("--timeout-s", type=float, default=60.0, help="longest wait for one answer (default: 60)")


def check_load_options(options: LoadOptions) -> None:
    """Raises ValueError naming the option, its value and what is allowed."""
    check(options.shape, low=options.low, high=options.high, duration_s=options.duration_s)
    if options.pacing_s < 0:
        raise ValueError(f"pacing-s: {options.pacing_s}; 0 or more are allowed")
    if options.timeout_s <= 0:
        raise ValueError(f"timeout-s: {options.timeout_s}; more than 0 is allowed")


def load_arguments(options: LoadOptions) -> list[str]:
    """The options as command-line arguments again, to hand them to Locust."""
    names = LoadOptions.__annotations__
    return [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in names]
