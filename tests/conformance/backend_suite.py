"""What every backend promises (`control_plane.ports.Backend`), as tests. A backend joins by one class of `Beds`.

class TestMine(BackendSuite):
    beds_class = MyBeds
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

import httpx
import pytest

from control_plane.errors import LaunchRefused, NotFound, Unavailable
from runtime.contract import TRANSITIONS, InstanceState
from runtime.node_contract import InstanceStatus
from tests.conformance.backend_beds import DEADLINE_S, Bed, Beds

FAILED, READY, STOPPED = InstanceState.FAILED, InstanceState.READY, InstanceState.STOPPED


class BackendSuite:
    """The tests. A subclass says by `beds_class` over what."""

    beds_class: ClassVar[type[Beds]]

    @pytest.fixture(scope="class")
    @classmethod
    def beds(cls) -> Iterator[Beds]:
        if why := cls.beds_class.why_not():
            pytest.skip(why)
        with cls.beds_class() as beds:
            yield beds

    @pytest.fixture
    async def bed(self, beds: Beds) -> AsyncIterator[Bed]:
        async with beds.bed() as bed:
            yield bed

    # -- capacity and refusal -----------------------------------------------------------------------------------------

    async def test_it_tells_what_it_can_hold_and_launch(self, bed: Bed) -> None:
        info = await bed.backend.info()
        assert info.node
        assert info.memory_mib > 0
        assert info.cpu > 0
        assert bed.server().runtime in info.runtimes or bed.server().runtime.startswith("python")

    async def test_getting_ready_for_a_runtime_may_be_asked_for_again(self, bed: Bed) -> None:
        for _ in range(2):
            await bed.backend.prepare(bed.server().runtime)

    async def test_what_can_never_run_is_refused_with_a_reason_and_leaves_nothing(self, bed: Bed) -> None:
        spec = bed.refused()
        with pytest.raises(LaunchRefused) as refused:
            await bed.backend.launch(spec)
        assert len(refused.value.message) > 10
        assert spec.instance_id not in await bed.ids()

    # -- the way to READY ---------------------------------------------------------------------------------------------

    async def test_an_instance_becomes_ready_step_by_step_with_an_address(self, bed: Bed) -> None:
        spec = bed.server(initializer="x")
        await bed.backend.launch(spec)
        states: list[InstanceState] = []
        async with asyncio.timeout(bed.deadline_s):
            async for status in bed.backend.watch():
                if status.instance_id == spec.instance_id and (not states or status.state is not states[-1]):
                    states.append(status.state)
                    if status.state is READY:
                        break
        assert states[-1] is READY
        assert all(later in TRANSITIONS[earlier] for earlier, later in pairwise(states)), states
        assert status.address

    async def test_a_launch_that_is_asked_for_twice_is_one(self, bed: Bed) -> None:
        spec = bed.server()
        first = await bed.launched(spec)
        await bed.backend.launch(spec)
        assert [s for s in await bed.backend.list() if s.instance_id == spec.instance_id] == [first]

    async def test_several_at_once_have_addresses_of_their_own(self, bed: Bed) -> None:
        specs = [bed.server() for _ in range(3)]
        statuses = await asyncio.gather(*(bed.launched(spec) for spec in specs))
        assert len({status.address for status in statuses}) == 3

    # -- while it runs ------------------------------------------------------------------------------------------------

    async def test_a_watch_begins_with_what_is_known(self, bed: Bed) -> None:
        known = {(await bed.launched(bed.server())).instance_id for _ in range(2)}
        seen = set()
        async with asyncio.timeout(DEADLINE_S):
            async for status in bed.backend.watch():
                seen.add(status.instance_id)
                if known <= seen:
                    break
        assert known <= await bed.ids()

    async def test_an_instance_that_dies_is_failed(self, bed: Bed) -> None:
        status = await bed.launched(bed.server())
        await bed.kill(status)
        assert (await bed.until(status.instance_id, FAILED)).reason

    # -- output -------------------------------------------------------------------------------------------------------

    async def test_the_output_of_a_forgotten_one_stays_readable(self, bed: Bed) -> None:
        status = await bed.launched(bed.server())
        await bed.backend.stop(status.instance_id, 0.0)
        await bed.until(status.instance_id, STOPPED)
        await bed.backend.forget(status.instance_id)
        assert await bed.output(status.instance_id)

    async def test_an_unknown_one_has_no_output(self, bed: Bed) -> None:
        with pytest.raises(NotFound):
            await bed.output("c-nobody")

    # -- the end ------------------------------------------------------------------------------------------------------

    async def test_one_that_is_launching_can_be_stopped(self, bed: Bed) -> None:
        spec = bed.server(health_path="/health", health_initial_delay_s=60.0)
        await bed.backend.launch(spec)
        await bed.backend.stop(spec.instance_id, 0.0)
        await bed.until(spec.instance_id, STOPPED)

    async def test_stopping_an_ended_or_unknown_one_does_nothing(self, bed: Bed) -> None:
        status = await bed.launched(bed.server())
        await bed.backend.stop(status.instance_id, 0.0)
        ended = await bed.until(status.instance_id, STOPPED)
        await bed.backend.stop(status.instance_id, 0.0)
        await bed.backend.stop("c-nobody", 0.0)
        assert ended in await bed.backend.list()

    async def test_only_an_ended_one_can_be_forgotten(self, bed: Bed) -> None:
        status = await bed.launched(bed.server())
        await bed.backend.forget(status.instance_id)
        assert status.instance_id in await bed.ids()
        await bed.backend.stop(status.instance_id, 0.0)
        await bed.until(status.instance_id, STOPPED)
        assert status.instance_id in await bed.ids()
        await bed.backend.forget(status.instance_id)
        await bed.backend.forget(status.instance_id)
        assert status.instance_id not in await bed.ids()

    # -- when the backend itself goes ---------------------------------------------------------------------------------

    async def test_one_that_is_away_says_so(self, bed: Bed) -> None:
        events = bed.backend.watch()
        status = await bed.launched(bed.server())
        assert status.instance_id in {(await anext(events)).instance_id}
        async with bed.away():
            with pytest.raises(Unavailable):
                await bed.backend.list()
            with pytest.raises(Unavailable):
                await bed.backend.launch(bed.server())
            with pytest.raises(Unavailable):
                await asyncio.wait_for(_to_its_end(events), DEADLINE_S)
        assert status.instance_id in await bed.ids()

    async def test_after_a_restart_the_same_instances_run_on(self, bed: Bed) -> None:
        before = {(await bed.launched(bed.server())) for _ in range(2)}
        await bed.restart()
        after = {replace(status, at_s=0.0) for status in await bed.backend.list()}
        assert after == {replace(status, at_s=0.0) for status in before}
        if bed.runs:
            for status in before:
                assert (await bed.ask(status))["does"] == []
                assert "serving" in await bed.until_output(status.instance_id, "serving")
        for status in before:
            await bed.backend.stop(status.instance_id, 5.0)
            await bed.until(status.instance_id, STOPPED)

    async def test_one_that_died_while_nobody_looked_is_failed_on_return(self, bed: Bed) -> None:
        status = await bed.launched(bed.server())
        async with bed.away():
            await bed.kill(status)
        assert (await bed.until(status.instance_id, FAILED)).reason


class RunningBackendSuite(BackendSuite):
    """And what only a backend can show on which servers run."""

    # -- the way to READY ---------------------------------------------------------------------------------------------

    async def test_it_answers_at_its_address_with_its_environment(self, bed: Bed) -> None:
        spec = bed.server("a b", environment={"COLOUR": "red", "FC_REGION": "moon"}, cpu=0.5)
        status = await bed.launched(spec)
        told = await bed.ask(status)
        assert told["does"] == ["a b"]
        environment = told["env"]
        assert environment["COLOUR"] == "red"
        assert environment["FC_REGION"] == "cn-local"
        assert environment["FC_INSTANCE_ID"] == spec.instance_id
        assert environment["FC_FUNCTION_MEMORY_SIZE"] == "256"
        assert environment["FC_SERVER_PORT"] == status.address.rpartition(":")[2]

    async def test_the_initializer_is_called_once_before_ready(self, bed: Bed) -> None:
        status = await bed.launched(bed.server(initializer="x"))
        assert (await bed.ask(status))["seen"][:1] == ["POST /initialize"]

    async def test_an_initializer_that_fails_is_the_reason(self, bed: Bed) -> None:
        status = await bed.launched(bed.server("refuse", initializer="x"), FAILED)
        assert "POST /initialize answered 500" in status.reason

    async def test_a_program_that_exits_is_failed_with_its_code_and_its_last_words(self, bed: Bed) -> None:
        status = await bed.launched(bed.server("exit"), FAILED)
        assert "exit status 1" in status.reason
        assert "no model here" in status.reason

    async def test_a_server_that_never_listens_is_failed_in_time(self, bed: Bed) -> None:
        spec = bed.server("ill", health_path="/health", launch_timeout_s=2.0)
        status = await bed.launched(spec, FAILED)
        assert "health check failed" in status.reason

    # -- while it runs ------------------------------------------------------------------------------------------------

    async def test_what_runs_is_measured(self, bed: Bed) -> None:
        if bed.unmeasured:
            pytest.skip(bed.unmeasured)
        status = await bed.launched(bed.server())
        async with asyncio.timeout(bed.deadline_s):
            while True:
                (sample,) = await bed.backend.samples()
                if sample.cpu_utilization is not None:
                    break
                await asyncio.sleep(0.05)
        assert sample.instance_id == status.instance_id
        assert sample.memory_mib is not None
        assert 3 < sample.memory_mib < 256

    async def test_one_that_turns_ill_is_failed_by_its_health_check(self, bed: Bed) -> None:
        spec = bed.server(health_path="/health", health_period_s=0.1, health_failure_threshold=2)
        status = await bed.launched(spec)
        await bed.ask(status, "/sicken")
        reason = (await bed.until(spec.instance_id, FAILED)).reason
        assert "failed its health check GET /health 2 times in a row (status 500)" in reason

    async def test_one_that_takes_more_memory_than_it_asked_for_is_failed_saying_so(self, bed: Bed) -> None:
        status = await bed.launched(bed.server(memory_mib=64))
        with pytest.raises(httpx.HTTPError):
            await bed.ask(status, "/fill")
        reason = (await bed.until(status.instance_id, FAILED)).reason
        assert "ran out of memory: it is over its limit of 64 MiB" in reason

    # -- output -------------------------------------------------------------------------------------------------------

    async def test_its_output_can_be_read_and_followed_to_its_end(self, bed: Bed) -> None:
        status = await bed.launched(bed.server("this"))
        await bed.until_output(status.instance_id, "serving this")

        async def follow() -> bytes:
            logs = bed.backend.logs(status.instance_id, tail_bytes=1000, follow=True)
            return b"".join([piece async for piece in logs])

        following = asyncio.create_task(follow())
        await bed.backend.stop(status.instance_id, 5.0)
        assert b"serving this" in (said := await asyncio.wait_for(following, DEADLINE_S))
        assert b"told to end" in said

    # -- the end ------------------------------------------------------------------------------------------------------

    async def test_a_stop_lets_what_is_inside_finish_after_the_hook(self, bed: Bed) -> None:
        status = await bed.launched(bed.server(pre_stop="x"))
        inside = asyncio.create_task(bed.ask(status, "/slow"))
        async with asyncio.timeout(DEADLINE_S):
            while "GET /slow" not in (await bed.ask(status))["seen"]:
                await asyncio.sleep(0.02)
        await bed.backend.stop(status.instance_id, 10.0)
        assert "GET /slow" in (await inside)["seen"]
        await bed.until(status.instance_id, STOPPED)
        said = await bed.output(status.instance_id)
        assert said.index("hook /pre-stop") < said.index("told to end")


async def _to_its_end(events: AsyncIterator[InstanceStatus]) -> None:
    async for _ in events:
        pass
