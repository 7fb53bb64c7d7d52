"""The control plane's process. The one module that names concrete classes: `python -m control_plane`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from redis.asyncio import Redis
from starlette.types import ASGIApp

from control_plane import code_sweep, registry_auth
from control_plane.api import create_app
from control_plane.api.auth import SignatureAuthenticator
from control_plane.async_invocations import StoredInvocations
from control_plane.autoscale import Autoscaler, Pace
from control_plane.backends.node import NodeBackend, NodeEnvironments, NodeShells
from control_plane.backends.pools import read_pools
from control_plane.clock import SystemClock
from control_plane.code_store import FolderCodeStore
from control_plane.collecting import collect_rarely
from control_plane.credentials import write_secret_key
from control_plane.environments import EnvironmentBook, sweep_for_ever
from control_plane.errors import InvalidArgument, Unavailable
from control_plane.explanations import Explanations
from control_plane.fleet.fencing import FencedBackend, FencedMemoryStore, FencedRecordStore
from control_plane.fleet.keeper import FleetKeeper, Limits
from control_plane.fleet.lease_store import RedisLeaseStore
from control_plane.fleet.lessor import Lessor
from control_plane.fleet.memories import MemoryStore, RedisMemoryStore
from control_plane.fleet.placement import Rule
from control_plane.fleet.pooling import Pooling
from control_plane.fleet.processes import LocalProcesses
from control_plane.fleet.records import RecordStore, RedisRecordStore
from control_plane.fleet.usage import UsageBook
from control_plane.hearing import Hearing
from control_plane.leadership import Leadership, RedisLeaderStore
from control_plane.lease_words import LeaseWords
from control_plane.metering.book import UsageAccounts
from control_plane.metering.prices import read_prices
from control_plane.metering.records import MeteredRecords
from control_plane.metering.store import Kept, UsageStore
from control_plane.model import Function, Service
from control_plane.ports import Backend, Fleet, Shells
from control_plane.prometheus import Prometheus, Source
from control_plane.prometheus_access import read_access
from control_plane.registry import RedisRegistry
from control_plane.registry.access_keys import StoredAccessKeys
from control_plane.registry.launching import launch_spec
from control_plane.registry.redis_store import RedisStore
from control_plane.settings import ControlPlaneSettings
from control_plane.standby import REGISTRY_CHANNEL, Announcer, LedFleet, ToLeader
from control_plane.view import FleetView
from runtime.access.local import FILE_NAME as LOCAL_KEY_FILE
from runtime.access.local import LocalKey
from runtime.access.sealing import FILE_NAME as SECRET_FILE
from runtime.access.sealing import read_box
from runtime.access.shared_nonces import SharedNonces
from runtime.access.shared_nonces import connect as connect_nonces
from runtime.async_invocation.store import AsyncStore
from runtime.compiled import DECISIONS
from runtime.contract import USAGE_CHANNEL, UsageReport, VersionKey
from runtime.leasing import LEASE_CHANNEL, LEASE_KEY_PURPOSE, LeaseReport
from runtime.node.client import NodeClient
from runtime.node_contract import LaunchSpec

if TYPE_CHECKING:
    from control_plane.backends.kubernetes.backend import KubernetesBackend

log = logging.getLogger(__name__)

STORE_RETRY_S = 0.2
STORE_TIMEOUT_S = 5.0


def new_instance_id() -> str:
    """Shaped like FC's: `c-` and three groups of hex, the first of which is the time."""
    return f"c-{int(time.time()):08x}-{secrets.token_hex(4)}-{secrets.token_hex(6)}"


