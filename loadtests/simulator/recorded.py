"""What a running Stoke has recorded of a function, as a trace: `stoke simulate --recorded SERVICE/FUNCTION`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_plane.cli.client import OWN, Client
from control_plane.cli.endpoint import data_folder, find_credentials, find_endpoint
from control_plane.cli.failures import CliError
from control_plane.cli.usage import function_of
from control_plane.metering.recorded import WIDTH_S, RecordedRow, of_json
from loadtests.simulator.counts import trace_of_buckets
from loadtests.simulator.trace import Trace
from provision.config import ProvisionConfig, parse


@dataclass(frozen=True, slots=True)
class Recording:
    """A trace, and what the function is like."""

    trace: Trace
    slots: int
    on_demand_max: int
    config: ProvisionConfig | None  # in force at the end

    @property
    def limits(self) -> tuple[int, int]:
        return self.slots, self.on_demand_max


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose recorded usage, of which Stoke, and from when (UTC seconds; None: the last hour)."""

    function: str  # SERVICE/FUNCTION
    qualifier: str = "LATEST"
    since_s: float | None = None
    endpoint: str | None = None
    data: Path | None = None


def ask(asked: Asked, environment: Mapping[str, str]) -> Recording:
    """Raises ValueError: it cannot be reached, or says no."""
    try:
        service, function = function_of([asked.function], needed=True)
        data = data_folder(asked.data, environment)
        endpoint = find_endpoint(asked.endpoint, data, environment)
        query = {"service": service, "function": function, "qualifier": asked.qualifier}
        if asked.since_s is not None:
            query["since"] = f"{asked.since_s:.3f}"
        with Client(endpoint, find_credentials(data, environment)) as client:
            return recording(asked.function, client.get(f"{OWN}/usage/recorded", query))
    except CliError as error:
        raise ValueError(f"recorded: {error}") from error


def recording(name: str, found: Mapping[str, Any]) -> Recording:
    """Of what the API gives."""
    rows = of_json(found["rows"])
    return Recording(
        trace=trace_of_rows(name, rows),
        slots=found["instance_concurrency"],
        on_demand_max=found["on_demand_max"],
        config=None if found["config"] is None else parse(found["config"]),
    )


def trace_of_rows(name: str, rows: list[RecordedRow]) -> Trace:
    return trace_of_buckets(
        name,
        [(row.at_s, WIDTH_S, row.requests) for row in rows],
        [(row.at_s + WIDTH_S, row.service_s) for row in rows if row.service_s],
        [row.launch_s for row in rows if row.launch_s is not None],
    )
