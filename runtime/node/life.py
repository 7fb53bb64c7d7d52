"""One instance's life, from its record to its end: start, wait until it listens, initialize, watch, stop.

One task lives it, so nothing else changes an instance's state:

    LAUNCHING → INITIALIZING → READY → STOPPED        any → FAILED, with the reason

Whatever it waits for is given up at once when the process dies, when a stop is asked for, or when the node finds it
guilty of something (memory). At the end nobody of its family is left.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from runtime.contract import PATH_INITIALIZE, PATH_PRE_STOP, TRANSITIONS, InstanceState
from runtime.node import hooks, launch, processes, reasons, records
from runtime.node.equipment import is_done_first
from runtime.node.errors import Failure, StopAsked
from runtime.node.forks import ForkError
from runtime.node.launch import Place
from runtime.node.launcher import Launcher, Started
from runtime.node.process import Process
from runtime.node.processes import Member
from runtime.node.ready import ReadyPipe
from runtime.node.records import Record
from runtime.node_contract import LaunchSpec

log = logging.getLogger(__name__)

_LAST_WORDS_S = 0.05  # an end may be heard of before the reason that was given on the pipe
_PROBE_FIRST_S = 0.005  # a server that is up at once is seen at once
_PROBE_PERIOD_S_MAX = 0.1  # and one that takes its time costs little

T = TypeVar("T")


class Instance:
    """`run` is its life; `ask_to_stop` and `blame` may be called at any time while it lasts."""

    def __init__(self, record: Record, place: Place, launcher: Launcher, changed: Callable[[Instance], None]) -> None:
        self.record = record
        self.place = place
        self.process: Process | None = None
        self.launcher = launcher
        self._changed = changed
        self.guests: set[Member] = set()  # processes that were started beside it (shells.py)
        self.ending = asyncio.Event()  # it is to stop, or has failed: guests leave
        self._stop_asked = asyncio.Event()
        self._kill_at_s = float("inf")
        self._blamed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def spec(self) -> LaunchSpec:
        return self.record.spec

    @property
    def id(self) -> str:
        return self.record.spec.instance_id

    def ask_to_stop(self, grace_s: float) -> None:
        """A second call can only hasten the end."""
        self._kill_at_s = min(self._kill_at_s, time.monotonic() + grace_s)
        self._stop_asked.set()
        self.ending.set()

    def blame(self, reason: str) -> None:
        """End it as FAILED."""
        if not self._blamed.done():
            self._blamed.set_result(reason)

    def family(self) -> set[Member]:
        """Its living processes, wherever they have gone to."""
        if self.record.pid == 0:
            return set()
        known = self.launcher.members(self.place) | {pid for pid, _ in processes.living(self.guests)}
        return processes.family(self.record.pid, self.record.start_ticks, processes.all_stats(), known)

    async def run(self) -> None:
        """Live until STOPPED or FAILED."""
        await self._live(InstanceState.LAUNCHING)

    async def run_on(self, found: Process | None) -> None:
        """Go on with a life that an earlier node began; `found` is its process, None when it is gone."""
        self.process = found
        self._was_found = found is not None
        if self.record.stopping:
            self.ask_to_stop(0.0)
        if found is None and self.record.pid:
            end = (InstanceState.STOPPED, "") if self.record.stopping else (InstanceState.FAILED, reasons.MISSED)
            await self._end(*end)
        else:
            await self._live(self.record.state)

    async def _live(self, state: InstanceState) -> None:
        try:
            if self._stop_asked.is_set():
                raise StopAsked
            if state is not InstanceState.READY:
                await self._become_ready()
            await self._unless(self._stay_healthy())
        except StopAsked:
            await self._stop()
        except Failure as failure:
            await self._end(InstanceState.FAILED, str(failure))
        except Exception as error:
            log.exception("instance.life_broken instance=%s", self.id)
            await self._end(InstanceState.FAILED, f"the node could not run the instance: {error!r}")

    def change(self, state: InstanceState, reason: str = "", **more: Any) -> None:
        """The one door: the record on disk first, then those who watch."""
        if state not in TRANSITIONS[self.record.state]:
            raise AssertionError(f"{self.id}: no step from {self.record.state} to {state}")
        self._write(state=state, reason=reason, at_s=time.time(), **more)
        log.info("instance.state instance=%s state=%s reason=%r", self.id, state.value, reason)
        self._changed(self)

    def _write(self, **changes: Any) -> None:
        self.record = replace(self.record, **changes)
        try:
            records.save(self.place.folder, self.record)
        except OSError as error:  # a full disk ends no life; a restarted node would know an older state of it
            log.error("record.not_saved instance=%s error=%r", self.id, error)

    # -- until READY --------------------------------------------------------------------------------------------------

    async def _become_ready(self) -> None:
        if self.record.state is InstanceState.INITIALIZING:
            # Whether the initializer has run to its end is not known, and it must not run twice.
            raise Failure("the node was restarted while the instance was initializing")
        if self.process is None:
            await self._fetch()
        await self._launch()
        if self.spec.initializer:
            self.change(InstanceState.INITIALIZING)
            await self._unless(self._initialize())
        self.change(InstanceState.READY, was_ready=True)
        self.launcher.became_ready(self.spec, self.place)

    async def _fetch(self) -> None:
        """What the launch needs is brought here, and who looks is told how far it is. A stop ends the wait."""
        fetching = asyncio.ensure_future(self.launcher.fetch(self.spec, self.place, self._say))
        if not await is_done_first(fetching, self._stop_asked):
            raise StopAsked
        self.place = fetching.result()
        if self.record.reason:
            self._say("")

    def _say(self, progress: str) -> None:
        """What it waits for, while it is LAUNCHING."""
        self.record = replace(self.record, reason=progress)  # not on the disk: a new node begins anew
        self._changed(self)

    async def _launch(self) -> None:
        budget_s = self.spec.launch_timeout_s
        try:
            async with asyncio.timeout(budget_s):
                if self.process is None:
                    await self._start()
                if not launch.is_python(self.spec.runtime) or self._was_found:
                    await self._unless(self._probe())
        except TimeoutError:
            raise Failure(self._why_not_listening(budget_s)) from None

    async def _start(self) -> None:
        ready = ReadyPipe()
        try:
            try:
                started = await self.launcher.start(self.spec, self.place, ready)
            except (OSError, ForkError) as error:
                await self._find_lost()
                raise Failure(f"Function instance could not be started: {error}") from error
            self.process = started.process
            self._take_place(started)
            if launch.is_python(self.spec.runtime):
                ready.given()
                await self._unless(ready.wait())
        finally:
            ready.close()

    def _take_place(self, started: Started) -> None:
        """Where it lives may be known only now."""
        address = self.place.address if started.address is None else started.address
        group = self.place.group if started.group is None else started.group
        self.place = replace(self.place, address=address, group=group)
        process = started.process
        self._write(pid=process.pid, start_ticks=process.start_ticks, address=address, group=group)

    async def _find_lost(self) -> None:
        """A process whose news was lost ends with this instance."""
        await asyncio.sleep(_LAST_WORDS_S)
        lost = self.launcher.lost(self.place)
        if lost is not None:
            self._write(pid=lost[0], start_ticks=lost[1])

    async def _probe(self) -> None:
        """Until the server listens, and its health check passes as often in a row as it must."""
        await asyncio.sleep(self.spec.health_initial_delay_s if self.spec.health_path else 0.0)
        passes_wanted = self.spec.health_success_threshold if self.spec.health_path else 1
        passes, pause_s = 0, _PROBE_FIRST_S
        while True:
            self._last_probe = await self._look()
            if self._last_probe:
                passes = 0
                pause_s = min(pause_s * 1.5, _PROBE_PERIOD_S_MAX)
            elif (passes := passes + 1) >= passes_wanted:
                return
            await asyncio.sleep(pause_s)

    _last_probe = "it was not tried"
    _was_found = False  # while it was starting: whether it listens has to be tried

    async def _look(self) -> str:
        """What is wrong with the server, "" when nothing is."""
        try:
            async with asyncio.timeout(self.spec.health_timeout_s):
                if not self.spec.health_path:
                    await hooks.connect(self.place.address)
                    return ""
                headers = hooks.hook_headers(self.spec.headers, self.spec.health_path)
                answer = await hooks.request(self.place.address, "GET", self.spec.health_path, headers)
        except TimeoutError:
            return _NO_ANSWER
        except (OSError, hooks.HookError) as error:
            return str(error)
        return "" if 200 <= answer.status < 400 else f"status {answer.status}"

    def _why_not_listening(self, budget_s: float) -> str:
        if launch.is_python(self.spec.runtime):
            return reasons.not_ready(budget_s, self.log_end())
        return reasons.not_listening(self.place.port, self.spec.health_path, budget_s, self._last_probe, self.log_end())

    async def _initialize(self) -> None:
        headers = hooks.hook_headers(self.spec.headers, PATH_INITIALIZE)
        limit_s = self.spec.initialization_timeout_s
        started_s = time.monotonic()
        try:
            async with asyncio.timeout(limit_s):
                answer = await hooks.request(self.place.address, "POST", PATH_INITIALIZE, headers)
        except TimeoutError:
            raise Failure(reasons.initializer_failed(f"did not answer within {limit_s:g} s", self.log_end())) from None
        except hooks.HookError as error:
            await self._leave_time_to_die()
            raise Failure(reasons.initializer_failed(f"got no answer ({error})", self.log_end())) from error
        if not answer.is_success:
            took_s = time.monotonic() - started_s
            raise Failure(reasons.initializer_refused(answer.status, took_s, answer.body_start, self.log_end()))

    async def _leave_time_to_die(self) -> None:
        """A connection that broke off mostly means that the process exits, which is the better reason to give."""
        await asyncio.sleep(0.2)

    # -- while READY --------------------------------------------------------------------------------------------------

    async def _stay_healthy(self) -> None:
        """With a health check: ask now and then. Raises Failure after too many failures in a row. Python handlers have
        no paths of their own to ask; models do.

        A check without an answer in time does not count: a server with one thread is silent while it works.
        """
        if not self.spec.health_path or launch.is_code(self.spec):
            await asyncio.Event().wait()
        failures = 0
        while True:
            await asyncio.sleep(self.spec.health_period_s)
            wrong = await self._look()
            failures = failures + 1 if wrong and wrong != _NO_ANSWER else 0
            if failures >= self.spec.health_failure_threshold:
                raise Failure(reasons.unhealthy(self.spec.health_path, failures, wrong, self.log_end()))

    # -- the end ------------------------------------------------------------------------------------------------------

    async def _unless(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`. Raises StopAsked or Failure as soon as there is no use in waiting for it."""
        assert self.process is not None
        task = asyncio.ensure_future(work)
        asked = asyncio.ensure_future(self._stop_asked.wait())
        try:
            await asyncio.wait((task, asked, self.process.died, self._blamed), return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                raise StopAsked
            if self._blamed.done():
                raise Failure(self._blamed.result())
            if not task.done() and self.record.state is InstanceState.LAUNCHING:
                await asyncio.wait((task,), timeout=_LAST_WORDS_S)
            if self.process.died.done() and not _has_failed(task):
                raise Failure(await self._why_it_died())
            return await task
        finally:
            for waiting in (task, asked):
                waiting.cancel()
            await asyncio.gather(task, asked, return_exceptions=True)

    async def _why_it_died(self) -> str:
        assert self.process is not None
        status = await self.process.exit_status()
        if await self.launcher.ran_out_of_memory(self.place):
            return reasons.out_of_memory(self.spec.memory_mib, self.log_end())
        return reasons.exited(status, launch.start_command(self.spec), self.log_end())

    async def _stop(self) -> None:
        """Pre-stop hook, SIGTERM, and SIGKILL when the grace is over."""
        if self.process is None or self.process.died.done():
            await self._end(InstanceState.STOPPED, "")
            return
        self._write(stopping=True)
        if self.spec.pre_stop and self.record.was_ready:
            await self._until_killed(self._pre_stop())
        # Looked at now, with the parents alive: a child with a session of its own would be lost with its parent.
        family = self.family()
        grace_s = max(0.0, self._kill_at_s - time.monotonic())
        if grace_s > 0:
            await self._until_killed(self.launcher.ask_to_end(self.place, family, grace_s))
            await self._until_killed(_all_gone(self.process, family))
        await self._end(InstanceState.STOPPED, "", family)

    async def _pre_stop(self) -> None:
        headers = hooks.hook_headers(self.spec.headers, PATH_PRE_STOP)
        try:
            async with asyncio.timeout(self.spec.pre_stop_timeout_s):
                answer = await hooks.request(self.place.address, "GET", PATH_PRE_STOP, headers)
            if not answer.is_success:
                log.warning("instance.pre_stop_failed instance=%s status=%d", self.id, answer.status)
        except (TimeoutError, hooks.HookError) as error:
            log.warning("instance.pre_stop_failed instance=%s error=%r", self.id, error)

    async def _until_killed(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` for as long as the grace lasts, which a second stop may shorten."""
        task = asyncio.ensure_future(work)
        while not task.done() and (left_s := self._kill_at_s - time.monotonic()) > 0:
            await asyncio.wait((task,), timeout=min(left_s, 0.1))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _end(self, state: InstanceState, reason: str, family: set[Member] | None = None) -> None:
        """Nobody of the family survives, and what it held (group, socket) is given back, before the state says so."""
        self.ending.set()
        known = family or self.family()
        left = await processes.kill_until_gone(lambda: self.family() | processes.living(known))
        if left:
            log.error("instance.unkillable instance=%s pids=%s", self.id, sorted(pid for pid, _ in left))
        if self.process is not None:
            await asyncio.wait((self.process.died,), timeout=1.0)
            await self.process.exit_status()  # a child of ours is waited for, and leaves no zombie
            self.process.close()
        await self.launcher.clear(self.place)
        self.change(state, reason)

    def log_end(self) -> bytes:
        return launch.log_end(self.place)


_NO_ANSWER = "no answer in time"


def _has_failed(task: asyncio.Future[Any]) -> bool:
    """Did it end with a reason of its own? That one is better than a mere exit code."""
    return task.done() and not task.cancelled() and isinstance(task.exception(), Failure)


async def _all_gone(process: Process, family: set[Member]) -> None:
    await asyncio.shield(process.died)
    while processes.living(family):  # noqa: ASYNC110 - the kernel tells of no grandchild's end
        await asyncio.sleep(0.01)
