"""Instant queries over HTTP, against a server that answers as Prometheus does, and against others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import pytest

from control_plane.clock import SystemClock
from control_plane.prometheus import Prometheus
from control_plane.prometheus_access import Access, Secret
from control_plane.prometheus_http import ANSWER_BYTES_MAX, HttpSource
from provision.config import parse
from tests.unit.provision_story import tracking

Answer = Callable[[str, dict[str, list[str]]], Awaitable[tuple[int, bytes]]]


class Server:
    """One request a connection; what was asked is kept."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.fields: dict[str, str] = {}  # of the newest request's head
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = (await reader.readline()).decode()
            while field := (await reader.readline()).decode().strip():
                name, _, value = field.partition(": ")
                self.fields[name.lower()] = value
            split = urlsplit(line.split(" ")[1])
            self.asked.append((f"{line.split(' ')[0]} {split.path}", parse_qs(split.query)))
            status, body = await self._answer(split.path, parse_qs(split.query))
            head = f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            location = f"Location: {self.url}/api/v1/query\r\n" if status in (301, 302) else ""
            writer.write(f"{head}{location}Connection: close\r\n\r\n".encode() + body)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Server]:
    server = Server(answer)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()


def vector(*values: str) -> bytes:
    result = [{"metric": {"n": str(n)}, "value": [1_435_781_451.781, value]} for n, value in enumerate(values)]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


async def as_prometheus(path: str, asked: dict[str, list[str]]) -> tuple[int, bytes]:
    """As the documentation of its HTTP API has it."""
    if path != "/api/v1/query":
        return 404, b"404 page not found\n"
    query = asked.get("query", [""])[0]
    if query == "scalar(2)":
        return 200, b'{"status":"success","data":{"resultType":"scalar","result":[1435781451.781,"2"]}}'
    if query == "sum(":
        error = 'invalid parameter "query": 1:5: parse error: unclosed left parenthesis'
        return 400, json.dumps({"status": "error", "errorType": "bad_data", "error": error}).encode()
    if query == "up":
        return 200, vector("1", "0")
    return 200, vector("41.5") if query == "sum(rate(tokens_total[1m]))" else vector()


@pytest.fixture
async def source() -> AsyncIterator[HttpSource]:
    source = HttpSource(timeout_s=5.0)
    yield source
    await source.close()


async def test_an_instant_query_gives_its_number(source: HttpSource) -> None:
    async with serving(as_prometheus) as server:
        assert await source.value(server.url, "sum(rate(tokens_total[1m]))") == 41.5
        assert await source.value(f"{server.url}/", "scalar(2)") == 2.0
    method_and_path, asked = server.asked[0]
    assert method_and_path == "GET /api/v1/query"
    assert asked == {"query": ["sum(rate(tokens_total[1m]))"], "timeout": ["5s"]}


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("sum(", r'bad_data: invalid parameter "query": 1:5: parse error'),
        ("up", "gives 2 series"),
        ("absent_metric", "gives no series"),
    ],
)
async def test_what_is_wrong_with_a_query_is_told(source: HttpSource, query: str, why: str) -> None:
    async with serving(as_prometheus) as server:
        with pytest.raises(ValueError, match=why):
            await source.value(server.url, query)


async def test_another_server_is_no_prometheus(source: HttpSource) -> None:
    async with serving(as_prometheus) as server:
        with pytest.raises(ValueError, match="answered 404, and not as Prometheus does"):
            await source.value(f"{server.url}/elsewhere", "up")


async def test_a_redirect_is_not_followed(source: HttpSource) -> None:
    async def redirect(path: str, asked: dict[str, list[str]]) -> tuple[int, bytes]:
        return 302, b""

    async with serving(redirect) as server:
        with pytest.raises(ValueError, match="answered 302"):
            await source.value(server.url, "up")
    assert len(server.asked) == 1


async def test_a_long_answer_is_cut_off(source: HttpSource) -> None:
    async def endless(path: str, asked: dict[str, list[str]]) -> tuple[int, bytes]:
        return 200, b"[" + b" " * (ANSWER_BYTES_MAX + 1)

    async with serving(endless) as server:
        with pytest.raises(ValueError, match="more than 65536 bytes"):
            await source.value(server.url, "up")


async def test_a_server_that_does_not_answer_is_waited_for_only_so_long() -> None:
    hold = asyncio.Event()

    async def silent(path: str, asked: dict[str, list[str]]) -> tuple[int, bytes]:
        await hold.wait()
        return 200, b""

    source = HttpSource(timeout_s=0.05)
    async with serving(silent) as server:
        with pytest.raises(ValueError, match=r"no answer within 0\.05 s"):
            await source.value(server.url, "up")
        hold.set()
    await source.close()


async def test_a_server_that_is_not_there_is_told(source: HttpSource) -> None:
    async with serving(as_prometheus) as server:
        pass
    with pytest.raises(ValueError, match="cannot be asked"):
        await source.value(server.url, "up")


async def test_a_server_is_shown_its_token_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_TOKEN", "t0ken")
    async with serving(as_prometheus) as server, serving(as_prometheus) as other:
        source = HttpSource([Access(url=server.url, bearerToken=Secret(env="PROMETHEUS_TOKEN"))])
        assert await source.value(server.url, "scalar(2)") == 2.0
        assert server.fields["authorization"] == "Bearer t0ken"
        assert await source.value(other.url, "scalar(2)") == 2.0
        assert "authorization" not in other.fields
        await source.close()


async def test_a_new_query_is_asked_at_once_and_its_answer_is_there() -> None:
    async with serving(as_prometheus) as server:
        asking = Prometheus(SystemClock(), [server.url], HttpSource)
        policy = tracking(metricType="Prometheus", metricTarget=5.0, url=server.url, query="scalar(2)")
        config = parse({"targetTrackingPolicies": [policy]})
        running = asyncio.create_task(asking.run())
        async with asyncio.timeout(20):
            while asking.of(config)[0].value is None:
                assert asking.of(config)[0].error == ""
                await asyncio.sleep(0.01)
        assert asking.of(config)[0].value == 2.0
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await asking.close()
