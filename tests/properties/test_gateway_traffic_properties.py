"""Where requests go: weights, rules before weights, and sessions that stay."""

from __future__ import annotations

import json
import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from runtime.contract import AliasRoute, FunctionRoute, alias_field, function_field
from runtime.gateway.affinity import SESSIONS_MAX, Sessions
from runtime.gateway.claim import Claim
from runtime.gateway.gate import Gate, Lease
from runtime.gateway.pick import Instance, Picker
from runtime.gateway.resolve import Names
from runtime.gateway.routes import Routes
from runtime.traffic.asked import Asked
from runtime.traffic.rules import parse_rules
from tests.support.examples import examples

NAMES = Names("s", "prod", "f")


def routes(weights: dict[str, float], policy: dict[str, object] | None = None) -> Routes:
    made = Routes()
    for version in ("1", *weights):
        route = FunctionRoute("s", "f", version, "r")
        made.put(function_field("s", version, "f"), json.loads(route.to_json()))
    alias = AliasRoute("s", "prod", "1", weights, dict(policy or {}))
    made.put(alias_field("s", "prod"), json.loads(alias.to_json()))
    return made


def beta() -> dict[str, object]:
    return {"policyItems": [{"type": "Header", "key": "x-beta", "operator": "=", "value": "yes"}]}


BETA, PLAIN = Asked([(b"x-beta", b"yes")], b"/"), Asked([], b"/")


@given(st.floats(0.0, 0.6), st.floats(0.0, 0.4), st.integers(0, 2**32))
@examples(20)
def test_each_version_gets_the_share_that_its_weight_says(second: float, third: float, seed: int) -> None:
    made, roll = routes({"2": second, "3": third}), random.Random(seed).random
    seen = Counter(made.destination(NAMES, roll(), PLAIN).route.version for _ in range(10_000))
    for version, share in (("1", 1.0 - second - third), ("2", second), ("3", third)):
        assert abs(seen[version] / 10_000 - share) < 0.03


@given(st.floats(0.0, 1.0, exclude_max=True), st.floats(0.0, 1.0))
def test_rules_decide_whatever_the_weight_and_the_roll_say(roll: float, weight: float) -> None:
    made = routes({"2": weight}, beta())
    assert made.destination(NAMES, roll, BETA).route.version == "2"
    assert made.destination(NAMES, roll, PLAIN).route.version == "1"
    assert made.is_fixed(NAMES), "one head, one version: its way may be remembered"


@given(st.floats(0.0, 1.0, exclude_max=True))
def test_among_several_other_versions_weights_decide_where_the_rules_match(roll: float) -> None:
    made = routes({"2": 0.1, "3": 0.3}, beta())
    assert made.destination(NAMES, roll, BETA).route.version == ("2" if roll * 0.4 < 0.1 else "3")
    assert made.destination(NAMES, roll, PLAIN).route.version == "1"
    assert not made.is_fixed(NAMES)


@given(st.integers(1, 99), st.integers(0, 10**6))
@examples(20)
def test_percent_takes_that_share_of_the_values_and_always_the_same(percent: int, first: int) -> None:
    items = [{"type": "Header", "key": "uid", "operator": "percent", "value": str(percent)}]
    rules = parse_rules({"policyItems": items})
    users = [Asked([(b"uid", str(first + n).encode())], b"/") for n in range(5000)]
    found = [rules.match(user) for user in users]
    assert abs(sum(found) / len(users) - percent / 100) < 0.03
    assert [rules.match(user) for user in users] == found


# -- sessions ----------------------------------------------------------------------------------------------------------

IDS = st.sampled_from(["a", "b", "c", "d"])
SESSIONS = st.sampled_from([b"x", b"y", b"z", b""])


class SessionMachine(RuleBasedStateMachine):
    """A gate with sessions beside the rule: one's first instance, while that is there and has a free slot."""

    @initialize()
    def begin(self) -> None:
        self.now_s = 0.0
        self.gate = Gate(0)
        self.leases: list[Lease] = []
        self.slots: dict[str, int] = {}  # of those that are there
        self.home: dict[bytes, str] = {}

    def inside(self, instance_id: str) -> int:
        return sum(lease.instance.instance_id == instance_id for lease in self.leases)

    @rule(instance_id=IDS, slots=st.integers(1, 3), provisioned=st.booleans())
    def an_instance_is_ready(self, instance_id: str, slots: int, provisioned: bool) -> None:
        self.slots[instance_id] = slots
        self.gate.put_instance(instance_id, provisioned=provisioned, slots=slots, now_s=self.now_s)

    @rule(instance_id=IDS)
    def an_instance_goes(self, instance_id: str) -> None:
        if self.slots.pop(instance_id, None) is not None:
            self.gate.drain_instance(instance_id)

    @rule(session=SESSIONS)
    def a_request_comes(self, session: bytes) -> None:
        free = {each for each, slots in self.slots.items() if self.inside(each) < slots}
        got = self.gate.reserve(None, self.now_s, Claim(session=session))
        if not isinstance(got, Lease):
            assert not free, "nobody waits for its own instance while another has a free slot"
            return
        taken = got.instance.instance_id
        assert taken in free, "no instance has more inside than it has slots"
        self.leases.append(got)
        if session:
            home = self.home.get(session)
            if home is None or home not in self.slots:
                self.home[session] = taken
            else:
                assert taken == home or home not in free, "a session stays while its instance has a free slot"

    @rule(at=st.integers(0, 100))
    def a_request_ends(self, at: int) -> None:
        if self.leases:
            self.leases.pop(at % len(self.leases)).release(self.now_s)

    @invariant()
    def counts_are_exact(self) -> None:
        for instance in self.gate.instances():
            assert instance.in_flight == self.inside(instance.instance_id)


TestSessions = SessionMachine.TestCase
TestSessions.settings = examples(80, stateful_step_count=60)


def free_instances(count: int) -> tuple[Picker, dict[str, Instance]]:
    picker, instances = Picker(), {}
    for n in range(count):
        made = instances[f"i{n}"] = Instance(f"i{n}", provisioned=True, slots=1_000_000, ready_at_s=0.0)
        picker.add(made)
    return picker, instances


def test_gateways_that_know_nothing_of_each_other_agree_on_a_sessions_instance() -> None:
    keys = [f"session-{n}".encode() for n in range(200)]
    first, second = ([Sessions().enter(key, *free_instances(5)).instance_id for key in keys] for _ in range(2))
    assert first == second
    assert min(Counter(first).values()) > 200 / 5 / 2, "and sessions are spread over all instances"


def test_sessions_that_are_kept_are_bounded_and_the_oldest_goes() -> None:
    sessions, (picker, instances) = Sessions(), free_instances(2)
    for n in range(SESSIONS_MAX + 100):
        sessions.enter(b"%d" % n, picker, instances)
    assert len(sessions) == SESSIONS_MAX
