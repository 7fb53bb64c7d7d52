"""Spans at a collector that the test is, and what a collector that is away costs."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from tests.support.gateway import World, plain, read_request, world

TRIGGER = "/2016-08-15/proxy/s/f"
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Collector:
    """Takes what OTLP over HTTP sends."""

    def __init__(self) -> None:
        self.port = 0
        self.targets: list[str] = []
        self.spans: list[dict[str, Any]] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        self.targets.append(f"{request.method} {request.target} {request.headers['content-type']}")
        for resource in json.loads(request.body)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                self.spans += scope["spans"]
        writer.write(plain(b"{}", connection="close"))
        writer.close()


@contextlib.asynccontextmanager
async def collecting(port: int = 0) -> AsyncIterator[Collector]:
    collector = Collector()
    server = await asyncio.start_server(collector.answer, "127.0.0.1", port)
    async with server:
        collector.port = server.sockets[0].getsockname()[1]
        yield collector


async def ask(w: World, traceparent: str = "") -> str:
    reply = await w.ask("POST", f"{TRIGGER}/", {"traceparent": traceparent} if traceparent else {}, b"abc")
    assert reply.status == 200
    return reply.headers["x-fc-request-id"]


async def test_each_request_is_a_span_at_the_collector_within_its_client_s_trace(store_url: str) -> None:
    async with (
        collecting() as collector,
        world(store_url, "--otlp-endpoint", f"http://127.0.0.1:{collector.port}") as w,
    ):
        await w.start_instance("i1")
        parent, own = await ask(w, PARENT), await ask(w)
        await ask(w, PARENT[:-1] + "0")  # whose trace is not recorded
        await w.until(lambda: len(collector.spans) >= 2)
        assert collector.targets[0] == "POST /v1/traces application/json"
        by_request = {
            value["stringValue"]: span
            for span in collector.spans
            for value in (each["value"] for each in span["attributes"] if each["key"] == "faas.invocation_id")
        }
        assert set(by_request) == {parent, own}
        assert by_request[parent]["traceId"] == "4bf92f3577b34da6a3ce929d0e0e4736"
        assert by_request[parent]["parentSpanId"] == "00f067aa0ba902b7"
        assert "parentSpanId" not in by_request[own]
        # What has not been sent yet when the gateway is told to stop is sent before it ends.
        last = await ask(w)
        w.gateway.terminate()
        process = w.gateway.process
        await w.until(lambda: process is not None and process.poll() is not None)
        assert any(last in json.dumps(span) for span in collector.spans)


async def test_a_collector_that_is_away_costs_spans_and_no_request(store_url: str) -> None:
    async with collecting() as gone:
        port = gone.port
    async with world(store_url, "--otlp-endpoint", f"http://127.0.0.1:{port}") as w:
        await w.start_instance("i1")
        await ask(w)
        await w.until(lambda: "spans-lost" in w.gateway.log())
        async with collecting(port) as collector:
            await ask(w)
            await w.until(lambda: "spans-sent-again" in w.gateway.log())
            assert len(collector.spans) == 1
            assert "lost=1" in w.gateway.log()
