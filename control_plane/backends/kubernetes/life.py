"""The life of one instance as a Pod: waits for its container, probes, initializes, and learns how it ended.

The Pod is the record. What nobody could read from it again (that the initializer was called, that it has answered) is
written on it as an annotation before it counts, so that a control plane that starts anew goes on where this one was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from control_plane.backends.kubernetes.client import ApiAway, ApiError, KubernetesClient, Object
from control_plane.backends.kubernetes.outputs import Outputs
from control_plane.backends.kubernetes.pods import EPOCH, FENCED, FINALIZER, STATE, spec_of
from control_plane.backends.kubernetes.settings import KubernetesSettings
from control_plane.backends.kubernetes.states import Phase, Seen, Trouble, is_fenced, look, noted_state
from control_plane.ports import Clock
from runtime.contract import PATH_INITIALIZE, InstanceState
from runtime.node import reasons
from runtime.node.hooks import Answer, HookError, hook_headers
from runtime.node_contract import InstanceStatus, LaunchSpec

log = logging.getLogger(__name__)

_PROBE_FIRST_S: Final = 0.02
_PROBE_PERIOD_S_MAX: Final = 0.5
_LOOK_AGAIN_S: Final = 5.0
_API_AGAIN_S: Final = 0.5
_OUTPUT_S_MAX: Final = 5.0
_FORBIDDEN_S: Final = 20.0  # an API server that has just begun forbids everything until it has read the roles
_NO_ANSWER: Final = "no answer in time"
GRACE_S_MIN: Final = 1  # 0 would take the Pod off the books while its container runs


class Hooks(Protocol):
    """Calls into an instance; `runtime.node.hooks` fills it."""

    async def connect(self, address: str) -> None: ...
    async def request(self, address: str, method: str, path: str, headers: Mapping[str, str]) -> Answer: ...


@dataclass(frozen=True, slots=True)
class World:
    """What all lives share. `changed` is told each new status."""

    client: KubernetesClient
    settings: KubernetesSettings
    clock: Clock
    hooks: Hooks
    outputs: Outputs
    pods: str  # their path
    changed: Callable[[InstanceStatus], None]
    spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]  # ends with the backend


class _Failure(Exception):
    """It is of no use any more; the message is for its user."""


class _Ending(Exception):
    """Its Pod is ending, has ended or is gone, or its node does not answer."""


class Life:
    """One Pod, from the create or from what an earlier control plane has left. `run` is its one task."""

    def __init__(self, pod: Object, world: World) -> None:
        self.name = str(pod["metadata"]["name"])
        self.uid = str(pod["metadata"].get("uid") or "")
        self.spec: LaunchSpec = spec_of(pod)
        self.pod = pod
        self.seen: Seen = look(pod)
        self.is_gone = False
        self.stop_asked = False
        self._world = world
        self._is_lost = False
        self._news = asyncio.Event()
        self._over = asyncio.Event()
        self._said: asyncio.Task[bytes] | None = None
        noted = noted_state(pod)
        state = InstanceState(noted) if noted in ("READY", "INITIALIZING") else InstanceState.LAUNCHING
        address = self._address() if state is not InstanceState.LAUNCHING else ""
        self.status = InstanceStatus(self.spec.instance_id, state, address, 0, world.clock.utc_s(), "")
        self._judge()

    @property
    def id(self) -> str:
        return self.spec.instance_id

    @property
    def path(self) -> str:
        return f"{self._world.pods}/{self.name}"

    # -- what is heard ------------------------------------------------------------------------------------------------

    def heard(self, pod: Object) -> None:
        self.pod, self.seen = pod, look(pod)
        self._judge()

    def gone(self) -> None:
        """The API server has it no more."""
        self.is_gone = True
        self._judge()

    def lost(self) -> None:
        """Its node does not answer, so nobody knows what it does. It gets no request from now on, come what may."""
        self._is_lost = True
        self._judge()

    def _judge(self) -> None:
        self._news.set()
        if self.is_gone or self._is_lost or is_fenced(self.pod) or self.seen.phase in _LAST:
            self._over.set()

    def _address(self) -> str:
        return f"tcp:{self.seen.ip}:{self.spec.ca_port}" if self.seen.ip else ""

    def _become(self, state: InstanceState, reason: str = "") -> None:
        self.status = replace(
            self.status,
            state=state,
            reason=reason,
            at_s=self._world.clock.utc_s(),
            address=self.status.address or self._address(),
        )
        log.info("instance.state instance=%s state=%s reason=%r", self.id, state.value, reason)
        self._world.changed(self.status)

    def _say(self, reason: str) -> None:
        if reason != self.status.reason:
            self.status = replace(self.status, reason=reason)
            self._world.changed(self.status)

    # -- the way to READY ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live until STOPPED or FAILED."""
        try:
            if self.status.state is not InstanceState.READY:
                await self._unless_over(self._become_ready())
            await self._unless_over(self._stay_healthy())
        except _Ending:
            await self._end()
        except _Failure as failure:
            await self._give_up(str(failure))
        except Exception as error:
            log.exception("instance.life_broken instance=%s", self.id)
            await self._give_up(f"the control plane could not run the instance: {error!r}")

    async def _become_ready(self) -> None:
        if self.status.state is InstanceState.INITIALIZING:
            # Whether the initializer has run to its end is not known, and it must not run twice.
            raise _Failure("the control plane was restarted while the instance was initializing")
        await self._until_running()
        await self._until_listening()
        if self.spec.initializer:
            await self._note({STATE: InstanceState.INITIALIZING.value})
            self._become(InstanceState.INITIALIZING)
            await self._initialize()
        await self._note({STATE: InstanceState.READY.value})
        self._become(InstanceState.READY)

    async def _until_running(self) -> None:
        """A pull and the wait for a node are no part of the launch; in vain they are not borne for ever."""
        settings, clock = self._world.settings, self._world.clock
        failing_s = settings.image_failing_s_max
        limits_s = {Trouble.NO_PLACE: settings.pending_s_max, Trouble.IMAGE: failing_s, Trouble.HOPELESS: failing_s}
        trouble, since_s = Trouble.NONE, clock.monotonic_s()
        while self.seen.phase is Phase.WAITING:
            self._news.clear()
            self._say(self.seen.reason)
            # A pull that fails is now "failing", now "waiting to try again": one trouble.
            if self.seen.trouble is not trouble:
                trouble, since_s = self.seen.trouble, clock.monotonic_s()
            left_s = limits_s.get(trouble, float("inf")) - (clock.monotonic_s() - since_s)
            if left_s <= 0:
                raise _Failure(f"Function instance could not be started: {self.seen.reason}")
            await _within(self._news.wait(), min(left_s, 3600.0))
        self._say("")

    async def _until_listening(self) -> None:
        last = "it was not tried"
        spec, pause_s, passes = self.spec, _PROBE_FIRST_S, 0
        try:
            async with asyncio.timeout(spec.launch_timeout_s):
                await self._world.clock.sleep(spec.health_initial_delay_s if spec.health_path else 0.0)
                while True:
                    last = await self._look()
                    passes = 0 if last else passes + 1
                    if passes >= (spec.health_success_threshold if spec.health_path else 1):
                        return
                    pause_s = min(pause_s * 1.5, _PROBE_PERIOD_S_MAX) if last else pause_s
                    await self._world.clock.sleep(pause_s)
        except TimeoutError:
            said, limit_s = await self._output_end(), spec.launch_timeout_s
            raise _Failure(reasons.not_listening(spec.ca_port, spec.health_path, limit_s, last, said)) from None

    async def _look(self) -> str:
        """What is wrong with the server, "" when nothing is."""
        spec = self.spec
        if not self._address():
            return "its Pod has no address yet"
        try:
            async with asyncio.timeout(spec.health_timeout_s):
                if not spec.health_path:
                    await self._world.hooks.connect(self._address())
                    return ""
                headers = hook_headers(spec.headers, spec.health_path)
                answer = await self._world.hooks.request(self._address(), "GET", spec.health_path, headers)
        except TimeoutError:
            return _NO_ANSWER
        except (OSError, HookError) as error:
            return str(error)
        return "" if 200 <= answer.status < 400 else f"status {answer.status}"

    async def _initialize(self) -> None:
        limit_s, started_s = self.spec.initialization_timeout_s, self._world.clock.monotonic_s()
        headers = hook_headers(self.spec.headers, PATH_INITIALIZE)
        try:
            async with asyncio.timeout(limit_s):
                answer = await self._world.hooks.request(self._address(), "POST", PATH_INITIALIZE, headers)
        except TimeoutError:
            said = await self._output_end()
            raise _Failure(reasons.initializer_failed(f"did not answer within {limit_s:g} s", said)) from None
        except HookError as error:
            await self._world.clock.sleep(1.0)  # mostly it has exited, which is the better reason to give
            said = await self._output_end()
            raise _Failure(reasons.initializer_failed(f"got no answer ({error})", said)) from error
        if not answer.is_success:
            took_s = self._world.clock.monotonic_s() - started_s
            what = f"answered {answer.status} after {took_s:.2f} s: {answer.body_start!r}"
            raise _Failure(reasons.initializer_failed(what, await self._output_end()))

    async def _note(self, annotations: Mapping[str, str]) -> None:
        """Write on the Pod, for as long as it takes: what is not written does not count."""
        body = {"metadata": {"uid": self.uid, "annotations": dict(annotations)}}
        forbidden_since_s = float("inf")
        while True:
            try:
                await self._world.client.patch(self.path, body)
                return
            except ApiAway:
                pass
            except ApiError as error:
                if error.status in (404, 409, 422):  # it is gone, or another has its name: the watch will tell
                    await asyncio.Event().wait()
                forbidden_since_s = min(forbidden_since_s, now_s := self._world.clock.monotonic_s())
                if error.status != 403 or now_s - forbidden_since_s >= _FORBIDDEN_S:
                    raise _Failure(f"the cluster refused to note the instance's state: {error}") from error
            await self._world.clock.sleep(_API_AGAIN_S)

    # -- while READY --------------------------------------------------------------------------------------------------

    async def _stay_healthy(self) -> None:
        """The kubelet looks; when it finds something wrong, it is looked at from here, as that has the words.

        A check without an answer in time does not count: a server with one thread is silent while it works.
        """
        while True:
            self._news.clear()
            if self.seen.is_healthy or not self.spec.health_path:
                await self._news.wait()
                continue
            wrong = await self._look()
            if wrong and wrong != _NO_ANSWER:
                times = self.spec.health_failure_threshold
                said = await self._output_end()
                raise _Failure(reasons.unhealthy(self.spec.health_path, times, wrong, said))
            await _within(self._news.wait(), _LOOK_AGAIN_S)

    # -- the end ------------------------------------------------------------------------------------------------------

    async def stop(self, grace_s: int) -> None:
        """Ask the cluster to end it. What it still prints is read meanwhile. Raises ApiAway, ApiError."""
        self.stop_asked = True
        if self._said is None and self.seen.phase in (Phase.RUNNING, Phase.ENDING):
            self._said = self._world.spawn(self._world.outputs.to_the_end(self.path))
        await self._delete(max(GRACE_S_MIN, grace_s))

    async def release(self) -> None:
        """Let the cluster have its Pod: nobody here needs to hear of it again. Raises ApiAway, ApiError."""
        if not self.is_gone and not self.pod["metadata"].get("deletionTimestamp"):
            await self._delete(GRACE_S_MIN)
        await self._let_go()

    async def _let_go(self) -> None:
        if self.is_gone:
            return
        others = [name for name in self.pod["metadata"].get("finalizers") or () if name != FINALIZER]
        try:
            await self._world.client.patch(self.path, {"metadata": {"uid": self.uid, "finalizers": others or None}})
        except ApiError as error:
            if error.status not in (404, 409, 422):
                raise

    async def _delete(self, grace_s: int) -> None:
        try:
            await self._world.client.delete(self.path, grace_s=grace_s, uid=self.uid)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            self.gone()

    async def _end(self) -> None:
        if self._is_cut_off():
            return await self._fence()
        if self.seen.phase is Phase.ENDING and not self.is_gone:
            if self.status.state is not InstanceState.DRAINING:
                self._become(InstanceState.DRAINING, "" if self.stop_asked else "its Pod is being deleted")
            await self._until_ended()
            if self._is_cut_off():
                return await self._fence()
        said = await self._last_words()
        if self.stop_asked or (self.seen.phase is Phase.ENDED and not self.is_gone):
            return self._become(InstanceState.STOPPED, "" if self.stop_asked else "its Pod was deleted")
        if self.is_gone and self.seen.phase is not Phase.DIED:
            return self._become(InstanceState.FAILED, "its Pod was removed from the cluster")
        return self._become(InstanceState.FAILED, self._why_it_died(said))

    async def _until_ended(self) -> None:
        while self.seen.phase is Phase.ENDING and not self.is_gone and not self._is_cut_off():
            self._news.clear()
            await self._news.wait()

    def _is_cut_off(self) -> bool:
        over = self.is_gone or self.seen.phase in (Phase.ENDED, Phase.DIED)
        return not over and (self._is_lost or is_fenced(self.pod))

    async def _fence(self) -> None:
        """Written on the Pod, so that nobody takes it for alive when its node is back; then it is to end there."""
        reason = f"its node {self.seen.node} does not answer"
        try:
            if not is_fenced(self.pod):
                epoch = (self.pod["metadata"].get("annotations") or {}).get(EPOCH, "1")
                body = {"metadata": {"uid": self.uid, "annotations": {FENCED: epoch}}}
                await self._world.client.patch(self.path, body)
            await self._delete(GRACE_S_MIN)
        except (ApiAway, ApiError) as error:  # `release` deletes it too, and whoever comes later finds no record of it
            log.warning("instance.not_fenced instance=%s error=%s", self.id, error)
        self._become(InstanceState.FAILED, f"Function instance was given up: {reason}")

    async def _give_up(self, reason: str) -> None:
        await self._last_words()
        try:
            await self._delete(GRACE_S_MIN)
        except (ApiAway, ApiError) as error:  # as above
            log.warning("instance.not_deleted instance=%s error=%s", self.id, error)
        self._become(InstanceState.FAILED, reason)

    def _why_it_died(self, said: bytes) -> str:
        if self.seen.is_out_of_memory:
            return reasons.out_of_memory(self.spec.memory_mib, said)
        if self.seen.is_evicted or self.seen.exit_code is None:
            return self.seen.reason or "Function instance ended, and the cluster does not say why"
        code = self.seen.exit_code
        command = [*self.spec.command, *self.spec.args] or [self.spec.image]
        return reasons.exited(128 - code if code > 128 else code, command, said)

    async def _last_words(self) -> bytes:
        """What it printed at last, kept for those who ask later."""
        said = b""
        if self._said is not None:
            said = await _within(asyncio.shield(self._said), _OUTPUT_S_MAX) or b""
            self._said.cancel()
        if not said and self.seen.phase is not Phase.WAITING and not self.is_gone:
            said = await self._output_end()
        await self._world.outputs.kept.keep(self.id, said)
        return said

    async def _output_end(self) -> bytes:
        return await _within(self._world.outputs.end(self.path), _OUTPUT_S_MAX) or b""

    async def _unless_over(self, work: Coroutine[Any, Any, None]) -> None:
        """Raises _Ending as soon as there is no use in going on."""
        task, over = asyncio.ensure_future(work), asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait((task, over), return_when=asyncio.FIRST_COMPLETED)
            if over.done():
                raise _Ending
            await task
        finally:
            for waiting in (task, over):
                waiting.cancel()
            await asyncio.gather(task, over, return_exceptions=True)


_LAST: Final = (Phase.ENDING, Phase.ENDED, Phase.DIED)


async def _within(work: Any, limit_s: float) -> Any:
    """Its result, None when that takes too long."""
    try:
        async with asyncio.timeout(limit_s):
            return await work
    except TimeoutError:
        return None
