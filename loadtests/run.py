"""Runs a load test: Locust as a subprocess, the watcher beside it, a report afterwards (`python -m loadtests.run`).

Exit codes: 0 all requests were answered; 1 some failed; 2 an option is wrong; 3 the load could not be made at all.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from control_plane.cli.endpoint import data_folder, find_credentials
from loadtests.live import LiveView, Progress, View
from loadtests.options import STOP_TIMEOUT_S, add_load_options, check_load_options, load_arguments
from loadtests.outcome import instances_before
from loadtests.payload import payload
from loadtests.report import Report, write_report
from loadtests.spans import RecordReader, SpanLog, total
from loadtests.summary import print_summary
from loadtests.timeline import Timeline
from loadtests.watch import Watched, Watcher

LOCUSTFILE: Final = Path(__file__).resolve().parent / "locustfile.py"
LOOK_EVERY_S: Final = 0.25
START_TIMEOUT_S: Final = 30.0  # for Locust's import and first user
LOG_TAIL_BYTES: Final = 2000


class LoadError(Exception):
    """The load could not be made: Locust failed or hung, or no request was sent."""


def main(arguments: list[str] | None = None) -> int:
    console = Console()
    options = parse(arguments)
    try:
        with LiveView(console) as view:
            report = run_load(options, view)
    except LoadError as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False)
        return 3
    except KeyboardInterrupt:
        return 130
    print_summary(console, report)
    return 1 if report.outcome.total.failures and not options.allow_failures else 0


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtests.run", description="Load an HTTP trigger and report.")
    parser.add_argument("--endpoint", required=True, help="where Stoke listens: http://HOST:PORT")
    parser.add_argument(
        "--data", type=Path, default=None, help="Stoke's data folder, for its access key (default: as `stoke` has it)"
    )
    parser.add_argument("--report", default=".stoke/report", help="folder for the report (default: .stoke/report)")
    parser.add_argument("--title", default="", help="of the report")
    parser.add_argument("--settle-s", type=float, default=0.0, help="watch on at most so long for the fleet to shrink")
    parser.add_argument("--allow-failures", action="store_true", help="exit with 0 even if requests failed")
    add_load_options(parser)
    return parser


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Ends the program with code 2 and a message when an option is wrong."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        check_load_options(options)
        payload(options)
        if not options.endpoint.startswith(("http://", "https://")):
            raise ValueError(f"endpoint: '{options.endpoint}'; http://HOST:PORT or https://HOST:PORT is allowed")
    except ValueError as error:
        parser.error(str(error))
    return options


def run_load(options: Any, view: View) -> Report:
    """Make the load, watch the fleet, and write the report even when interrupted half-way.

    Raises:
        LoadError: Locust failed, hung, or sent nothing.
        KeyboardInterrupt: the user stopped it; the report on what there was is written.
    """
    folder = Path(options.report)
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "requests.jsonl"
    record.unlink(missing_ok=True)
    # A folder that was named says which Stoke is meant, so its key counts and not one from the environment.
    environment = os.environ if options.data is None else {}
    credentials = find_credentials(data_folder(options.data, environment), environment)
    watched = Watched(options.endpoint, options.service, options.function, options.qualifier, credentials)
    state = _Run(RecordReader(record), SpanLog(), time.monotonic())
    with Watcher(watched) as watcher:
        try:
            with locust(options, record, folder / "locust.log") as process:
                _follow(process, state, watcher.timeline, view, options)
            _settle(state, watcher.timeline, view, options.settle_s)
        finally:
            state.read()
            report = _report(folder, options, state.log, watcher.timeline)
    if report is None or report.outcome.total.requests == 0:
        raise LoadError(f"no request was sent; see {folder / 'locust.log'}")
    return report


@dataclass(slots=True)
class _Run:
    """How far the record was read."""

    reader: RecordReader
    log: SpanLog
    began_s: float  # monotonic
    failures: int = 0

    def read(self) -> None:
        for span in self.reader.read():
            self.log.add(span)
            self.failures += total([span]).failures

    def progress(self, phase: str, timeline: Timeline) -> Progress:
        self.read()
        newest = next(reversed(self.log.spans), None)
        return Progress(phase, time.monotonic() - self.began_s, newest, timeline.latest, self.failures)


@contextlib.contextmanager
def locust(options: Any, record: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Locust, running, and stopped on the way out. In a session of its own, so that a Ctrl-C reaches only us."""
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"]
    command += ["--host", options.endpoint, "--stop-timeout", str(STOP_TIMEOUT_S), "--exit-code-on-error", "0"]
    command += ["--record", str(record), *load_arguments(options)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield process
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _follow(process: subprocess.Popen[bytes], state: _Run, timeline: Timeline, view: View, options: Any) -> None:
    """Show progress until Locust has ended. Raises LoadError when it fails or does not end."""
    deadline_s = time.monotonic() + START_TIMEOUT_S + options.duration_s + STOP_TIMEOUT_S
    while process.poll() is None:
        view.show(state.progress(options.shape, timeline))
        if time.monotonic() > deadline_s:
            raise LoadError(f"Locust did not end within {deadline_s - state.began_s:.0f} s")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_EVERY_S)
    if process.returncode != 0:
        raise LoadError(f"Locust ended with code {process.returncode}: {_tail(Path(options.report) / 'locust.log')}")


def _settle(state: _Run, timeline: Timeline, view: View, settle_s: float) -> None:
    """Watch on, without load, until the fleet is as small as it was before, or the time is over."""
    rose_at_s = next((span.rose_at_s for span in state.log.spans if span.rose_at_s is not None), None)
    deadline_s = time.monotonic() + settle_s
    while time.monotonic() < deadline_s:
        before = instances_before(timeline.samples, rose_at_s)
        fleet = timeline.latest
        if before is None or fleet is None or max(fleet.current, fleet.target) <= before:
            return
        elapsed_s = time.monotonic() - state.began_s
        view.show(Progress("settling", elapsed_s, None, fleet, state.failures))
        time.sleep(LOOK_EVERY_S)


def _report(folder: Path, options: Any, log: SpanLog, timeline: Timeline) -> Report | None:
    if not log.spans:
        return None
    title = options.title or f"{options.service}/{options.function}: {options.shape}"
    run = {
        "endpoint": options.endpoint,
        "qualifier": options.qualifier,
        "shape": options.shape,
        "users": f"{options.low}–{options.high}",
        "duration_s": options.duration_s,
        "pacing_s": options.pacing_s,
    }
    return write_report(folder, title, run, log.spans, timeline)


def _tail(log: Path) -> str:
    return log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()


def interrupt(*_: object) -> None:
    """A signal handler: SIGTERM ends a run as Ctrl-C does, with its report written."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    sys.exit(main())
