"""The gateway over TLS: sessions as plain ones, its own limits, and certificates that change."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.support.certificates import Files, name_of
from tests.support.gateway import TIMEOUT_S, Client, Request, World, read_reply, request_bytes, world
from tests.support.stoke import Stoke, eventually
from tests.support.websocket import head_of, offered, talking

HELLO = {"app.py": "def handler(environ, start_response):\n    start_response('200 OK', [])\n    return [b'hello']\n"}
TRIGGER = "/2016-08-15/proxy/s/f"
ROOM = 6


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "tls")


@pytest.fixture
async def w(store_url: str, files: Files) -> AsyncIterator[World]:
    limits = ["--tls-handshake-timeout-s", "0.3", "--head-timeout-s", "0.3"]
    async with world(store_url, *files.arguments, *limits, tls=files.trust()) as made:
        yield made


def peer_name(client: Client) -> str:
    return name_of(client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True))


async def test_requests_bodies_and_kept_connections_are_as_without_it(w: World) -> None:
    instance = await w.start_instance("i1")
    client = await w.connect()
    large = os.urandom(3 << 20)
    for body in (b"", b"hello", large):
        reply = await client.ask("POST", f"{TRIGGER}/", {"content-length": str(len(body))}, body)
        assert (reply.status, reply.body) == (200, body or b"ok")
    chunked = request_bytes("POST", f"{TRIGGER}/", {"transfer-encoding": "chunked", "content-length": ""})
    client.writer.write(chunked.replace(b"content-length: \r\n", b"") + b"5\r\nhello\r\n")
    await client.writer.drain()
    client.writer.write(b"0\r\n\r\n" + request_bytes("GET", f"{TRIGGER}/behind"))
    assert (await read_reply(client.reader)).body == b"hello"
    assert (await read_reply(client.reader)).status == 200
    assert instance.requests[-1].target == f"{TRIGGER}/behind"
    assert len({request.connection for request in instance.requests}) == 1
    client.writer.write(request_bytes("GET", f"{TRIGGER}/", {"connection": "close"}))
    assert (await read_reply(client.reader)).headers["connection"] == "close"
    assert await client.reader.read() == b""
    await client.close()


async def test_events_come_through_one_by_one(w: World) -> None:
    go_on = asyncio.Event()

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\none..\n\r\n")
        await writer.drain()
        await go_on.wait()
        writer.write(b"6\r\ntwo..\n\r\n0\r\n\r\n")

    await w.start_instance("i1", answer)
    client = await w.connect()
    client.writer.write(request_bytes("GET", f"{TRIGGER}/"))
    async with asyncio.timeout(TIMEOUT_S):
        assert (await client.reader.readuntil(b"one..\n\r\n")).endswith(b"one..\n\r\n")
        go_on.set()
        assert await client.reader.readuntil(b"0\r\n\r\n") == b"6\r\ntwo..\n\r\n0\r\n\r\n"
    await client.close()


async def test_a_large_answer_waits_for_a_client_that_does_not_read_yet(w: World) -> None:
    piece, pieces = b"x" * 65_536, 400

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(piece) * pieces))
        for _ in range(pieces):
            writer.write(piece)
            await writer.drain()

    await w.start_instance("i1", answer)
    client = await w.connect()
    client.writer.write(request_bytes("GET", f"{TRIGGER}/"))
    assert len((await read_reply(client.reader)).body) == len(piece) * pieces
    await client.close()


async def test_a_websocket_is_passed_as_without_it(w: World) -> None:
    async with talking(w):
        client = await offered(w, f"{TRIGGER}/chat")
        async with asyncio.timeout(TIMEOUT_S):
            assert (await head_of(client)).startswith(b"HTTP/1.1 101 ")
            for size in (1, 1000, 100_000):
                client.writer.write(b"x" * size)
                assert await client.reader.readexactly(size) == b"x" * size
        await client.close()
    assert (await w.ask("GET", "/2016-08-15/proxy/s/none/")).status == 404


async def test_limits_hold_as_without_it(w: World) -> None:
    instance = await w.start_instance("i1")
    for sent, status in (
        (b"GET / HTTP/1.1\r\nX: ", 408),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ):
        client = await w.connect()
        client.writer.write(sent)
        assert (await read_reply(client.reader)).status == status
        await client.close()
    assert not instance.requests


async def test_who_does_not_finish_a_handshake_or_speaks_no_tls_is_let_go(w: World) -> None:
    for said in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", w.gateway.port)
        writer.write(said)
        async with asyncio.timeout(TIMEOUT_S):
            with contextlib.suppress(ConnectionResetError):
                assert b"HTTP/" not in await reader.read()
        writer.close()
    assert (await w.ask("GET", "/2016-08-15/proxy/s/none/")).status == 404  # others are served


@pytest.fixture
async def small(store_url: str, files: Files) -> AsyncIterator[World]:
    """With room for few."""
    async with world(store_url, *files.arguments, "--connections-max", str(ROOM), tls=files.trust()) as made:
        yield made


async def silent(w: World) -> Client:
    """One that connects and says nothing."""
    return Client(*await asyncio.open_connection("127.0.0.1", w.gateway.port))


async def is_dropped(client: Client) -> bool:
    """Once it is."""
    with contextlib.suppress(ConnectionResetError):
        assert await client.reader.read(1) == b""
    return True


async def served(w: World) -> Client | None:
    """A client whose request was answered; None where there is no room."""
    try:
        client = await w.connect()
    except (ssl.SSLError, ConnectionError):
        return None
    assert (await client.ask("GET", "/2016-08-15/proxy/s/none/")).status == 404
    return client


async def comes_in(w: World) -> Client:
    """A client that is served, as soon as there is room for it."""
    came: list[Client] = []

    async def there_is_room() -> bool:
        came.extend(filter(None, [await served(w)]))
        return bool(came)

    await w.until(there_is_room)
    return came[0]


async def test_who_says_nothing_counts_from_the_connect_on_and_makes_room(small: World) -> None:
    many = [await silent(small) for _ in range(3 * ROOM)]
    dropped = [asyncio.create_task(is_dropped(client)) for client in many]
    await small.until(lambda: sum(task.done() for task in dropped) >= 2 * ROOM)
    assert sum(task.done() for task in dropped) <= 2 * ROOM + 1, "but for one while the last client was still there"
    # The handshake's time, 10 s, is far from over for those that are left.
    came = [await comes_in(small) for _ in range(ROOM // 2)]
    await small.until(lambda: sum(task.done() for task in dropped) >= 2 * ROOM + len(came))
    for client in (*many, *came):
        await client.close()
    await asyncio.gather(*dropped)


async def test_clients_that_are_served_stay_and_others_are_let_in_when_one_has_gone(small: World) -> None:
    kept = [await comes_in(small) for _ in range(ROOM)]
    async with asyncio.timeout(TIMEOUT_S):
        for _ in range(3):
            client = await silent(small)
            assert await is_dropped(client)
            await client.close()
    assert await served(small) is None
    for client in kept:
        assert (await client.ask("GET", "/2016-08-15/proxy/s/none/")).status == 404
    await kept.pop().close()
    kept.append(await comes_in(small))
    for client in kept:
        await client.close()


async def test_a_tls_older_than_1_2_is_refused(w: World, files: Files) -> None:
    old = files.trust()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await asyncio.open_connection("127.0.0.1", w.gateway.port, ssl=old, server_hostname="localhost")
    client = await w.connect()
    assert client.writer.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
    await client.close()


async def test_sighup_reads_the_files_again_and_keeps_every_connection(w: World, files: Files) -> None:
    await w.start_instance("i1")
    before = await w.connect()
    assert (await before.ask("GET", f"{TRIGGER}/")).status == 200
    files.certificate.write_text("broken")
    os.kill(w.gateway.pid, signal.SIGHUP)
    await w.until(lambda: "certificate-kept" in w.gateway.log())
    same = await w.connect()
    assert peer_name(same) == "first"
    files.renew("second")
    w.tls = files.trust()
    os.kill(w.gateway.pid, signal.SIGHUP)
    await w.until(lambda: "certificate-read" in w.gateway.log())
    after = await w.connect()
    assert peer_name(after) == "second"
    for client in (before, same, after):
        assert (await client.ask("GET", f"{TRIGGER}/")).status == 200
        await client.close()


def test_a_whole_stoke_over_tls_and_the_command_line_with_it(tmp_path: Path, files: Files) -> None:
    stoke = Stoke(tmp_path / "data", "--listen", "127.0.0.1:0", *files.arguments)
    stoke.client = httpx.Client(timeout=30.0, verify=files.trust())
    try:
        stoke.up()
        facts = stoke.stoke_json()
        endpoint = facts["endpoint"]
        assert endpoint.startswith("https://127.0.0.1:")
        stoke.deploy("f", HELLO)
        trigger = stoke.call("GET", "/2016-08-15/services/svc/functions/f/triggers/http")
        assert trigger["urlInternet"].startswith(f"{endpoint}/2016-08-15/proxy/")
        assert stoke.client.get(trigger["urlInternet"]).status_code == 200

        def cli(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-c", "from control_plane.cli import main; main()", *arguments]
            kept = {name: value for name, value in os.environ.items() if not name.startswith("STOKE_")}
            return subprocess.run(command, capture_output=True, text=True, env={**kept, **environment}, check=False)

        data = ("--data", str(tmp_path / "data"))
        assert cli("status", *data).returncode == 0
        elsewhere = ("--endpoint", endpoint.replace("127.0.0.1", "localhost"))
        assert "CERTIFICATE_VERIFY_FAILED" in cli("status", *data, *elsewhere).stderr
        assert cli("status", *data, *elsewhere, STOKE_CA=str(files.certificate)).returncode == 0
        files.renew("second")
        os.kill(int(facts["pid"]), signal.SIGHUP)  # stoke up passes it on
        log = tmp_path / "data" / "logs" / "gateway.log"
        eventually(lambda: "certificate-read" in log.read_text(), "the gateway has read the new certificate")
        assert cli("status", *data).returncode == 0
    finally:
        stoke.down()
