"""What a gateway's metrics tell of its lease, while the store goes and comes back, in virtual time."""

from __future__ import annotations

import asyncio

from runtime.gateway.lease_term import LeaseState, LeaseTerm
from runtime.gateway.metrics import Metrics
from runtime.gateway.tenure import Tenure
from runtime.leasing import LeaseQuestion, LeaseWord
from tests.support.virtual_time import in_virtual_time

LEASE_S, AWAY_S = 6.0, 60.0


class Others:
    """The store and the control plane. Each is away when the test says so."""

    def __init__(self) -> None:
        self.is_store_up = self.is_lessor_up = True

    async def renew(self, count: int, term: int) -> int:
        if not self.is_store_up:
            raise ConnectionError("the store is away")
        return max(1, term)

    async def leave(self) -> None: ...

    async def ask(self, question: LeaseQuestion) -> LeaseWord:
        if not self.is_lessor_up:
            raise ConnectionError("the control plane is away")
        return LeaseWord(question.gateway, question.count, 1)


def state_of(tenure: Tenure) -> LeaseState:
    state = tenure.state
    assert state is not None
    return state


@in_virtual_time
async def test_metrics_tell_how_long_a_lease_holds_and_by_whose_word() -> None:
    others = Others()
    tenure = Tenure(LeaseTerm("g", LEASE_S, AWAY_S), others, others, asyncio.get_running_loop().time)
    metrics = Metrics()
    metrics.lease = lambda: tenure.state
    assert "lease" not in metrics.text((), 0.0, 0)  # it has none yet
    await tenure.begin()
    running = asyncio.ensure_future(tenure.run())
    await asyncio.sleep(5.0)
    assert not state_of(tenure).is_by_word
    assert state_of(tenure).word_left_s > AWAY_S - 1.0
    others.is_store_up = False
    await asyncio.sleep(20.0)
    lines = metrics.text((), 0.0, 0).splitlines()
    assert 'stoke_gateway_lease_held{by="word"} 1' in lines
    assert 'stoke_gateway_lease_held{by="store"} 0' in lines
    assert LEASE_S * 2 / 3 < state_of(tenure).left_s <= LEASE_S
    assert AWAY_S - 21.0 < state_of(tenure).word_left_s < AWAY_S - 19.0
    others.is_lessor_up = False
    await asyncio.sleep(2.0)
    assert state_of(tenure).is_by_word  # what holds it still
    assert state_of(tenure).left_s < LEASE_S - 1.0
    others.is_store_up = others.is_lessor_up = True
    await asyncio.sleep(2.0)
    assert 'stoke_gateway_lease_held{by="store"} 1' in metrics.text((), 0.0, 0)
    running.cancel()
