"""What Stoke weighs: PSS of each part with nothing deployed, and of an idle instance.

PSS (proportional set size) counts a page shared by n processes 1/n to each, so the parts add up to what the machine
really gives. It is read from /proc/PID/smaps_rollup, for each process and everything it has started.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console
from rich.table import Table

from control_plane.cli.endpoint import find_credentials
from control_plane.cli.signed import FcAuth
from loadtests.demo import MANIFEST
from loadtests.local import LocalStoke
from loadtests.options import FUNCTION, SERVICE

SETTLE_S: Final = 5.0  # start-up garbage is given back, and first ticks are over
KIB_PER_MIB: Final = 1024.0


@dataclass(frozen=True, slots=True)
class Weight:
    """Memory of some processes together, in MiB. `private` would come back if they ended; `shared` is in their RSS."""

    pss_mib: float
    private_mib: float
    shared_mib: float
    processes: int


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.footprint", description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--instances", type=int, default=2, help="idle instances to start (default: 2)")
    parser.add_argument(
        "--settle-s", type=float, default=SETTLE_S, help=f"rest before a reading (default: {SETTLE_S:g})"
    )
    options = parser.parse_args(arguments)
    if options.instances < 1:
        parser.error(f"--instances: {options.instances}; 1 or more are allowed")
    with tempfile.TemporaryDirectory(prefix="stoke-footprint-") as folder, LocalStoke(Path(folder)) as stoke:
        found = measure(stoke, options.instances, options.settle_s)
    show(Console(), found)
    if options.json:
        options.json.write_text(json.dumps({k: _plain(v) for k, v in found.items()}, indent=1) + "\n", encoding="utf-8")
    return 0


def measure(stoke: LocalStoke, instances: int, settle_s: float) -> dict[str, dict[str, Weight]]:
    """Two readings: the parts alone, and everything with some idle instances of the digits function."""
    time.sleep(settle_s)
    alone = weigh(parts(stoke), apart=set())
    stoke.stoke("deploy", "-t", str(MANIFEST), "-y")
    names = ("--service-name", SERVICE, "--function-name", FUNCTION)
    stoke.stoke("provision", "put", "--target", str(instances), "-t", str(MANIFEST), *names)
    time.sleep(settle_s)
    pids = instance_pids(stoke)
    return {
        "nothing deployed": alone,
        f"{instances} instances of {FUNCTION}": weigh(parts(stoke), apart=set(pids.values())),
        "each instance": weigh(pids, apart=set()),
    }


def parts(stoke: LocalStoke) -> dict[str, int]:
    """The pid of each part, by name, from the data folder."""
    found = {"supervisor": int(stoke.facts()["pid"])}
    for file in sorted((stoke.data / "run").glob("*.pid.json")):
        found[file.name.removesuffix(".pid.json")] = int(json.loads(file.read_text())["pid"])
    return found


def instance_pids(stoke: LocalStoke, service: str = SERVICE, function: str = FUNCTION) -> dict[str, int]:
    """The pid of each instance of a function, by its id."""
    query = {"service": service, "function": function}
    key = find_credentials(stoke.data, {})
    auth = None if key is None else FcAuth(key.access_key_id, key.access_key_secret)
    answer = httpx.get(f"{stoke.endpoint}/stoke/v1/instances", params=query, auth=auth, trust_env=False)
    rows: list[dict[str, Any]] = answer.raise_for_status().json()["instances"]
    return {str(row["instance_id"]): int(row["pid"]) for row in rows if row.get("pid")}


def weigh(roots: dict[str, int], apart: set[int]) -> dict[str, Weight]:
    """Each root with what it has started, but without the other roots and without `apart` and what those started."""
    children = child_pids()
    others = apart | set(roots.values())
    return {
        name: _sum([weight_of(pid) for pid in tree(root, children, others - {root})]) for name, root in roots.items()
    }


def tree(root: int, children: dict[int, list[int]], without: set[int]) -> list[int]:
    """A process and its descendants, leaving out the subtrees of `without`."""
    found, left = [], [root]
    while left:
        pid = left.pop()
        found.append(pid)
        left += [child for child in children.get(pid, []) if child not in without]
    return found


def child_pids() -> dict[int, list[int]]:
    """Parent → children, of every process there is."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    return children


def weight_of(pid: int) -> Weight:
    """One process; all zero if it has ended or is a zombie."""
    try:
        return parse_rollup(Path(f"/proc/{pid}/smaps_rollup").read_text())
    except OSError:
        return Weight(0.0, 0.0, 0.0, 0)


def parse_rollup(text: str) -> Weight:
    """The lines of smaps_rollup are `Name:   number kB`; the first one is a header without a number."""
    kib = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if rest.endswith("kB"):
            kib[name] = int(rest.split()[0])
    return Weight(
        pss_mib=kib["Pss"] / KIB_PER_MIB,
        private_mib=(kib["Private_Clean"] + kib["Private_Dirty"]) / KIB_PER_MIB,
        shared_mib=(kib["Shared_Clean"] + kib["Shared_Dirty"]) / KIB_PER_MIB,
        processes=1,
    )


def _sum(weights: list[Weight]) -> Weight:
    return Weight(*(sum(getattr(weight, field.name) for weight in weights) for field in fields(Weight)))


def show(console: Console, found: dict[str, dict[str, Weight]]) -> None:
    for title, weights in found.items():
        table = Table(title=title, title_justify="left", show_edge=False)
        table.add_column("what")
        for head in ("processes", "PSS MiB", "private MiB", "shared MiB"):
            table.add_column(head, justify="right")
        for name, weight in [*weights.items(), ("all", _sum(list(weights.values())))]:
            sizes = (weight.pss_mib, weight.private_mib, weight.shared_mib)
            table.add_row(name, str(weight.processes), *(f"{size:.1f}" for size in sizes))
        console.print(table, "")


def _plain(weights: dict[str, Weight]) -> dict[str, dict[str, float]]:
    return {name: {k: round(v, 2) for k, v in asdict(weight).items()} for name, weight in weights.items()}


if __name__ == "__main__":
    sys.exit(main())
