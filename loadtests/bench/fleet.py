"""What a tick of the control plane costs with thousands of functions: CPU seconds and memory, in virtual time.

The decisions are compiled where `scripts/compile` has built them, as in production; with STOKE_COMPILED=0 their sources
run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from runtime.compiled import DECISIONS


def show(console: Console, found: dict[str, Any]) -> None:
    table = Table(title=f"{found['functions']} functions, {found['instances']} instances", title_justify="left")
    for heading in ("tick", "CPU seconds", "largest", "report before it"):
        table.add_column(heading, justify="left" if heading == "tick" else "right")
    for name, cost in found["ticks"].items():
        table.add_row(name, f"{cost['tick_s']:.4f}", f"{cost['tick_s_max']:.4f}", f"{cost['report_s']:.4f}")
    console.print(table)
    decided = "decisions compiled" if found["compiled"] else "decisions from their sources"
    console.print(f"memory at its most: {found['rss_mib_max']:.0f} MiB; {decided}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.fleet", description=__doc__)
    parser.add_argument("--functions", type=int, default=10_000, help="with a policy each (default: 10000)")
    parser.add_argument("--instances", type=int, default=100_000, help="of all functions together (default: 100000)")
    parser.add_argument("--repetitions", type=int, default=10, help="ticks of each kind (default: 10)")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args(arguments)
    if not 1 <= options.functions <= options.instances:
        parser.error(f"--functions: {options.functions}; 1 to --instances ({options.instances}) are allowed")
    if options.repetitions < 1:
        parser.error(f"--repetitions: {options.repetitions}; 1 or more are allowed")
    console = Console()
    DECISIONS.use()
    from control_plane.collecting import collect_rarely
    from loadtests.bench.population import measure  # by now from the build

    collect_rarely()
    found = asyncio.run(measure(options.functions, options.instances, options.repetitions, console.print))
    show(console, found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
