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
    """Whose recorded usage, of which Stoke, and from when until when (UTC seconds; None: an hour, and now)."""

    function: str  # SERVICE/FUNCTION
    qualifier: str = "LATEST"
    since_s: float | None = None
    until_s: float | None = None
    endpoint: str | None = None
    data: Path | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """Of an instance's time."""

    instance_second: float
    currency: str = ""

    def of(self, instance_seconds: float) -> str:
        return f"{self.instance_second * instance_seconds:,.4f} {self.currency}".rstrip()


def ask(asked: Asked, environment: Mapping[str, str]) -> Recording:
    """Raises ValueError: it cannot be reached, or says no."""
    return recording(asked.function, _get(asked, environment, "usage/recorded"))


def ask_price(asked: Asked, environment: Mapping[str, str]) -> Price | None:
    """What a second of its instances cost; None where there are no prices, or no instances. Raises as `ask`."""
    return price(_get(asked, environment, "usage"))


def price(found: Mapping[str, Any]) -> Price | None:
    """Of what the API gives."""
    costs = [one["instance_second_cost"] for one in found["functions"]]
    return Price(costs[0], found["currency"]) if costs and costs[0] is not None else None


def _get(asked: Asked, environment: Mapping[str, str], what: str) -> Mapping[str, Any]:
    try:
        service, function = function_of([asked.function], needed=True)
        data = data_folder(asked.data, environment)
        endpoint = find_endpoint(asked.endpoint, data, environment)
        query = {"service": service, "function": function, "qualifier": asked.qualifier}
        span = (("since", asked.since_s), ("until", asked.until_s))
        query |= {name: f"{at_s:.3f}" for name, at_s in span if at_s is not None}
        with Client(endpoint, find_credentials(data, environment)) as client:
            found: Mapping[str, Any] = client.get(f"{OWN}/{what}", query)
            return found
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
