"""For tests of asynchronous invocations: a gateway's world with the records and queues beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from runtime.async_invocation.records import Queue, Status
from runtime.async_invocation.store import AsyncStore, Backlog, Stored
from runtime.contract import LATEST, ROUTES_KEY, AsyncRoute, async_field
from tests.support.gateway import Reply, World

INVOKE = "/2016-08-15/services/s/functions/f/invocations"
ASYNC = {"x-fc-invocation-type": "Async"}
QUEUE = Queue("s", LATEST, "f")


@dataclass
class AsyncWorld:
    """`world` with its store looked into as the control plane does."""

    world: World
    store: AsyncStore

    async def invoke(self, body: bytes = b"x", path: str = INVOKE, **headers: str) -> Reply:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.world.ask("POST", path, ASYNC | given, body)

    async def accepted(self, body: bytes = b"x", **headers: str) -> str:
        """The id of an invocation that was accepted."""
        reply = await self.invoke(body, **headers)
        assert (reply.status, reply.body) == (202, b""), reply
        return reply.headers["x-fc-async-task-id"]

    async def configure(self, function: str = "f", **values: Any) -> None:
        route = AsyncRoute(service="s", function=function, qualifier=LATEST, **values)
        await self.world.write(ROUTES_KEY, async_field("s", LATEST, function), route.to_json())
        await self.world.settle()

    async def stored(self, invocation_id: str, function: str = "f") -> Stored:
        stored = await self.store.load("s", function, invocation_id)
        assert stored is not None
        return stored

    async def status(self, invocation_id: str) -> Status:
        return (await self.stored(invocation_id)).record.status

    async def until_status(self, invocation_id: str, status: Status, function: str = "f") -> Stored:
        async def is_so() -> bool:
            return (await self.stored(invocation_id, function)).record.status is status

        await self.world.until(is_so)
        return await self.stored(invocation_id, function)

    async def backlog(self) -> Backlog | None:
        return next((each for each in await self.store.backlogs() if each.queue == QUEUE), None)

    async def until_no_events_of(self, invocation_id: str) -> None:
        await self.until_status(invocation_id, Status.SUCCEEDED)
        await self.until_no_events()

    async def until_no_events(self) -> None:
        async def is_so() -> bool:
            return await self.backlog() is None

        await self.world.until(is_so)


def async_world(world: World, store_url: str) -> AsyncWorld:
    return AsyncWorld(world, AsyncStore(Redis.from_url(store_url)))
