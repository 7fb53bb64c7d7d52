"""What a control plane does that does not lead: requests go on to the one that does.

While nobody leads, or the leader cannot be reached, it answers by itself what the registry alone can answer, reads and
writes; what only the leader knows is refused with 503. What it writes meanwhile is announced to whoever leads next.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import httpx
from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control_plane.api.edge import failed
from control_plane.errors import Unavailable
from control_plane.explain import Explained
from control_plane.fleet_views import InstanceView, NodeView, PoolView, ProvisionStatus
from control_plane.leadership import Leadership
from control_plane.model import QualifiedFunction
from control_plane.ports import Fleet
from provision.config import ProvisionConfig
from runtime.node_contract import NodeInfo

log = logging.getLogger(__name__)

REGISTRY_CHANNEL: Final = "stoke:registry-changes"  # JSON: names of services; [] = look at everything
FORWARDED: Final = b"x-stoke-forwarded"  # by one that does not lead: answered here whoever leads, so nothing goes round
_CONNECT_S: Final = 2.0
_ANSWER_S: Final = 120.0
_HOP_BY_HOP: Final = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"te", b"upgrade", FORWARDED})


class LedFleet:
    """Fills `ports.Fleet` while this control plane leads; else every question raises Unavailable."""

    def __init__(self, fleet: Fleet, leadership: Leadership) -> None:
        self._fleet = fleet
        self._leadership = leadership

    @property
    def _led(self) -> Fleet:
        if not self._leadership.serves:
            raise Unavailable("no control plane leads at this moment: one takes over within seconds, try again")
        return self._fleet

    def provision_status(self, target: QualifiedFunction, config: ProvisionConfig | None) -> ProvisionStatus:
        return self._led.provision_status(target, config)

    async def explained(self, target: QualifiedFunction) -> Sequence[Explained]:
        return await self._led.explained(target)

    def instances(self, service: str, function: str, version: str | None = None) -> Sequence[InstanceView]:
        return self._led.instances(service, function, version)

    def all_instances(self) -> Sequence[InstanceView]:
        return self._led.all_instances()

    def node(self) -> NodeInfo | None:
        return self._led.node()

    def nodes(self) -> Sequence[NodeView]:
        return self._led.nodes()

    def pools(self) -> Sequence[PoolView]:
        return self._led.pools()

    def logs(self, instance_id: str, *, tail_bytes: int, follow: bool) -> AsyncIterator[bytes]:
        return self._led.logs(instance_id, tail_bytes=tail_bytes, follow=follow)


class Announcer:
    """Tells whoever leads what has changed in the registry through this control plane."""

    def __init__(self, redis: Redis, leadership: Leadership) -> None:
        self._redis = redis
        self._leadership = leadership

    async def registry_changed(self, services: frozenset[str]) -> None:
        """For `Registry.subscribe`. The leader hears its own changes without this."""
        if self._leadership.serves:
            return
        try:
            await self._redis.publish(REGISTRY_CHANNEL, json.dumps(sorted(services)))
        except (RedisError, OSError) as error:  # the leader will read everything when the store is back
            log.warning("registry.not_announced services=%s error=%s", sorted(services), error)


class ToLeader:
    """An ASGI application around the API's. WebSockets are not passed on: whoever needs one asks the leader."""

    def __init__(self, app: ASGIApp, leadership: Leadership) -> None:
        self._app = app
        self._leadership = leadership
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leader = self._leadership
        if scope["type"] != "http" or leader.serves or not leader.leader_address or _was_forwarded(scope):
            return await self._app(scope, receive, send)
        try:
            answer = await self._ask(leader.leader_address, scope, receive)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:  # nothing was sent: nothing of the body is read yet
            log.info("leader.unreachable address=%s error=%s", leader.leader_address, error)
            return await self._app(scope, receive, send)
        except (httpx.HTTPError, ConnectionError) as error:
            if scope["method"] in ("GET", "HEAD"):
                return await self._app(scope, receive, send)
            message = f"the control plane that leads went away before it answered: {error!r}; it may have done it"
            return await failed(Unavailable(message), str(uuid.uuid4()))(scope, receive, send)
        return await _pass_on(answer, send)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def _ask(self, address: str, scope: Scope, receive: Receive) -> httpx.Response:
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        headers = [(name, value) for name, value in scope["headers"] if name not in _HOP_BY_HOP]
        named = {name for name, _ in scope["headers"]}
        has_body = bool(named & {b"content-length", b"transfer-encoding"})
        request = httpx.Request(
            scope["method"],
            httpx.URL(_base(address), raw_path=target),
            headers=[*headers, (FORWARDED, b"1")],
            content=_body(receive) if has_body else None,
            extensions={"timeout": httpx.Timeout(_ANSWER_S, connect=_CONNECT_S).as_dict()},
        )
        return await self._client(address).send(request, stream=True)

    def _client(self, address: str) -> httpx.AsyncClient:
        if address not in self._clients:
            kind, _, place = address.partition(":")
            transport = httpx.AsyncHTTPTransport(uds=place if kind == "unix" else None)
            self._clients[address] = httpx.AsyncClient(transport=transport, trust_env=False)
        return self._clients[address]


def _base(address: str) -> str:
    kind, _, place = address.partition(":")
    return "http://leader" if kind == "unix" else f"http://{place}"


def _was_forwarded(scope: Scope) -> bool:
    return any(name == FORWARDED for name, _ in scope["headers"])


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client went away within its body")
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


async def _pass_on(answer: httpx.Response, send: Send) -> None:
    try:
        headers: list[Any] = [(n.lower(), v) for n, v in answer.headers.raw if n.lower() not in _HOP_BY_HOP]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        async for chunk in answer.aiter_raw():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        await answer.aclose()
