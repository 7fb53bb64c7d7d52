"""What a gateway knows, and how a request enters: checks, then its gate; the control plane for all but functions."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from time import monotonic
from typing import Any

from runtime.access.local import LocalKey
from runtime.access.nonces import Nonces
from runtime.access.shared_nonces import SharedNonces
from runtime.access.shared_nonces import connect as connect_nonces
from runtime.contract import UsageReport, VersionKey
from runtime.gateway import answers
from runtime.gateway.accept import Acceptance, is_async
from runtime.gateway.api import ApiRequest
from runtime.gateway.authorize import Admission, Doorkeeper, Keyring, TokenDoor
from runtime.gateway.background import AsyncInvocations, connect
from runtime.gateway.figures import figures
from runtime.gateway.finished import Finished
from runtime.gateway.gate import Gate, Lease, Ticket
from runtime.gateway.headers import RequestHead, sort_request
from runtime.gateway.invocation import Invocation
from runtime.gateway.key_sets import KeySets
from runtime.gateway.log_type import pass_log_type
from runtime.gateway.metrics import Metrics
from runtime.gateway.news import News
from runtime.gateway.nonce_wait import NonceWait
from runtime.gateway.passage import Passage, Way
from runtime.gateway.patience import Patience
from runtime.gateway.refusal import Refusal, unavailable
from runtime.gateway.relay import Relay
from runtime.gateway.reporter import Reporter
from runtime.gateway.resolve import ApiAsk, DomainAsk, InvokeAsk, Names, TriggerAsk, ask
from runtime.gateway.routes import Destination, Entrance, Routes
from runtime.gateway.settings import GatewaySettings
from runtime.gateway.sharing import sharing_of
from runtime.gateway.siblings import Siblings
from runtime.gateway.terms import Desk, Terms
from runtime.gateway.upgrade import ApiUpgrade, InvocationUpgrade, wants_upgrade
from runtime.gateway.upstreams import Upstreams
from runtime.gateway.watch import METRICS_PATH, check_watcher
from runtime.http.client import ConnectionFailed
from runtime.http.exchange import Exchange
from runtime.http.pool import Pool
from runtime.leasing import LeaseReport
from runtime.traffic.asked import Asked

log = logging.getLogger(__name__)


class Gateway:
    """One gateway's state. `handle` is the server's handler; `news` is the feed's listener."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: GatewaySettings,
        publish: Callable[[UsageReport], Awaitable[bool]],
        publish_lease: Callable[[LeaseReport], Awaitable[None]] | None = None,
    ) -> None:
        """`publish_lease` is needed where the settings say that there are several gateways."""
        self._loop = loop
        self.settings = settings
        self.routes = Routes()
        self.request_ids = answers.RequestIds()
        self.keys = Keyring(LocalKey(settings.credentials_path), settings.secret_key_path)
        self._nonces_client = connect_nonces(settings.store)
        self.nonces = SharedNonces(self._nonces_client, Nonces(settings.nonces_max))
        self._doorkeeper = Doorkeeper(self.keys, self.nonces)
        self.metrics = Metrics()
        self._finished = Finished(loop, settings)
        self.record = self._finished.record
        self._tokens = TokenDoor(KeySets(self.spawn))
        self.roll = random.Random().random  # noqa: S311 (which version of an alias is no secret)
        self._gates: dict[VersionKey, Gate] = {}
        self._desk = Desk(settings)
        self._tasks: set[asyncio.Task[None]] = set()
        self.patience = patience = Patience(loop, settings)
        connect_s = settings.connect_timeout_s
        self.control_plane = Pool(loop, settings.control_plane, connect_timeout_s=connect_s, idle=patience.with_idle)
        self.sharing = sharing_of(
            settings, self._gates, lambda instance_id: self.upstreams.gate_of(instance_id), self._wake, publish_lease
        )
        self.upstreams = Upstreams(
            loop,
            gate=self.gate,
            wake=self._wake,
            spawn=self.spawn,
            report_soon=lambda: self.reporter.soon(),
            slots=self.sharing.slots,
            connect_timeout_s=connect_s,
            idle_timeout_s=settings.instance_idle_s,
            outlier_limits=settings.outlier_limits,
            ejected=self.metrics.ejected,
            bereave=patience.bereave,
        )
        self.news = News(self.routes, self.keys, self.upstreams, self.sharing, self._gates, self._desk, self.metrics)
        self.async_invocations = AsyncInvocations(self, connect(settings.store))
        self.reporter = Reporter(
            settings.id,
            self._gates,
            self._unreachable,
            publish,
            every_s=settings.report_every_s,
            also=self.sharing.short,
        )
        self.siblings = Siblings(
            settings.number,
            settings.gateways if settings.sockets else 1,  # those on other machines tell for themselves
            Path(settings.sockets),
            lambda: figures(self.metrics, self._gates, self.upstreams.held_back()),
        )

    # -- requests ------------------------------------------------------------------------------------------------------

    def handle(self, exchange: Exchange) -> None:
        """Take an exchange over, or answer it."""
        passage = exchange.request.note
        try:
            if passage is not None and passage.way.generation == self.routes.generation:
                Invocation(self, exchange, passage).begin()
            else:
                self._enter(exchange)
        except Exception as error:
            self._failed(exchange, error)

    def guarded(self, exchange: Exchange, go_on: Callable[[], None]) -> None:
        """Go on with an exchange, or answer it."""
        try:
            go_on()
        except Exception as error:
            self._failed(exchange, error)

    def _failed(self, exchange: Exchange, error: Exception) -> None:
        if isinstance(error, Refusal):
            self.metrics.refusals[error.code] += 1
            answers.refuse(exchange, error, self.request_ids.new())
            return
        log.error("request-failed target=%r", exchange.target[:200], exc_info=error)
        internal = Refusal(500, "InternalServerError", "an internal error has occurred")
        if isinstance(exchange.owner, Relay):
            exchange.owner.refuse(internal)  # which gives back what it holds
        else:
            answers.refuse(exchange, internal, self.request_ids.new())

    def _enter(self, exchange: Exchange) -> None:
        if exchange.problem is not None:
            raise Refusal(*exchange.problem)
        if exchange.target == b"*":
            answers.methods(exchange)
            return
        head = sort_request(exchange.request)
        before = exchange.request.note_before
        again = None if before is None else before.again(self.routes.generation, head)
        if again is not None:
            exchange.request.note = again
            Invocation(self, exchange, again).begin()
            return
        invocation_target = head.fc_value(b"x-fc-invocation-target") if head.fc else None
        routes = self.routes
        asked = ask(
            exchange.method, exchange.target, head.host or b"", invocation_target, routes.subdomains, routes.domains
        )
        if isinstance(asked, DomainAsk):
            asked = routes.by_domain(asked, exchange.method)
        if isinstance(asked, TriggerAsk):
            self._enter_trigger(exchange, head, asked)
        elif isinstance(asked, InvokeAsk):
            self._enter_invocation(exchange, head, asked)
        elif exchange.target == METRICS_PATH:
            check_watcher(exchange, self.keys)
            self.siblings.answer(exchange, self.spawn)
        else:
            assert isinstance(asked, ApiAsk), "there are four things to ask for"
            (ApiUpgrade if wants_upgrade(exchange) else ApiRequest)(self, exchange, head).begin()

    def _enter_trigger(self, exchange: Exchange, head: RequestHead, asked: TriggerAsk) -> None:
        self._check_loaded()
        entrance = self.routes.entrance(asked)
        if entrance.internet_disabled:
            raise Refusal(403, "AccessDenied", "access denied due to function internet URL is disable")
        if exchange.method not in entrance.methods:
            allowed = b", ".join(sorted(entrance.methods)).decode()
            message = f"method '{exchange.method.decode('latin-1')}': {allowed} is allowed by the trigger"
            raise Refusal(405, "MethodNotAllowed", message, (("allow", allowed),))
        admission: Admission | None = None
        if entrance.is_signed:
            admission = self._doorkeeper.check_trigger(exchange, asked.target, asked.base_path, entrance.names.service)
        elif entrance.jwt is not None:
            self._tokens.check(exchange, head, entrance.jwt, asked.target)
        elif head.authorization is not None:
            head.passed += (b"authorization", b": ", head.authorization, b"\r\n")  # the function's own affair
        self._enter_function(exchange, head, entrance.names, admission, asked, entrance)

    def _enter_invocation(self, exchange: Exchange, head: RequestHead, asked: InvokeAsk) -> None:
        self._check_loaded()
        admission = self._doorkeeper.check_invocation(exchange, asked.names.service)
        self._enter_function(exchange, head, asked.names, admission)

    def _enter_function(
        self,
        exchange: Exchange,
        head: RequestHead,
        names: Names,
        admission: Admission | None,
        trigger: TriggerAsk | None = None,
        entrance: Entrance | None = None,
    ) -> None:
        """At once, or as soon as the store has said that the signature's nonce is new.

        By an open entrance nothing about a request is checked, so the next one with this head may go the same way.
        """

        def go_on() -> None:
            body = None if admission is None else admission.body
            asynchronous = is_async(head)
            asked = Asked(exchange.headers, exchange.target)
            destination = self._open_destination(names, asked)
            if asynchronous:
                Acceptance(self, exchange, head, destination, names, body, trigger).begin()
                return
            if trigger is None and head.fc:
                pass_log_type(head)
            key_id = "" if admission is None else admission.access_key_id
            has_rules = self.routes.has_rules(names)
            terms = self._desk.terms(asked, head, entrance, destination, key_id, has_rules=has_rules)
            passage = self._passage(exchange, head, trigger, names, destination, terms)
            if wants_upgrade(exchange):
                InvocationUpgrade(self, exchange, passage, body).begin()
                return
            if entrance is not None and entrance.is_open and self.routes.is_fixed(names):
                exchange.request.note = passage
            Invocation(self, exchange, passage, body).begin()

        if admission is not None and admission.nonce:
            NonceWait(self, exchange, admission, go_on).begin()
        else:
            go_on()

    def _open_destination(self, names: Names, asked: Asked) -> Destination:
        """Where a request goes, unless the function's owner has closed it."""
        destination = self.routes.destination(names, self.roll(), asked)
        route = destination.route
        if route.is_disabled:
            because = f": {route.disabled_reason}" if route.disabled_reason else ""
            raise Refusal(403, "AccessDenied", f"function '{names.function}' is disabled{because}")
        return destination

    def _passage(
        self,
        exchange: Exchange,
        head: RequestHead,
        trigger: TriggerAsk | None,
        names: Names,
        destination: Destination,
        terms: Terms,
    ) -> Passage:
        settings = self.settings
        way = Way(
            exchange,
            trigger,
            destination,
            self.gate(destination.key),
            self.patience.with_function(destination.route.timeout_s),
            names,
            self.metrics.series(names),
            held_body_bytes_max=settings.held_body_bytes_max,
            body_bytes_max=settings.invocation_body_bytes_max if trigger is None else settings.trigger_body_bytes_max,
            generation=self.routes.generation,
            terms=terms,
        )
        return Passage(way, head)

    def _check_loaded(self) -> None:
        if not self.news.loaded.is_set():
            raise unavailable("the gateway has not read the routes yet: the store is away")

    # -- what a request on its way asks --------------------------------------------------------------------------------

    def gate(self, key: VersionKey) -> Gate:
        """The gate of a function version, made when it is first asked for."""
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = self._desk.new_gate()
        return gate

    def give_back(self, lease: Lease, now_s: float) -> None:
        """Release a lease, and tell the request that got its slot."""
        ticket = lease.release(now_s)
        if ticket is not None:
            self._wake([ticket])
        self.sharing.released(lease.instance)
        if lease.instance.draining and not lease.instance.in_flight:
            self.reporter.soon()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside the requests: a connect, a probe."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def log_lost(self, request_id: str, instance_id: str, error: ConnectionFailed) -> None:
        log.warning("instance-lost request=%s instance=%s reason=%r", request_id, instance_id, str(error))

    async def close(self) -> None:
        """Stop everything that was begun here. Requests on their way are cut by the server before."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.async_invocations.store.close()
        await self._nonces_client.aclose()
        await self._finished.close()
        self.upstreams.close()
        self.control_plane.close()
        self.patience.end()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _wake(self, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            assert ticket.lease is not None, "only bound tickets are woken"
            ticket.waiter.granted(ticket.lease)

    def _unreachable(self) -> list[str]:
        """Asked once a report: also the moment to drop what is no more, or no more in use.

        So each report looks at the functions that are busy, however many were once. Why a launch failed is kept for
        the next who waits, as long as there is the function.
        """
        self.upstreams.forget_left()
        now_s = monotonic()
        for key, gate in list(self._gates.items()):
            gate.age(now_s)
            if gate.is_unused and gate.usage.is_idle and not (gate.last_failure and self.routes.function(key)):
                del self._gates[key]
                self.routes.generation += 1  # a passage that was found before leads to this gate
        return self.upstreams.unreachable()