class _Server(uvicorn.Server):
    """Leaves signals alone: uvicorn would raise the one it ended by again, and nothing after it would be done."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ControlPlane:
    """Every part of the control plane, wired together."""

    def __init__(self, settings: ControlPlaneSettings) -> None:
        self.settings = settings
        self.box = read_box(settings.data / SECRET_FILE)
        # A store that hangs is a store that is away; the reports' connection alone may be silent for long.
        self.redis = Redis.from_url(settings.store, socket_timeout=STORE_TIMEOUT_S)
        self.reports = Redis.from_url(settings.store)
        self.nonces = connect_nonces(settings.store)
        self.clock = SystemClock()
        self.usage = UsageBook()
        node = NodeClient(settings.node.removeprefix("unix:"))
        pools = read_pools(settings.pools) if settings.pools else None
        self.leadership = (
            Leadership(RedisLeaderStore(self.redis), self.clock, secrets.token_hex(8), settings.reached_at, lease_s)
            if (lease_s := settings.leader_lease_s)
            else None
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.cluster: KubernetesBackend | None = None
        self.shells: Shells = NodeShells(node)
        if settings.backend == "kubernetes":
            from control_plane.backends.kubernetes.assemble import cluster_of  # which others need not carry
            from control_plane.backends.kubernetes.shells import NoShells

            self.cluster, self.shells = cluster_of(settings, self.clock, pools), NoShells()
        self.backend = self._fenced(self.cluster or NodeBackend(node, pools))
        self.environments = NodeEnvironments(node)
        self.code = FolderCodeStore(settings.data / "code")
        self.registry = RedisRegistry(self.redis, region=settings.region, account_id=settings.account_id)
        self.accounts = self._usage_accounts()
        self.explanations = Explanations(self.redis, self.clock, settings.memory_saved_every_s)
        self.keeper = FleetKeeper(
            self.backend,
            MeteredRecords(self._records(), self.accounts, self.clock.utc_s),
            self.usage,
            self.clock,
            new_instance_id,
            Limits(settings.drain_timeout_s, settings.stop_grace_s, settings.launches_at_once_max),
            on_change=self._instances_changed,
            pooling=Pooling(pools, settings.drain_timeout_s, settings.stop_grace_s),
        )
        self.lessor = Lessor(self.keeper.records, RedisLeaseStore(self.redis), LocalProcesses(), self.usage, self.clock)
        self.prometheus = Prometheus(self.clock, settings.prometheus_allowed, _prometheus_source(settings))
        self.autoscaler = Autoscaler(
            self.registry,
            self.keeper,
            self.usage,
            self.backend,
            self._memories(),
            self.clock,
            self._make_spec,
            Pace(settings.tick_s, settings.memory_saved_every_s, settings.on_demand_idle_s),
            readings=self.prometheus,
            on_change=self.explanations.noted,
            rule=Rule(settings.placement_strategy, settings.placement_family, settings.placement_cpu_overcommit),
        )
        app = LeaseWords(self._app(), self.lessor.vouch, self.box.derive(LEASE_KEY_PURPOSE))
        self.forwarding = None if self.leadership is None else ToLeader(app, self.leadership)
        self.app = self.forwarding or app

    def _app(self) -> ASGIApp:
        """What answers the API."""
        settings = self.settings
        view: Fleet = FleetView(self.autoscaler, self.keeper, self.usage, self.backend, self.explanations)
        if self.leadership is not None:
            view = LedFleet(view, self.leadership)
            self.registry.subscribe(Announcer(self.redis, self.leadership).registry_changed)
        keys = StoredAccessKeys(RedisStore(self.redis), self.box, LocalKey(settings.data / LOCAL_KEY_FILE))
        return create_app(
            self.registry,
            view,
            self.code,
            settings,
            authenticator=SignatureAuthenticator(keys, SharedNonces(self.nonces)),
            access_keys=keys,
            url_key=self.box.derive("urls of code"),
            invocations=StoredInvocations(
                AsyncStore(self.redis), self.clock.utc_s, settings.async_record_s, settings.async_stateful_record_s
            ),
            accounts=self.accounts,
            shells=self.shells,
            environments=EnvironmentBook(self.environments, settings.environment_wait_s),
            box=self.box,
        )

    def _usage_accounts(self) -> UsageAccounts:
        settings = self.settings
        return UsageAccounts(
            UsageStore(
                self.redis, Kept(settings.usage_hours_kept_s, settings.usage_days_kept_s, settings.recorded_kept_s)
            ),
            self.registry,
            self.clock,
            read_prices(settings.prices) if settings.prices else None,
            settings.usage_saved_every_s,
        )

    def _fenced(self, backend: Backend) -> Backend:
        return backend if self.leadership is None else FencedBackend(backend, self.leadership)

    def _records(self) -> RecordStore:
        leads = self.leadership
        return RedisRecordStore(self.redis) if leads is None else FencedRecordStore(self.redis, lambda: leads.term)

    def _memories(self) -> MemoryStore:
        memories = RedisMemoryStore(self.redis)
        return memories if self.leadership is None else FencedMemoryStore(memories, self.leadership)

    def _make_spec(self, function: Function, service: Service, version: str, instance_id: str) -> LaunchSpec:
        region, account_id = self.settings.region, self.settings.account_id
        spec = launch_spec(function, version, instance_id, region=region, account_id=account_id, service=service)
        spec = registry_auth.with_credentials(spec, function, self.box)
        self.accounts.launching(spec)
        return spec

    def _instances_changed(self, key: VersionKey) -> None:
        self.autoscaler.hurry([key])
        self.lessor.changed()

    async def run(self) -> None:
        """Serve until SIGTERM. Instances live on when this returns."""
        await self._patiently(self.registry.build_indexes)
        if self.leadership is None:
            await self._lead()
        else:
            self._begin("campaign", self._campaign(self.leadership))
        server = _Server(
            uvicorn.Config(
                self.app,
                **self._place(),
                access_log=False,
                log_config=None,
                ws="wsproto",
                ws_max_size=self.settings.exec_message_bytes_max,
                ws_per_message_deflate=False,
                # Told to every shell's client, so that nobody between takes the connection for idle. Its answer is not
                # waited for: it stands behind input that a busy process may leave unread.
                ws_ping_timeout=None,
                lifespan="off",
                timeout_keep_alive=75,
                timeout_graceful_shutdown=5,
            )
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, server.handle_exit, number, None)
        await server.serve()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.keeper.close()
        if self.cluster is not None:
            await self.cluster.close()
        await self.prometheus.close()
        if self.leadership is None or self.leadership.holds:
            await self._write_down()
        if self.leadership is not None:
            await self._step_down(self.leadership)
        if self.forwarding is not None:
            await self.forwarding.close()
        await self.redis.aclose()
        await self.reports.aclose()
        await self.nonces.aclose()

    def _place(self) -> dict[str, Any]:
        if not self.settings.listen:
            return {"uds": str(self.settings.socket)}
        host, _, port = self.settings.listen.rpartition(":")
        return {"host": host.strip("[]"), "port": int(port)}

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_die_with)
        self._tasks.append(task)

    async def _campaign(self, leadership: Leadership) -> None:
        """Wait to lead, then take over. Whoever loses the lease ends, and begins again as one that waits."""
        await leadership.campaign()
        self._begin("leadership", leadership.keep())
        await self._lead()
        leadership.serves = True

    async def _lead(self) -> None:
        """Take over what an earlier control plane has left, and begin to decide."""
        await self._patiently(self.accounts.load)
        await self._patiently(self.keeper.adopt)
        await self._patiently(self.lessor.begin)
        for name, work in (
            ("hearing", self._hearing().run()),
            ("follow", self.keeper.follow()),
            ("autoscale", self.autoscaler.run()),
            ("lease", self.lessor.run()),
            ("prometheus", self.prometheus.run()),
            ("accounts", self.accounts.run()),
            ("explanations", self.explanations.run()),
            ("code", self._sweep_code()),
            # On a cluster there is no node, which is who makes environments.
            ("environments", self._sweep_environments()) if self.cluster is None else ("cluster", self.cluster.run()),
        ):
            self._begin(name, work)

    async def _step_down(self, leadership: Leadership) -> None:
        leadership.serves = False
        try:
            await leadership.resign()
        except Unavailable as error:
            log.warning("leader.not_resigned error=%s", error)

    async def _sweep_environments(self) -> None:
        await sweep_for_ever(self.registry, self.environments, self.clock, self.settings.environment_sweep_s)

    async def _sweep_code(self) -> None:
        instances, every_s = None if self.cluster else self.environments, self.settings.environment_sweep_s
        await code_sweep.sweep_for_ever(self.registry, self.code, instances, self.clock, every_s)

    async def _patiently(self, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await work()
                return
            except Unavailable as error:
                log.warning("store.away error=%s", error)
                await self.clock.sleep(STORE_RETRY_S)

    async def _write_down(self) -> None:
        """What is not kept yet; a store that is away does not hold up the end."""
        try:
            await self.accounts.flush()
            await self.explanations.flush()
        except Unavailable as error:
            log.warning("usage.unwritten error=%s", error)

    def _hearing(self) -> Hearing:
        """What gateways and other control planes say. Requests that wait are looked at before the next tick."""

        def usage(data: bytes) -> None:
            report = UsageReport.from_json(data)
            self.accounts.heard(report)
            self.autoscaler.hurry(self.usage.absorb(report))

        listeners: dict[str, Callable[[bytes], None]] = {
            USAGE_CHANNEL: usage,
            LEASE_CHANNEL: lambda data: self.lessor.hear(LeaseReport.from_json(data)),
            REGISTRY_CHANNEL: lambda data: self.autoscaler.registry_changed(frozenset(json.loads(data))),
        }
        one_of_several = self.leadership is not None
        begun = self.autoscaler.read_everything if one_of_several else lambda: None
        return Hearing(self.reports, self.clock, listeners, begun)


def _prometheus_source(settings: ControlPlaneSettings) -> Callable[[], Source]:
    """Raises ValueError at once where the file that says what servers are shown is wrong."""
    servers = read_access(settings.prometheus_access)

    def make() -> Source:
        from control_plane.prometheus_http import HttpSource  # a client for HTTP is memory that few installations need

        return HttpSource(servers)

    return make


def _die_with(task: asyncio.Task[None]) -> None:
    """A loop that ends by an error ends the process: the supervisor starts a new one, which adopts everything."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("loop.died name=%s", task.get_name(), exc_info=error)
        signal.raise_signal(signal.SIGTERM)


def parse(arguments: Sequence[str]) -> ControlPlaneSettings:
    parser = argparse.ArgumentParser(prog="stoke control-plane")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--store", metavar="URL")
    parser.add_argument("--socket", type=Path, metavar="PATH")
    parser.add_argument("--node", metavar="unix:PATH")
    parser.add_argument("--listen", metavar="HOST:PORT")
    parser.add_argument("--public-url", metavar="URL")
    parser.add_argument("--backend", metavar="kubernetes")
    parser.add_argument("--kubeconfig", metavar="FILE")
    parser.add_argument("--namespace", metavar="NAME")
    parser.add_argument("--kubernetes-settings", type=Path, metavar="FILE")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    return ControlPlaneSettings(**given)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    settings = parse(sys.argv[1:])
    write_secret_key(settings.data / SECRET_FILE)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each call would be most of the log
    log.info("decisions compiled=%s", DECISIONS.is_used())
    collect_rarely()
    try:
        plane = ControlPlane(settings)
    except InvalidArgument as error:
        sys.exit(f"stoke control-plane: {error.message}")
    asyncio.run(plane.run())


if __name__ == "__main__":
    main()
