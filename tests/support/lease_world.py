"""For tests: gateways, lessors and a store, as far as leases go, with everything that may go wrong between them.

The two parts that decide are the real ones (`LeaseTerm`, `Vitals`); around them are a store, messages that are lost,
late or out of order, processes that stand still or end, links that are cut, and clocks that run at different rates.
There is one thing that must never happen, and it is asserted where it would: that a gateway's slots are given away
while it lives.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from control_plane.fleet.vitals import Vitals
from runtime.gateway.lease_term import LeaseTerm
from runtime.gateway.tenure import LAST_SHARE
from runtime.leasing import Holder, LeaseQuestion, LeaseWord, renewal

LEASE_S, AWAY_S = 4.0, 16.0
EVERY_S = 0.5
END_S = 0.5  # that a process takes to end
STORE = "store"


@dataclass
class Clock:
    """Of one machine."""

    offset_s: float
    rate: float

    def at(self, true_s: float) -> float:
        return self.offset_s + self.rate * true_s


@dataclass
class Process:
    name: str
    clock: Clock
    is_frozen: bool = False
    is_killed: bool = False


@dataclass
class Gateway(Process):
    term: LeaseTerm = field(default_factory=lambda: LeaseTerm("", LEASE_S, AWAY_S))
    has_left: bool = False


@dataclass
class Lessor(Process):
    term: int = 0  # 0: the store has not answered yet
    vitals: Vitals = field(default_factory=lambda: Vitals(0, 0.0))
    holders: dict[str, Holder] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)  # decided, and not known to be written


@dataclass
class Rules:
    """What the world is made of; a test takes one of them away to see that it is needed."""

    lease_term: Callable[[str], LeaseTerm] = lambda name: LeaseTerm(name, LEASE_S, AWAY_S)
    vitals: Callable[[int, float], Vitals] = Vitals


class World:
    def __init__(self, chance: random.Random, rules: Rules | None = None, gateways: int = 2) -> None:
        """With one lessor, which has begun."""
        self.chance = chance
        self.rules = rules or Rules()
        self.true_s = 1000.0
        self.is_calm = False  # no message is lost or late, and clocks go right
        self.is_store_up = True
        self.store_term = 0
        self.renewals: dict[str, str] = {}
        self.registered: set[str] = set()  # the store's leaseholders
        self.given_away: set[str] = set()
        self.gateways: list[Gateway] = []
        self.lessors: list[Lessor] = []
        self.without_store: set[str] = set()
        self.deaf: set[str] = set()  # what they write arrives, and its answer does not
        self.far_side: set[str] = set()  # whom nobody on the store's side reaches, and the other way round
        self.mail: list[tuple[float, Callable[[], None]]] = []
        self._names = 0
        self.begin()
        self.is_calm = True
        self.passes(2 * EVERY_S)
        self.is_calm = False
        for _ in range(gateways):
            self.join()

    # -- what happens to processes

    def join(self) -> Gateway:
        """A gateway whose first renewal was written, so that it can be granted slots."""
        gateway = Gateway(self._name("g"), self._clock())
        gateway.term = self.rules.lease_term(gateway.name)
        gateway.term.renewed(gateway.clock.at(self.true_s), self.store_term)
        self.renewals[gateway.name] = renewal(gateway.term.next_count(), 0)
        self.registered.add(gateway.name)
        self.gateways.append(gateway)
        for lessor in self.lessors:
            if lessor.term == self.store_term:  # whoever heard its report has written it down
                lessor.holders[gateway.name] = _holder(gateway.name)
        return gateway

    def begin(self) -> Lessor:
        """A lessor that begins as soon as it reaches the store. The one before may be there yet, and think it leads."""
        lessor = Lessor(self._name("l"), self._clock())
        self.lessors.append(lessor)
        return lessor

    def leave(self, gateway: Gateway) -> None:
        """It ends in order, and says so."""
        gateway.has_left = gateway.is_killed = True
        self._send(gateway.name, STORE, lambda: self.renewals.__setitem__(gateway.name, "left"))

    def is_alive(self, gateway: Gateway) -> bool:
        return (
            not gateway.is_killed and gateway.clock.at(self.true_s) < gateway.term.ends_s + END_S * gateway.clock.rate
        )

    def serves(self, gateway: Gateway) -> bool:
        """Whether it sends new requests to instances."""
        early_s = gateway.term.ends_s - LEASE_S * LAST_SHARE
        return self.is_alive(gateway) and gateway.clock.at(self.true_s) < early_s

    # -- links

    def split(self, *far: Process) -> None:
        """These are cut off from all others, and from the store."""
        self.far_side = {each.name for each in far}

    def reach(self, one: Process, other: Process) -> bool:
        return (one.name in self.far_side) == (other.name in self.far_side)

    def heal(self) -> None:
        self.far_side.clear()
        self.without_store.clear()
        self.deaf.clear()
        self.is_store_up = True

    # -- time

    def passes(self, seconds: float) -> None:
        until_s = self.true_s + seconds
        while self.true_s < until_s:
            self.true_s = min(until_s, self.true_s + EVERY_S * (1.0 if self.is_calm else self.chance.uniform(0.5, 1.0)))
            self._deliver()
            for gateway in self.gateways:
                if not gateway.is_frozen and self.serves(gateway):
                    self._extend(gateway)
            for lessor in self.lessors:
                if not (lessor.is_frozen or lessor.is_killed):
                    self._turn(lessor)
            self._deliver()

    def _extend(self, gateway: Gateway) -> None:
        """As `Tenure` does, but that it asks though the store may be there: that must be safe as well."""
        sent_s, count = gateway.clock.at(self.true_s), gateway.term.next_count()
        told = renewal(count, gateway.term.lessor_term)

        def arrived() -> None:
            self.renewals[gateway.name] = told
            newest = self.store_term
            self._send(
                STORE, gateway.name, lambda: self._if_awake(gateway, lambda: gateway.term.renewed(sent_s, newest))
            )

        self._send(gateway.name, STORE, arrived)
        if not gateway.term.may_ask(sent_s):
            return
        reached = [each for each in self.lessors if self.reach(gateway, each) and not each.is_killed]
        for lessor in reached[-2:]:  # any of several control planes may be asked
            self._ask(gateway, lessor, gateway.term.question(gateway.term.next_count()), sent_s)

    def _ask(self, gateway: Gateway, lessor: Lessor, asked: LeaseQuestion, sent_s: float) -> None:
        self._send(gateway.name, lessor.name, lambda: self._asked(gateway, lessor, asked, sent_s))

    def _asked(self, gateway: Gateway, lessor: Lessor, asked: LeaseQuestion, sent_s: float) -> None:
        """As `Lessor.vouch` answers."""
        if lessor.is_killed or lessor.is_frozen or asked.gateway not in lessor.holders:
            return
        if lessor.vitals.asked(asked, lessor.clock.at(self.true_s)):
            word = LeaseWord(asked.gateway, asked.count, lessor.term)

            def told() -> None:
                gateway.term.vouched(sent_s, asked, word)

            self._send(lessor.name, gateway.name, lambda: self._if_awake(gateway, told))

    def _if_awake(self, gateway: Gateway, do: Callable[[], None]) -> None:
        if self.is_alive(gateway) and not gateway.is_frozen:
            do()

    def _turn(self, lessor: Lessor) -> None:
        if lessor.term == 0:
            self._send(lessor.name, STORE, lambda: self._take_over(lessor))
            return
        asked_s = lessor.clock.at(self.true_s)

        def read() -> None:
            found = dict(self.renewals)
            self._send(STORE, lessor.name, lambda: self._judge(lessor, found, asked_s))

        self._send(lessor.name, STORE, read)
        if lessor.given:
            term, given = lessor.term, set(lessor.given)
            self._send(lessor.name, STORE, lambda: self._write(term, given))

    def _take_over(self, lessor: Lessor) -> None:
        self.store_term += 1
        term, found = self.store_term, {name: _holder(name) for name in self.registered}

        def begun() -> None:
            if not lessor.is_killed and lessor.term == 0:
                lessor.term, lessor.holders = term, dict(found)
                lessor.vitals = self.rules.vitals(term, lessor.clock.at(self.true_s))

        self._send(STORE, lessor.name, begun)

    def _judge(self, lessor: Lessor, found: dict[str, str], asked_s: float) -> None:
        if lessor.is_killed or lessor.is_frozen:
            return
        gone = lessor.vitals.look(lessor.holders, found, asked_s=asked_s, answered_s=lessor.clock.at(self.true_s))
        lessor.given |= gone
        for name in gone:
            del lessor.holders[name]

    def _write(self, term: int, given: set[str]) -> None:
        if term != self.store_term:
            return  # the script refuses it
        for gateway in self.gateways:
            if gateway.name in given:
                assert not self.is_alive(gateway), f"{gateway.name} lives, and its slots are given away by {term}"
        self.given_away |= given
        self.registered -= given

    # -- messages

    def _send(self, source: str, target: str, arrive: Callable[[], None]) -> None:
        if (source in self.far_side) != (target in self.far_side):
            return
        if STORE in (source, target) and (not self.is_store_up or {source, target} & self.without_store):
            return
        if source == STORE and target in self.deaf:
            return
        if self.is_calm:
            self.mail.append((self.true_s, arrive))
        elif self.chance.random() < 0.9:
            late_s = self.chance.choice([0.0, 0.0, 0.0, 0.1, 0.5, LEASE_S / 2, 2 * LEASE_S])
            self.mail.append((self.true_s + late_s, arrive))

    def _deliver(self) -> None:
        while due := [each for each in self.mail if each[0] <= self.true_s]:
            each = due[0] if self.is_calm else self.chance.choice(due)
            self.mail.remove(each)
            each[1]()

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}{self._names}"

    def _clock(self) -> Clock:
        off = 0.0 if self.is_calm else self.chance.uniform(-0.0005, 0.0005)
        return Clock(self.chance.uniform(0.0, 1e4), 1.0 + off)


def _holder(name: str) -> Holder:
    return Holder(1, 1, f"host of {name}", LEASE_S, AWAY_S)


EVENTS = (
    "join", "begin", "begin", "kill lessor", "kill gateway", "leave", "freeze", "thaw", "thaw", "store down", "heal",
    "split", "split", "split", "lose store", "deafen", "heal",
)  # fmt: skip


def something_happens(world: World, event: str) -> None:
    """One of `EVENTS`, to somebody."""
    chance = world.chance
    living = [gateway for gateway in world.gateways if world.is_alive(gateway)]
    lessors = [lessor for lessor in world.lessors[-3:] if not lessor.is_killed]
    if event == "join" and len(living) < 3 and world.is_store_up and world.store_term:
        world.join()
    elif event == "begin":
        world.begin()
    elif event == "heal":
        world.heal()
    elif event == "store down":
        world.is_store_up = False
    elif event == "split":
        world.split(*(each for each in (*living, *lessors) if chance.random() < 0.5))
    elif event in ("lose store", "deafen") and living + lessors:
        cut = world.without_store if event == "lose store" else world.deaf
        cut.add(chance.choice([*living, *lessors]).name)
    elif event == "kill lessor" and lessors:
        chance.choice(lessors).is_killed = True
    elif event == "kill gateway" and living:
        chance.choice(living).is_killed = True
    elif event == "leave" and living:
        world.leave(chance.choice(living))
    elif event in ("freeze", "thaw") and living + lessors:
        chance.choice([*living, *lessors]).is_frozen = event == "freeze"
