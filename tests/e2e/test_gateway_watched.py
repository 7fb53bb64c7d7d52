"""What one sees of a gateway from outside: its metrics and its access log."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runtime.compiled import REQUESTS
from runtime.contract import ROUTES_KEY
from tests.support.gateway import KEY_ID, SECRET, Request, World, plain, world
from tests.support.websocket import switched, talking

METRICS = "/stoke/v1/gateway/metrics"
TRIGGER = "/2016-08-15/proxy/s/f"
INVOKE = "/2016-08-15/services/s/functions/f/invocations"


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
async def w(store_url: str, log_path: Path) -> AsyncIterator[World]:
    async with world(store_url, "--access-log", str(log_path)) as made:
        yield made


def basic(key_id: str, secret: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{key_id}:{secret}".encode()).decode()}


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def count(w: World, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    reply = await w.ask("GET", METRICS, basic(KEY_ID, SECRET))
    assert (reply.status, reply.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    samples = [s for family in text_string_to_metric_families(reply.body.decode()) for s in family.samples]
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


async def test_every_request_is_counted_once_by_what_became_of_it(w: World) -> None:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.target.endswith("/die"):
            writer.transport.abort()
        else:
            writer.write(plain(b"hello", "404 Not Found" if request.target.endswith("/no") else "200 OK"))

    await w.start_instance("i1", answer)
    for _ in range(3):
        assert (await w.ask("POST", f"{TRIGGER}/", body=b"abc")).status == 200
    assert (await w.ask("POST", f"{TRIGGER}/no")).status == 404
    assert (await w.ask("POST", f"{TRIGGER}/die")).status == 502
    assert (await w.ask("GET", "/nowhere")).status == 400
    by_function = {"service": "s", "function": "f", "qualifier": "LATEST"}
    assert await count(w, "stoke_requests_total", status="200", **by_function) == 3
    assert await count(w, "stoke_requests_total", status="404", **by_function) == 1
    assert await count(w, "stoke_requests_total", status="502", **by_function) == 1
    assert await count(w, "stoke_request_duration_seconds_count", **by_function) == 5
    assert await count(w, "stoke_request_bytes_total", **by_function) == 9
    assert await count(w, "stoke_response_bytes_total", **by_function) == 20
    assert await count(w, "stoke_upstream_errors_total", kind="died", **by_function) == 1
    assert await count(w, "stoke_refusals_total", code="BadGateway") == 1
    assert await count(w, "stoke_refusals_total", code="PathNotSupported") == 1
    assert await count(w, "stoke_requests_in_flight") == 0


async def test_the_log_says_whether_the_hot_path_is_compiled(w: World) -> None:
    assert f"compiled={REQUESTS.folder().is_dir()}" in w.gateway.log()


async def test_only_whoever_may_look_sees_the_figures(w: World) -> None:
    for headers in ({}, basic(KEY_ID, "wrong"), basic("nobody", SECRET), {"authorization": "Basic ?"}):
        reply = await w.ask("GET", METRICS, headers)
        assert (reply.status, reply.json()["ErrorCode"]) == (403, "AccessDenied")
    assert (await w.ask("POST", METRICS, basic(KEY_ID, SECRET))).status == 405


async def test_a_deleted_functions_figures_go_with_it(w: World) -> None:
    await w.start_instance("i1")
    await w.ask("POST", f"{TRIGGER}/")
    assert await count(w, "stoke_requests_total", function="f") == 1
    await w.write(ROUTES_KEY, "function/s/LATEST/f", "")
    await w.settle()
    assert await count(w, "stoke_requests_total", function="f") == 0


async def test_instances_that_are_held_back_and_requests_over_a_rate_are_counted(store_url: str) -> None:
    limits = ["--outlier-failures", "2", "--outlier-least-s", "60", "--key-requests-per-s", "0.01"]
    async with world(store_url, *limits) as w:

        async def broken(request: Request, writer: asyncio.StreamWriter) -> None:
            writer.write(plain(b"no", "500 Internal Server Error"))

        await w.start_instance("good")
        await w.start_instance("bad", broken)
        gone = w.directory / "gone.sock"
        await w.put_instance("gone", f"unix:{gone}")
        await w.settle()

        async def asked() -> bool:
            await asyncio.gather(*(w.ask("POST", f"{TRIGGER}/") for _ in range(3)))
            return await count(w, "stoke_instances_left_out") == 1

        await w.until(asked)
        assert await count(w, "stoke_instance_ejections_total", function="f", reason="outlier") == 1
        assert await count(w, "stoke_instances_unreachable", function="f", version="LATEST") == 1
        assert await count(w, "stoke_instance_ejections_total", reason="unreachable") == 1
        assert await count(w, "stoke_upstream_errors_total", kind="refused") >= 1
        assert [(await w.ask("POST", INVOKE)).status for _ in range(3)] == [200, 429, 429]
        assert await count(w, "stoke_key_rate_limit_refusals_total", key=KEY_ID) == 2
        assert await count(w, "stoke_rate_limit_refusals_total") == 0
        await w.put_function(requests_per_s=0.01)
        await w.settle()
        assert [(await w.ask("POST", f"{TRIGGER}/")).status for _ in range(2)] == [200, 429]
        assert await count(w, "stoke_rate_limit_refusals_total", function="f") == 1


async def test_promtool_finds_nothing_to_complain_about(w: World) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool on this machine: Debian's package prometheus has it")
    await w.start_instance("i1")
    await w.ask("POST", f"{TRIGGER}/")
    text = (await w.ask("GET", METRICS, basic(KEY_ID, SECRET))).body
    command = [program, "check", "metrics"]
    done = await asyncio.to_thread(subprocess.run, command, input=text, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


async def test_the_access_log_has_a_line_for_each_request_and_follows_a_rotation(w: World, log_path: Path) -> None:
    await w.start_instance("i1")

    replies = [await w.ask("POST", f"{TRIGGER}/a?b=c", {"traceparent": "00-1-2-01"}, b"abc") for _ in range(2)]
    replies.append(await w.ask("POST", INVOKE, body=b"abc"))
    await w.until(lambda: len(lines(log_path)) == 3)
    assert [line["requestId"] for line in lines(log_path)] == [reply.headers["x-fc-request-id"] for reply in replies]
    first, _, last = lines(log_path)
    assert (first["method"], first["target"], first["status"]) == ("POST", f"{TRIGGER}/a?b=c", 200)
    assert (first["instanceId"], first["requestBytes"], first["traceparent"]) == ("i1", 3, "00-1-2-01")
    assert last["target"] == INVOKE
    moved = log_path.with_suffix(".1")
    os.rename(log_path, moved)
    await w.ask("POST", f"{TRIGGER}/again")
    await w.until(lambda: len(lines(log_path)) == 1)
    assert len(lines(moved)) == 3


async def test_a_websocket_is_counted_once_when_it_is_over_with_its_bytes(w: World, log_path: Path) -> None:
    async with talking(w):
        client = await switched(w, f"{TRIGGER}/chat")
        client.writer.write(b"hello")
        assert await client.reader.readexactly(5) == b"hello"
        assert await count(w, "stoke_requests_total", status="101") == 0
        await client.close()
        await w.until(lambda: len(lines(log_path)) == 1)
    [line] = lines(log_path)
    assert (line["status"], line["requestBytes"], line["responseBytes"]) == (101, 5, 5)
    assert await count(w, "stoke_requests_total", status="101") == 1
    assert await count(w, "stoke_requests_in_flight") == 0


async def test_a_stopping_gateway_writes_what_it_has_seen(w: World, log_path: Path) -> None:
    await w.start_instance("i1")
    seen = len([await w.ask("POST", f"{TRIGGER}/") for _ in range(50)])
    process = w.gateway.process
    assert process is not None
    process.terminate()
    await asyncio.to_thread(process.wait, 10.0)
    assert len(lines(log_path)) == seen
