"""`python -m tests.support.decisions STEPS`: what many steps of each kind of policy come to, on stdout, in full.

Run from the build and from the sources, it must print the same. The first line says which of the two it was.
"""

from __future__ import annotations

import random
import sys
from typing import Any

from runtime.compiled import DECISIONS

DECISIONS.use()

from provision.config import parse  # noqa: E402 - by now from the build
from provision.decide import MetricSample, Reading, Seen, step  # noqa: E402
from provision.memory import Memory  # noqa: E402
from provision.together import together  # noqa: E402

URL, QUERY = "http://127.0.0.1:9090", "queue_depth"
BEGAN_S = 1_767_225_600.0
POLICY: dict[str, Any] = {"name": "p", "minCapacity": 0, "maxCapacity": 40}
CONCURRENCY = {"metricType": "ProvisionedConcurrencyUtilization", "metricTarget": 0.6}
POLICIES: dict[str, dict[str, Any]] = {
    "concurrency": CONCURRENCY,
    "limits": CONCURRENCY | {"stableWindowSeconds": 10, "panicWindowSeconds": 2, "scaleOutLimit": 3, "scaleInLimit": 1},
    "delay": CONCURRENCY | {"scaleInDelaySeconds": 20, "panicThreshold": 2.0, "minCapacity": 1},
    "requests": {"metricType": "RequestsPerSecond", "metricTarget": 3.0},
    "waiting": {"metricType": "WaitingLength", "metricTarget": 2.0},
    "mean wait": {"metricType": "QueueWaitMilliseconds", "metricTarget": 300.0},
    "slo": {"metricType": "QueueWaitMilliseconds", "metricTarget": 300.0, "percentile": 0.99},
    "gpu": {"metricType": "GPUSmUtilization", "metricTarget": 0.5},
    "prometheus": {"metricType": "Prometheus", "metricTarget": 4.0, "url": URL, "query": QUERY},
    "hpa": CONCURRENCY | {"behavior": "HPA"},
    "ahead": CONCURRENCY | {"forecast": {"season": "day"}},
}
ACTION = {"name": "a", "scheduleExpression": "cron(0 */2 * * * *)", "target": 5, "endTime": "2026-01-01T00:20:00Z"}


def look(chance: random.Random, now: float, instances: int) -> Seen:
    """Something that may be seen, also a look without a report."""
    demand = chance.choice((0.0, chance.uniform(0.0, 30.0)))
    waiting = chance.choice((0, 0, chance.randint(1, 60)))
    samples = [
        MetricSample("GPUSmUtilization", f"c-{number}", chance.random(), now - chance.uniform(0.0, 30.0))
        for number in range(instances)
    ]
    starting = chance.choice((0, 0, 2))
    return Seen(
        now=now,
        current=instances,
        starting=starting,
        slots_per_instance=chance.choice((1, 1, 4)),
        demand=demand,
        demand_peak=round(demand * 1.5),
        interval_s=chance.choice((0.0, 0.25, 1.0, 1.0, 3.7)),
        provisioned_in_flight=min(demand, instances * 0.9),
        arrived=demand * 2.0,
        finished=demand * 1.9,
        queue_wait_s_sum=demand * chance.uniform(0.0, 0.5),
        waiting=waiting,
        pressed=waiting and waiting + instances,
        samples=tuple(samples),
        newest_ready_at=chance.choice((None, now - 3.0, now - 100.0)),
        capacity_limit=chance.choice((None, None, 20)),
        readings=(Reading(URL, QUERY, chance.choice((None, demand)), now - chance.uniform(0.0, 40.0)),),
        in_flight=round(demand),
        on_demand=chance.choice((0, 1)),
        starting_at=(now - 2.0,) * starting,
        launch_s=chance.choice((None, 2.0)),
    )


def main(steps: int) -> None:
    print(f"compiled={DECISIONS.is_used()}")
    for kind, policy in POLICIES.items():
        config = parse({"target": 1, "scheduledActions": [ACTION], "targetTrackingPolicies": [POLICY | policy]})
        chance, memory, now, target = random.Random(kind), Memory(), BEGAN_S, 0
        for _ in range(steps):
            now += chance.choice((1.0, 1.0, 0.3, 4.1, -2.0, -4000.0 if chance.random() < 0.1 else 1.0))
            memory, decision = step(config, memory, look(chance, now, max(0, target + chance.randint(-1, 1))))
            target = together([decision, decision])
            print(kind, decision)
        print(memory.to_json())
        print(Memory.from_json(memory.to_json()) == memory)


main(int(sys.argv[1]))
