"""Other systems' rules beside Stoke's, on the Azure traces (`python -m loadtests.simulator.compare`). All simulated.

Each rule is tuned in hindsight: of its grid, the setting that attains what is wanted with the fewest instance-seconds,
or, where none attains it, the one that attains most. Stoke's SLO policy and its default policy are not tuned.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from loadtests.simulator.baselines import (
    FunctionComputeRule,
    HorizontalPodAutoscaler,
    KnativePodAutoscaler,
    LambdaAlarms,
    StaticTarget,
    WaitingLength,
)
from loadtests.simulator.control import Rule
from loadtests.simulator.formats import read_trace
from loadtests.simulator.outcome import Outcome, outcome
from loadtests.simulator.run import simulate_config, simulate_rule
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.table import plain
from loadtests.simulator.trace import Trace
from provision.config import ProvisionConfig, parse

TRACES: Final = Path(__file__).resolve().parent.parent / "traces" / "azure-llm-2023"
FILES: Final = {"conversation": "AzureLLMInferenceTrace_conv.csv", "code": "AzureLLMInferenceTrace_code.csv"}
HISTORY_S: Final = 1200.0
SCENARIOS: Final = (
    Scenario(service_s=1.0, launch_s=8.0, wait_limit_s=4.0, history_s=HISTORY_S),
    Scenario(service_s=0.2, launch_s=20.0, wait_limit_s=10.0, history_s=HISTORY_S),
)
TARGETS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SHARES: Final = tuple(round(0.05 * n, 2) for n in range(2, 21))
# An average of requests per pod may be above 1: a queue is then meant to be there.
AVERAGES: Final = (*SHARES, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0)
COUNT_MAX: Final = 128  # of static instances

RULES: Final[dict[str, tuple[Callable[[float], Rule], Sequence[float]]]] = {
    "Kubernetes HPA": (HorizontalPodAutoscaler, AVERAGES),
    "Knative KPA": (KnativePodAutoscaler, TARGETS),
    "FC's rule, each minute": (FunctionComputeRule, SHARES),
    "Lambda's alarms": (LambdaAlarms, TARGETS),
    "EAS waiting length": (WaitingLength, TARGETS),
}
# What the SLO policy is measured against: the cheapest of these.
MEASURES: Final = ("static", "Kubernetes HPA", "Knative KPA", "FC's rule, each minute")
STOKE: Final = parse(
    {
        "targetTrackingPolicies": [
            {
                "name": "default",
                "metricType": "ProvisionedConcurrencyUtilization",
                "metricTarget": 0.7,
                "minCapacity": 1,
                "maxCapacity": 1000,
            }
        ]
    }
)
HEADS: Final = (
    "policy",
    "setting",
    "within limit",
    "wait p99",
    "instance-s",
    "× work",
    "launches",
    "useful",
    "refused",
    "lost",
)


def slo(limit_s: float, percentile: float = 0.99) -> ProvisionConfig:
    """The SLO policy as a user would ask for it, with bounds that are in nobody's way."""
    policy = {
        "name": "slo",
        "metricType": "QueueWaitMilliseconds",
        "metricTarget": limit_s * 1e3,
        "percentile": percentile,
        "minCapacity": 0,
        "maxCapacity": 1000,
    }
    return parse({"targetTrackingPolicies": [policy]})


@dataclass(frozen=True, slots=True)
class Tuned:
    """A policy with the setting that was found for it."""

    policy: str
    setting: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Comparison:
    """Stoke's SLO policy, its default with and without on-demand instances, then the others, tuned. `alike`: the others
    again, tuned to what the SLO policy attains itself."""

    found: list[Tuned]
    alike: list[Tuned]


def compare(trace: Trace, scenario: Scenario, attainment: float, targets: Sequence[float] | None = None) -> Comparison:
    without = _without_on_demand(scenario)
    ours = by_slo(trace, scenario)
    found = [
        ours,
        Tuned("Stoke, default policy", "0.7, on demand", outcome(simulate_config(trace, scenario, STOKE))),
        Tuned("Stoke, default policy", "0.7", outcome(simulate_config(trace, without, STOKE))),
        static(trace, scenario, attainment),
    ]
    alike = [static(trace, scenario, ours.outcome.attainment)]
    for name, (make, grid) in RULES.items():
        tries = [
            Tuned(name, f"{target:g}", outcome(simulate_rule(trace, scenario, make(target))))
            for target in targets or grid
        ]
        found.append(best(tries, attainment))
        alike.append(best(tries, ours.outcome.attainment))
    return Comparison(found, alike)


