"""Configs that are left alone decide as those that are looked at each time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from provision.config import ProvisionConfig, parse
from provision.decide import Decision, Memory, Seen, step
from provision.quiet import Silence, quiet_until
from tests.properties.test_provision_properties import METRICS, policies
from tests.support.examples import examples

few = examples(40)

# A usual day, and the two nights on which Berlin's clocks change (at 01:00 UTC).
BEGINNINGS = [
    datetime(2025, 6, 15, 15, 6, 30, tzinfo=UTC).timestamp(),
    datetime(2025, 3, 30, 0, 58, tzinfo=UTC).timestamp() + 0.37,
    datetime(2025, 10, 26, 0, 28, 30, tzinfo=UTC).timestamp() + 0.37,
]
EXPRESSIONS = [
    "cron(0 * * * * *)", "cron(0 30 2 * * *)", "cron(0 0/7 * ? * SUN)", "at(2025-03-30T02:30:00)",
    "at(2025-06-15T15:07:00)", "at(2025-10-26T02:30:00)", "at(2030-01-01T00:00:00)",
]  # fmt: skip
TIMES = [None, "2025-03-30T03:05:00", "2025-06-15T15:08:30", "2025-10-26T02:45:00", "2026-01-01T00:00:00"]


@st.composite
def configs(draw: st.DrawFn) -> ProvisionConfig:
    zone = draw(st.sampled_from(["UTC", "Europe/Berlin"]))
    actions: list[dict[str, Any]] = []
    for name in range(draw(st.integers(0, 2))):
        start, end = sorted(draw(st.lists(st.integers(0, len(TIMES) - 1), min_size=2, max_size=2)))
        times = {"startTime": TIMES[start], "endTime": TIMES[end]} if start < end else {}
        expression = draw(st.sampled_from(EXPRESSIONS))
        target = draw(st.integers(0, 12))
        actions.append(
            {"name": f"a{name}", "target": target, "scheduleExpression": expression, "timeZone": zone, **times}
        )
    tracked = [draw(policies(f"p{n}", USUAL)) for n in range(draw(st.integers(0, 2)))]
    for policy in tracked:  # the times of `policies` are about another day than most of these
        start, end = sorted(draw(st.lists(st.integers(0, len(TIMES) - 1), min_size=2, max_size=2)))
        policy |= {"timeZone": zone, "startTime": TIMES[start], "endTime": TIMES[end] if start < end else None}
    return parse({"target": draw(st.integers(0, 6)), "targetTrackingPolicies": tracked, "scheduledActions": actions})


@dataclass(frozen=True)
class Spell:
    """So many looks in a row that see the same."""

    looks: int
    every_s: float
    demand: float
    reported: bool


paces = st.sampled_from([1.0, 1.0, 1.0, 0.25, 5.0, 60.0])
busy = st.builds(Spell, st.sampled_from([1, 3, 40]), paces, st.sampled_from([1.0, 6.5]), st.just(True))
lulls = st.builds(
    Spell, st.sampled_from([20, 90, 200]), paces, st.just(0.0), st.sampled_from([True, True, True, False])
)
histories = st.lists(st.tuples(busy, lulls, lulls), min_size=1, max_size=4).map(
    lambda parts: [spell for part in parts for spell in part]
)
# Those that need no samples to grow come more often.
USUAL = ["ProvisionedConcurrencyUtilization", "ProvisionedConcurrencyUtilization", "RequestsPerSecond", *METRICS]


def look(now: float, spell: Spell, current: int) -> Seen:
    demand = spell.demand if spell.reported else 0.0
    interval_s = spell.every_s if spell.reported else 0.0
    return Seen(
        now, current, slots_per_instance=2, demand=demand, demand_peak=round(demand + 0.4), interval_s=interval_s,
        provisioned_in_flight=min(demand, 2.0 * current), arrived=demand * interval_s, finished=demand * interval_s,
        newest_ready_at=BEGINNINGS[1] if current else None,
    )  # fmt: skip


def gist(decision: Decision) -> tuple[Any, ...]:
    """All but the words: the figures in them may be those of an earlier look."""
    says = tuple((say.name, say.wanted, say.least) for say in decision.says)
    return (decision.target, decision.static, decision.in_force, decision.floor, says)


@few
@given(configs(), st.sampled_from(BEGINNINGS), histories)
def test_a_config_left_alone_while_quiet_decides_as_one_looked_at_each_time(
    config: ProvisionConfig, now: float, history: list[Spell]
) -> None:
    always, left = Memory(), Memory()
    silence, until, slots = Silence(), None, 0.0
    decided, current = None, 0
    for spell in history:
        for _ in range(spell.looks):
            now += spell.every_s
            seen = look(now, spell, current)
            always, due = step(config, always, seen)
            idle = seen.demand == 0.0
            if until is not None and idle and now < until:
                silence.passed(now, seen.interval_s)
                assert decided is not None
                assert gist(decided) == gist(due), f"at rest until {until}, now {now}"
            else:
                if until is not None:
                    left = silence.make_up(config, left, slots)
                silence.passed(now, seen.interval_s)
                left, decided = step(config, left, seen)
                assert decided == due
                assert left == always, "nothing is left out of the memory either"
                slots = 2.0 * current
                settled = idle and current == due.target  # instances are events: nothing rests while they move
                until = quiet_until(config, left, decided) if settled else None
            current = due.target


@few
@given(configs(), st.sampled_from(BEGINNINGS), st.sampled_from([0.5, 1.0, 30.0]))
def test_what_is_quiet_until_a_time_says_the_same_until_then(
    config: ProvisionConfig, now: float, every_s: float
) -> None:
    memory, current = Memory(), 0
    for _ in range(200):
        now += every_s
        memory, decision = step(config, memory, look(now, Spell(1, every_s, 0.0, True), current))
        current = decision.target
    until = quiet_until(config, memory, decision)
    if until is None:
        return
    for at in (min(now + 1.0, until - 0.001), min(now + 3600.0, until - 0.001), min(now + 1e6, until - 0.001)):
        if at > now:
            _, then = step(config, memory, look(at, Spell(1, at - now, 0.0, True), current))
            assert gist(then) == gist(decision)
