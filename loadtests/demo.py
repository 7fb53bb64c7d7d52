"""The demo: Stoke on this machine, a burst of requests, and its instances going out and coming back in.

Exit codes: 0 it went as promised; 1 it did not, and what was missing is printed; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from rich.console import Console

from loadtests.engine import IMAGE, EngineFailed, PrivateEngine, put_base_image, running_engine, why_not
from loadtests.live import LiveView
from loadtests.local import LocalStoke, StokeFailed
from loadtests.options import FUNCTION, SERVICE
from loadtests.outcome import Outcome
from loadtests.payload import DATA, trigger_path
from loadtests.run import LoadError, interrupt, parse, run_load
from loadtests.summary import print_summary

ROOT: Final = Path(__file__).resolve().parent.parent
MANIFEST: Final = ROOT / "s.yaml"
DOCKER_SOCKET: Final = Path("/var/run/docker.sock")
PROVISION: Final = Path(__file__).resolve().parent / "demo-provision.json"
PICTURE: Final = DATA / "digits" / "7-0.png"
MINIMUM: Final = 2  # minCapacity of demo-provision.json


@dataclass(frozen=True, slots=True)
class Sample:
    """What the demo deploys. `base` is what its image is built on, "" for one that needs none."""

    function: str
    manifest: Path
    base: str = ""


DIGITS: Final = Sample(FUNCTION, MANIFEST)
CONTAINER: Final = Sample("container", ROOT / "functions/container/s.yaml", IMAGE)

# The policy wants one instance for each 0.5 requests in flight, so its 8 instances from 3.6 on. Users without a pause
# have nearly all their requests in flight, so 8 of them leave room for what the two cores keep in the client.
LOAD: Final = ("--shape", "burst", "--low", "1", "--high", "8", "--duration-s", "40", "--settle-s", "75")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=ROOT / ".stoke/demo", help="folder for Stoke (default: .stoke/demo)"
    )
    parser.add_argument("--report", type=Path, default=ROOT / ".stoke/demo-report", help="folder for the report")
    parser.add_argument("--backend", choices=("process", "docker"), default="process", help="what instances run as")
    parser.add_argument(
        "--engine",
        default="",
        metavar="unix://PATH",
        help="the container engine (default: the machine's, else one of its own)",
    )
    options = parser.parse_args(arguments)
    console = Console()
    try:
        with ExitStack() as entered:
            sample, more = DIGITS, tuple[str, ...]()
            if options.backend == "docker":
                sample, more = CONTAINER, entered.enter_context(container_engine(options.engine, console))
            stoke = entered.enter_context(LocalStoke(options.data, "127.0.0.1:0", "--backend", options.backend, *more))
            if sample.base:
                build(stoke, sample, more, console)
            missing = demonstrate(stoke, options.report, console, sample=sample)
    except (StokeFailed, EngineFailed, LoadError, httpx.HTTPError) as error:
        missing = [str(error)]
    except KeyboardInterrupt:
        console.print("stopped; Stoke is down")
        return 130
    for what in missing:
        console.print(f"not as promised: {what}", style="bold red", markup=False, highlight=False)
    return 1 if missing else 0


@contextmanager
def container_engine(engine: str, console: Console) -> Iterator[tuple[str, ...]]:
    """Options of `stoke up` for the engine that is named, the machine's own, or one for the demo alone.

    Raises EngineFailed when none can be had.
    """
    if not engine and not DOCKER_SOCKET.is_socket():
        if why := why_not():
            raise EngineFailed(f"no engine answers at {DOCKER_SOCKET}, and none can be started for the demo: {why}")
        _say(console, "an engine of the demo's own, in a network of its own")
        with running_engine() as own, own.network():
            yield ("--engine", f"unix://{own.socket}")
        return
    socket = Path((engine or str(DOCKER_SOCKET)).removeprefix("unix://"))
    with PrivateEngine(socket, Path()).http() as client:
        put_base_image(client)
    yield ("--engine", f"unix://{socket}")


def build(stoke: LocalStoke, sample: Sample, engine: Sequence[str], console: Console) -> None:
    """The sample's image, of a base that needs no registry."""
    words = ("build", "-t", str(sample.manifest), *engine, "--build-arg", f"BASE={sample.base}")
    _say(console, f"stoke build -t {sample.manifest.relative_to(ROOT)} --build-arg BASE={sample.base}")
    console.print(stoke.stoke(*words).rstrip(), markup=False, highlight=False)


def demonstrate(
    stoke: LocalStoke,
    report_folder: Path,
    console: Console,
    load_arguments: Sequence[str] = LOAD,
    *,
    sample: Sample = DIGITS,
) -> list[str]:
    """Deploy, provision, ask once, burst; gives what was not as promised."""
    _say(console, "Stoke serves", stoke.endpoint)
    _say(console, f"stoke deploy -t {sample.manifest.relative_to(ROOT)} -y")
    console.print(stoke.stoke("deploy", "-t", str(sample.manifest), "-y").rstrip(), markup=False, highlight=False)
    _say(console, "stoke provision put --config loadtests/demo-provision.json --qualifier LATEST")
    names = ("--service-name", SERVICE, "--function-name", sample.function)
    put = ("provision", "put", "--config", str(PROVISION), "--qualifier", "LATEST", "-t", str(sample.manifest), *names)
    console.print(stoke.stoke(*put).rstrip(), markup=False, highlight=False)
    ask_once(stoke.endpoint, console, sample.function)
    _say(console, "a burst: from 1 user to 8, and back to 1")
    where = ["--endpoint", stoke.endpoint, "--data", str(stoke.data), "--report", str(report_folder)]
    load = parse([*where, "--function", sample.function, "--title", "Stoke demo", *load_arguments])
    with LiveView(console) as view:
        report = run_load(load, view)
    console.print()
    print_summary(console, report)
    return not_as_promised(report.outcome)


def ask_once(endpoint: str, console: Console, function: str = FUNCTION) -> None:
    """One picture to the trigger, as curl would send it."""
    url = endpoint + trigger_path(SERVICE, function)
    _say(console, f"curl -H 'Content-Type: image/png' --data-binary @{PICTURE.relative_to(ROOT)} {url}")
    picture = PICTURE.read_bytes()
    answer = httpx.post(url, content=picture, headers={"Content-Type": "image/png"}, timeout=30.0, trust_env=False)
    answer.raise_for_status()
    console.print(answer.text.strip(), markup=False, highlight=False, soft_wrap=True)


def not_as_promised(outcome: Outcome) -> list[str]:
    """What a demo run must show: nothing failed, the fleet grew, and it came back."""
    fleet, missing = outcome.reaction, []
    if outcome.total.failures:
        missing.append(f"{outcome.total.failures} of {outcome.total.requests} requests failed; none should")
    if fleet.instances_peak <= MINIMUM:
        missing.append(f"the fleet had {fleet.instances_peak} instances at most; more than {MINIMUM} were to come")
    elif fleet.back_s is None:
        missing.append(f"the fleet did not come back to {MINIMUM} instances in time")
    return missing


def _say(console: Console, *words: str) -> None:
    console.print("\n▶ " + " ".join(words), style="bold", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    sys.exit(main())