def by_slo(trace: Trace, scenario: Scenario, percentile: float = 0.99) -> Tuned:
    """The SLO policy without on-demand instances: what it needs is all that there is."""
    config = slo(scenario.wait_limit_s, percentile)
    found = outcome(simulate_config(trace, _without_on_demand(scenario), config))
    return Tuned("Stoke, SLO policy", f"{percentile:g}, {scenario.wait_limit_s:g} s", found)


def cheapest(found: Sequence[Tuned], attainment: float) -> Tuned:
    """Of what the SLO policy is measured against."""
    return best([tuned for tuned in found if tuned.policy in MEASURES], attainment)


def best(tries: Sequence[Tuned], attainment: float) -> Tuned:
    """The cheapest that attains it; if none does, the one that attains most, the cheaper of equals."""
    enough = [tuned for tuned in tries if tuned.outcome.attainment >= attainment]
    if enough:
        return min(enough, key=lambda tuned: tuned.outcome.instance_seconds)
    return min(tries, key=lambda tuned: (-tuned.outcome.attainment, tuned.outcome.instance_seconds))


def static(trace: Trace, scenario: Scenario, attainment: float) -> Tuned:
    """The fewest instances that attain it, by halving: more never attain less."""
    few, enough = 0, COUNT_MAX
    tried: dict[int, Outcome] = {}
    while enough - few > 1:
        middle = (few + enough) // 2
        tried[middle] = outcome(simulate_rule(trace, scenario, StaticTarget(middle)))
        if tried[middle].attainment >= attainment:
            enough = middle
        else:
            few = middle
    if enough not in tried:
        tried[enough] = outcome(simulate_rule(trace, scenario, StaticTarget(enough)))
    return Tuned("static", str(enough), tried[enough])


def _without_on_demand(scenario: Scenario) -> Scenario:
    return replace(scenario, on_demand_max=0)


def row(tuned: Tuned) -> tuple[str, ...]:
    found = tuned.outcome
    return (
        tuned.policy,
        tuned.setting,
        f"{found.attainment:.2%}",
        "–" if found.wait_p99_s is None else f"{found.wait_p99_s:.2f} s",
        f"{found.instance_seconds:,.0f}",
        f"{found.cost:.2f}",
        str(found.launches),
        str(found.useful_launches),
        str(found.refused),
        str(found.lost),
    )


def _beside(slo: Tuned, other: Tuned) -> str:
    ratio = slo.outcome.instance_seconds / other.outcome.instance_seconds
    return f"{ratio:.2f} × {other.policy} ({other.setting})"


def _alike(compared: Comparison) -> list[str]:
    slo = compared.found[0]
    enough = [tuned for tuned in compared.alike if tuned.outcome.attainment >= slo.outcome.attainment]
    return [_beside(slo, tuned) for tuned in enough]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.simulator.compare", description=__doc__)
    parser.add_argument("--attainment", type=float, default=0.99, help="share within the wait limit (0.99)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    options = parser.parse_args(arguments)
    if not 0.0 < options.attainment <= 1.0:
        parser.error(f"--attainment {options.attainment}: above 0 and at most 1 is allowed")
    if options.json is not None and (options.json.is_dir() or not options.json.parent.is_dir()):
        parser.error(f"--json: {options.json}; a file in a folder that exists is allowed")
    values: list[dict[str, Any]] = []
    for name, file in FILES.items():
        trace = read_trace(TRACES / file)
        for scenario in SCENARIOS:
            compared = compare(trace, scenario, options.attainment)
            found = compared.found
            print(
                f"\nSimulated: {name}, service {scenario.service_s:g} s, launch {scenario.launch_s:g} s, wait limit "
                f"{scenario.wait_limit_s:g} s, {scenario.slots} at once, judged after {scenario.history_s:g} s"
            )
            print(plain(HEADS, [row(tuned) for tuned in found]), flush=True)
            measure = cheapest(found, options.attainment)
            print(f"SLO policy: {_beside(found[0], measure)}", flush=True)
            print("beside those that attain as much:", "; ".join(_alike(compared)), flush=True)
            values += [
                {"trace": name, "service_s": scenario.service_s, "launch_s": scenario.launch_s}
                | {"wait_limit_s": scenario.wait_limit_s, "policy": tuned.policy, "setting": tuned.setting}
                | {"tuned_to": tuned_to}
                | tuned.outcome.as_json()
                for tuned_to, all_found in (
                    (options.attainment, found),
                    (found[0].outcome.attainment, compared.alike),
                )
                for tuned in all_found
            ]
    if options.json is not None:
        options.json.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
