"""The backend that is a Kubernetes cluster: instances are Pods, created one by one, whose records are the fleet's.

A Pod's name is made of its instance's id, so a create whose answer was lost is not done twice. Its finalizer keeps its
end readable until `forget`. What is known here is a copy that `reflector.py` keeps true, so that looking asks nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from math import ceil
from random import Random
from typing import Any, Final

from control_plane.backends.kubernetes import pods
from control_plane.backends.kubernetes.client import ApiAway, ApiError, KubernetesClient, Object, pods_path
from control_plane.backends.kubernetes.figures import sample
from control_plane.backends.kubernetes.gauges import Gauges
from control_plane.backends.kubernetes.life import Hooks, Life, World
from control_plane.backends.kubernetes.limits import backoff_s
from control_plane.backends.kubernetes.nodes import Attendance, capacity
from control_plane.backends.kubernetes.outputs import OutputFolder, Outputs
from control_plane.backends.kubernetes.pods import Pool
from control_plane.backends.kubernetes.pull_secrets import PullSecrets
from control_plane.backends.kubernetes.reclaims import Reclaims
from control_plane.backends.kubernetes.reflector import Reflector
from control_plane.backends.kubernetes.settings import KubernetesSettings
from control_plane.backends.kubernetes.states import Phase, Trouble, is_ours
from control_plane.backends.watchers import Watchers
from control_plane.errors import LaunchRefused, NotFound, Unavailable
from control_plane.ports import Clock
from runtime.contract import InstanceState
from runtime.node_contract import InstanceSample, InstanceStatus, LaunchSpec, NodeInfo

log = logging.getLogger(__name__)

_NODES: Final = "/api/v1/nodes"
_OTHERS_EVERY_S: Final = 60.0
_OTHERS_S_MAX: Final = 3.0
_CREATES_MAX: Final = 4
_A_LITTLE_S: Final = 0.01  # so that rounding does not have one look a moment too early, and no other follow
_REFUSED: Final = frozenset({400, 403, 404, 413, 422})


class KubernetesBackend:
    """Fills `ports.Backend`. `run` keeps the copy; `pool_of` says which nodes an instance is to run on, if any."""

    def __init__(
        self,
        client: KubernetesClient,
        settings: KubernetesSettings,
        namespace: str,
        clock: Clock,
        chance: Random,
        hooks: Hooks,
        outputs: OutputFolder,
        *,
        epoch: int,
        pool_of: Callable[[LaunchSpec], Pool | None] = lambda _spec: None,
        reclaims: Reclaims | None = None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._chance = chance
        self._epoch = epoch
        self._pool_of = pool_of
        self._reclaims = reclaims or Reclaims((), 0.0)
        self._path = pods_path(namespace)
        said = Outputs(client, outputs, settings.output_kib_kept * 1024)
        self._world = World(client, settings, clock, hooks, said, self._path, self._publish, self._spawn)
        self._secrets = PullSecrets(client, namespace, settings.owner)
        self._gauges = Gauges(client, settings, namespace, clock)
        self._lives: dict[str, Life] = {}
        self._attendance = Attendance()
        self._forgotten: set[str] = set()  # uids of Pods that may still be told of
        self._watchers = Watchers()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._others: tuple[float, Sequence[Object]] = (float("-inf"), [])
        self._pods = Reflector(
            client, self._path, pods.selector(settings.owner), clock, chance,
            changed=self._heard, gone=self._gone, moved=self._reach_changed,
        )  # fmt: skip
        self._nodes = Reflector(
            client, _NODES, "", clock, chance,
            changed=lambda _: self._nodes_changed(), gone=lambda _: self._nodes_changed(),
        )  # fmt: skip

    async def run(self) -> None:
        """Keep what is known here true, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pods.run())
            group.create_task(self._nodes.run())

    async def close(self) -> None:
        """The control plane ends; instances go on."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._gauges.close()
        await self._client.close()

    @property
    def is_reached(self) -> bool:
        """Whether what is known here is what the API server says."""
        return self._pods.is_current

    # -- the port -----------------------------------------------------------------------------------------------------

    async def info(self) -> NodeInfo:
        if not self._nodes.is_current and not self._settings.memory_mib_max:
            raise Unavailable(f"the cluster's nodes are not known: {self._nodes.why_not}")
        others = await self._of_others()
        return capacity(self._nodes.objects.values(), others, self._settings, self._client.server)

    async def prepare(self, runtime: str) -> None:
        """Nothing is made ready: nodes pull images when they are asked to."""

    async def launch(self, spec: LaunchSpec) -> None:
        self._reach()
        if spec.instance_id in self._lives:
            return
        pods.check(spec, self._settings)
        pod = await self._with_secret(spec)
        self._pods.note(pod)
        if spec.instance_id not in self._lives:  # the watch may have been faster
            self._heard(pod)

    async def stop(self, instance_id: str, grace_s: float) -> None:
        self._reach()
        life = self._lives.get(instance_id)
        if life is None or life.status.state.is_final:
            return
        await self._asked(life.stop(ceil(grace_s)))

    async def forget(self, instance_id: str) -> None:
        self._reach()
        life = self._lives.get(instance_id)
        if life is None:
            await self._asked(self._secrets.let_go(instance_id))
        if life is None or not life.status.state.is_final:
            return
        try:
            await self._asked(self._secrets.let_go(instance_id))  # while its Pod is there, and can be found by the next
            await self._asked(life.release())
        except Unavailable:
            self._watchers.cut_off()  # whoever asked has no record of it any more, and finds it when it looks at all
            raise
        self._lives.pop(instance_id, None)
        if not life.is_gone:
            self._forgotten.add(life.uid)

    async def list(self) -> Sequence[InstanceStatus]:
        self._reach()
        return [self._told(life.status) for life in self._lives.values()]

    async def watch(self) -> AsyncIterator[InstanceStatus]:
        self._reach()
        with self._watchers.joined(self._told(life.status) for life in self._lives.values()) as told:
            while (status_or_end := await told.get()) is not None:
                yield status_or_end
        raise Unavailable(self._pods.why_not or "a call to the API server was lost")

    async def samples(self) -> Sequence[InstanceSample]:
        self._reach()
        running = [life for life in self._lives.values() if life.status.state is InstanceState.READY]
        hosts = {str((life.pod.get("status") or {}).get("hostIP") or "") for life in running} - {""}
        usages = self._gauges.newest(hosts)
        at_s = self._gauges.read_at_s
        return [sample(life.id, at_s, usages.get(life.name), life.spec.cpu) for life in running]

    async def logs(self, instance_id: str, *, tail_bytes: int, follow: bool) -> AsyncIterator[bytes]:
        life = self._lives.get(instance_id)
        if life is None or life.status.state.is_final or life.is_gone:
            kept = await self._world.outputs.kept.read(instance_id)
            if kept is None and life is None:
                raise NotFound("Instance", f"instance '{instance_id}' does not exist, or its output is not kept")
            if kept and tail_bytes:
                yield kept[-tail_bytes:]
            return
        if life.seen.phase is Phase.WAITING:
            return  # nothing has been printed
        try:
            async for chunk in self._world.outputs.live(life.path, tail_bytes, follow=follow):
                yield chunk
        except ApiAway as error:
            raise Unavailable(str(error)) from error
        except ApiError as error:
            if error.status not in (400, 404):  # the container is not there yet, or no more
                raise Unavailable(str(error)) from error

    # -- what the cluster tells ---------------------------------------------------------------------------------------

    def _heard(self, pod: Object) -> None:
        uid = str(pod["metadata"].get("uid") or "")
        instance_id = str((pod["metadata"].get("labels") or {}).get(pods.LABEL_INSTANCE) or "")
        life = self._lives.get(instance_id)
        if life is not None and life.uid == uid:
            life.heard(pod)
            return
        if life is not None or uid in self._forgotten:
            return
        if pod["metadata"].get("deletionTimestamp") and not is_ours(pod):
            return  # it was heard to its end by whoever let go of it
        try:
            life = Life(pod, self._world)
        except (KeyError, ValueError, TypeError) as error:
            log.error("kubernetes.unreadable pod=%s error=%r", pod["metadata"].get("name"), error)
            return
        self._lives[life.id] = life
        self._secrets.noticed(life.id, pod)
        self._publish(life.status)
        self._spawn(life.run())
        self._judge_nodes()

    def _gone(self, pod: Object) -> None:
        uid = str(pod["metadata"].get("uid") or "")
        self._forgotten.discard(uid)
        for life in [life for life in self._lives.values() if life.uid == uid]:
            life.gone()

    def _nodes_changed(self) -> None:
        told = self._reclaims.look(self._nodes.objects.values(), self._clock.utc_s())
        for life in list(self._lives.values()) if told else ():
            if life.seen.node in told and not life.status.state.is_final:
                self._publish(life.status)
        if self._attendance.look(self._nodes.objects.values(), self._clock.monotonic_s()):
            self._spawn(self._judge_nodes_later())

    async def _judge_nodes_later(self) -> None:
        await self._clock.sleep(self._settings.node_lost_s + _A_LITTLE_S)
        self._judge_nodes()

    def _judge_nodes(self) -> None:
        away = self._attendance.lost(self._clock.monotonic_s(), self._settings.node_lost_s)
        for life in list(self._lives.values()) if away else ():
            if life.seen.node in away and not life.status.state.is_final:
                life.lost()

    def _reach_changed(self) -> None:
        if not self._pods.is_current:
            self._watchers.cut_off()

    def _publish(self, status: InstanceStatus) -> None:
        self._watchers.tell(self._told(status))

    def _told(self, status: InstanceStatus) -> InstanceStatus:
        """With what is known of its node."""
        life = self._lives.get(status.instance_id)
        if life is None or status.state.is_final:
            return status
        trouble = life.seen.trouble if status.state is InstanceState.LAUNCHING else Trouble.NONE
        return replace(
            status,
            reclaim_at_s=self._reclaims.at_s(life.seen.node),
            is_unplaced=trouble is Trouble.NO_PLACE,
            is_hindered=trouble is not Trouble.NONE and bool(status.reason),
        )

    # -- small steps --------------------------------------------------------------------------------------------------

    def _reach(self) -> None:
        if not self._pods.is_current:
            raise Unavailable(self._pods.why_not)

    async def _with_secret(self, spec: LaunchSpec) -> Object:
        """Its Pod, and before it what the image is pulled with."""
        try:
            name = await self._secrets.hold(spec)
        except (ApiAway, ApiError) as error:
            raise Unavailable(str(error)) from error
        body = pods.pod_of(spec, self._settings, epoch=self._epoch, pool=self._pool_of(spec), pull_secret=name)
        try:
            return await self._created(spec, body)
        except LaunchRefused:
            await self._asked(self._secrets.let_go(spec.instance_id))
            raise

    async def _created(self, spec: LaunchSpec, body: Object) -> Object:
        """The same name each time, so that asking again does not make a second one.

        After a call that was lost nobody knows whether there is a Pod. Whoever asked finds out by the next watch: so
        this one ends, though the watch of the cluster may never have broken.
        """
        attempt = 0
        while True:
            try:
                return await self._client.create(self._path, body)
            except ApiError as error:
                return await self._already_there(spec, error)
            except ApiAway as error:
                attempt += 1
                if attempt == _CREATES_MAX or not self._pods.is_current:
                    self._watchers.cut_off()
                    raise Unavailable(str(error)) from error
                await self._clock.sleep(backoff_s(attempt, self._chance))

    async def _already_there(self, spec: LaunchSpec, error: ApiError) -> Object:
        """What a refused create leaves: the Pod of an earlier call for this instance, or the reason for the user."""
        if error.status == 409 and error.reason == "AlreadyExists":
            try:
                pod = await self._client.get(f"{self._path}/{pods.pod_name(spec.instance_id)}")
            except (ApiError, ApiAway) as away:
                raise Unavailable(str(away)) from away
            if (pod["metadata"].get("labels") or {}).get(pods.LABEL_OWNER) == self._settings.owner:
                return pod
            raise LaunchRefused(f"the Pod {pods.pod_name(spec.instance_id)} is there already and not ours")
        if error.status in _REFUSED:
            raise LaunchRefused(f"the cluster refused the instance's Pod: {error}")
        raise Unavailable(f"the API server answered {error.status}: {error}")

    async def _asked(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (ApiAway, ApiError) as error:
            raise Unavailable(str(error)) from error

    async def _of_others(self) -> Sequence[Object]:
        """Pods of others that hold a part of the nodes; none where it is not allowed to ask for them."""
        read_at_s, known = self._others
        if self._clock.monotonic_s() - read_at_s < _OTHERS_EVERY_S:
            return known
        try:
            async with asyncio.timeout(_OTHERS_S_MAX):  # decisions wait for it, and calls may stand in line
                answer = await self._client.get(
                    "/api/v1/pods",
                    labelSelector=f"{pods.LABEL_OWNER}!={self._settings.owner}",
                    fieldSelector="status.phase!=Succeeded,status.phase!=Failed",
                    resourceVersion="0",  # from the server's memory: it need not be the newest
                )
                known = answer.get("items") or ()
        except (ApiError, ApiAway, TimeoutError) as error:
            log.info("kubernetes.others_unknown error=%s", error)
        self._others = (self._clock.monotonic_s(), known)
        return known

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
