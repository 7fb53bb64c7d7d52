"""Who may invoke: a real gateway, with access keys that come by the feed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from control_plane.credentials import write_secret_key
from runtime.access.records import KeyRecord, key_field, seal
from runtime.access.sealing import read_box
from runtime.access.shared_nonces import KEY_PREFIX
from runtime.contract import ROUTES_KEY
from runtime.signature import RequestHead, authorization, sign
from runtime.signature.acs3 import string_to_sign
from tests.support.gateway import KEY_ID, SECRET, GatewayProcess, Reply, World, read_reply, request_bytes, world
from tests.support.store import PrivateStore

INVOKE = "/2016-08-15/services/s/functions/f/invocations"
TRIGGER = "/2016-08-15/proxy/s/f"


@pytest.fixture
async def w(private_store: PrivateStore) -> AsyncIterator[World]:
    async with world(private_store.url) as made:
        write_secret_key(made.directory / "secret.key")
        yield made


async def put_key(w: World, key_id: str, secret: str, role: str = "invoke", **more: Any) -> None:
    box = read_box(w.directory / "secret.key")
    record = KeyRecord(key_id, seal(box, key_id, secret, more.pop("token", "")), role, **more)
    await w.write(ROUTES_KEY, key_field(key_id), record.to_json())
    await w.settle()


def fc(key_id: str, secret: str, path: str = INVOKE, **headers: str) -> dict[str, str]:
    sent = {"date": formatdate(usegmt=True)} | {name.replace("_", "-"): value for name, value in headers.items()}
    return {**sent, "authorization": authorization("POST", path, sent, key_id, secret)}


def acs3(
    body: bytes, nonce: str, key_id: str = KEY_ID, secret: str = SECRET, at_s: float | None = None
) -> dict[str, str]:
    headers = {
        "host": "localhost",
        "x-acs-date": datetime.fromtimestamp(at_s or time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "x-acs-signature-nonce": nonce,
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
    }
    text = string_to_sign(RequestHead("POST", INVOKE, "", headers), tuple(headers))
    signature = base64.b64decode(sign(SECRET, text)).hex()
    value = f"ACS3-HMAC-SHA256 Credential={KEY_ID},SignedHeaders={';'.join(headers)},Signature={signature}"
    return {**headers, "authorization": value}


def told(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json()["Code"] if reply.status >= 400 else ""


async def test_an_invocation_needs_a_signature(w: World) -> None:
    instance = await w.start_instance("i1")
    old = formatdate(time.time() - 1000, usegmt=True)
    for headers, expected in (
        ({"authorization": ""}, (400, "MissingRequiredHeader")),
        (fc(KEY_ID, "wrong"), (403, "SignatureNotMatch")),
        (fc("other", SECRET), (403, "InvalidAccessKeyID")),
        (fc(KEY_ID, SECRET, date=old), (403, "AccessDenied")),
        (acs3(b"x", "old", at_s=time.time() - 1000), (403, "AccessDenied")),
    ):
        assert told(await w.ask("POST", INVOKE, headers, b"x")) == expected
    assert not instance.requests
    assert told(await w.ask("POST", INVOKE, fc(KEY_ID, SECRET), b"x")) == (200, "")


async def test_a_key_works_as_soon_as_the_feed_has_told_of_it_and_no_longer_than_that(w: World) -> None:
    await w.start_instance("i1")
    assert told(await w.ask("POST", INVOKE, fc("k", "secret"))) == (403, "InvalidAccessKeyID")
    await put_key(w, "k", "secret")
    assert told(await w.ask("POST", INVOKE, fc("k", "secret"))) == (200, "")
    await put_key(w, "k", "secret", enabled=False)
    assert told(await w.ask("POST", INVOKE, fc("k", "secret"))) == (403, "InvalidAccessKeyID")
    await put_key(w, "k", "secret", role="read")
    assert told(await w.ask("POST", INVOKE, fc("k", "secret"))) == (403, "AccessDenied")
    await put_key(w, "k", "secret", services=["t"])
    assert told(await w.ask("POST", INVOKE, fc("k", "secret"))) == (403, "AccessDenied")
    await put_key(w, "k", "secret", services=["s"], token="token")
    assert told(await w.ask("POST", INVOKE, fc("k", "secret"))) == (403, "AccessDenied")
    assert told(await w.ask("POST", INVOKE, fc("k", "secret", x_fc_security_token="token"))) == (200, "")
    await w.write(ROUTES_KEY, key_field("k"), "")
    await w.settle()
    assert told(await w.ask("POST", INVOKE, fc("k", "secret"))) == (403, "InvalidAccessKeyID")


async def test_an_asynchronous_invocation_is_checked_as_another_is_and_keeps_the_payload_that_was_signed(
    w: World,
) -> None:
    instance = await w.start_instance("i1")
    is_async = {"x-fc-invocation-type": "Async"}
    assert told(await w.ask("POST", INVOKE, fc("other", SECRET) | is_async)) == (403, "InvalidAccessKeyID")
    assert told(await w.ask("POST", INVOKE, acs3(b"signed", "one") | is_async, b"other")) == (403, "SignatureNotMatch")
    assert told(await w.ask("POST", INVOKE, acs3(b"signed", "two") | is_async, b"signed")) == (202, "")
    await w.until(lambda: bool(instance.requests))
    assert [request.body for request in instance.requests] == [b"signed"]


async def test_a_signed_trigger_takes_any_key_that_may_invoke(w: World) -> None:
    await w.start_instance("i1")
    await w.put_trigger(auth_type="function")
    for key_id, role, expected in (
        ("i", "invoke", (200, "")),
        ("d", "deploy", (200, "")),
        ("r", "read", (403, "AccessDenied")),
    ):
        await put_key(w, key_id, "secret", role)
        sent = {"date": formatdate(usegmt=True)}
        value = authorization("POST", f"{TRIGGER}/x", sent, key_id, "secret", resource_query="")
        assert told(await w.ask("POST", f"{TRIGGER}/x", {**sent, "authorization": value})) == expected, role


async def test_a_request_that_was_overheard_cannot_be_sent_again(w: World) -> None:
    instance = await w.start_instance("i1")
    headers = acs3(b"x", "once")
    assert told(await w.ask("POST", INVOKE, headers, b"x")) == (200, "")
    assert told(await w.ask("POST", INVOKE, headers, b"x")) == (403, "SignatureNonceUsed")
    assert len(instance.requests) == 1


async def test_a_request_that_was_overheard_cannot_be_sent_to_another_gateway(
    w: World, private_store: PrivateStore
) -> None:
    instance = await w.start_instance("i1")
    other = GatewayProcess(private_store.url, "unix:/none", w.directory, "--id", "other")
    other.start()
    try:
        second = World(other, w.store, w.directory)
        await second.settle()
        for body in (b"x", b"y" * 300_000):
            headers = acs3(body, f"nonce-{len(body)}")
            assert told(await w.ask("POST", INVOKE, headers, body)) == (200, "")
            assert told(await second.ask("POST", INVOKE, headers, body)) == (403, "SignatureNonceUsed")
            assert instance.requests[-1].body == body
        assert len(instance.requests) == 2
        used = len(await w.store.keys(f"{KEY_PREFIX}*"))
        assert told(await second.ask("POST", INVOKE, fc(KEY_ID, SECRET))) == (200, "")
        assert len(await w.store.keys(f"{KEY_PREFIX}*")) == used, "only ACS3 has nonces, so only it asks the store"
    finally:
        other.stop()


async def test_while_the_store_is_away_a_gateway_goes_by_the_nonces_it_has_seen(
    w: World, private_store: PrivateStore
) -> None:
    await w.start_instance("i1")
    private_store.kill()
    try:
        headers = acs3(b"x", "away")
        assert told(await w.ask("POST", INVOKE, headers, b"x")) == (200, "")
        assert told(await w.ask("POST", INVOKE, headers, b"x")) == (403, "SignatureNonceUsed")
    finally:
        private_store.start()


async def test_a_changed_body_never_reaches_the_function(w: World) -> None:
    instance = await w.start_instance("i1")
    assert told(await w.ask("POST", INVOKE, acs3(b"signed", "a"), b"forged")) == (403, "SignatureNotMatch")
    md5 = base64.b64encode(hashlib.md5(b"signed").digest()).decode()
    assert told(await w.ask("POST", INVOKE, fc(KEY_ID, SECRET, content_md5=md5), b"forged")) == (
        403,
        "SignatureNotMatch",
    )
    assert told(await w.ask("POST", INVOKE, fc(KEY_ID, SECRET, content_md5=md5), b"signed")) == (200, "")
    assert [request.body for request in instance.requests] == [b"signed"]


@pytest.mark.parametrize("size", [1_000, 300_000])
async def test_a_large_body_is_streamed_and_its_end_kept_back_when_it_was_changed(w: World, size: int) -> None:
    instance = await w.start_instance("i1")
    body = b"x" * size
    for nonce, sent, expected in (("a", body, (200, "")), ("b", body[:-1] + b"y", (403, "SignatureNotMatch"))):
        client = await w.connect()
        head = request_bytes("POST", INVOKE, {**acs3(body, nonce), "transfer-encoding": "chunked"})
        client.writer.write(head.replace(b"content-length: 0\r\n", b""))
        for at in range(0, size, 50_000):
            piece = sent[at : at + 50_000]
            client.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await client.writer.drain()
        client.writer.write(b"0\r\n\r\n")
        async with asyncio.timeout(15.0):
            assert told(await read_reply(client.reader)) == expected
        await client.close()
    assert [request.body for request in instance.requests] == [body]


async def test_a_jwt_trigger_lets_in_whose_token_holds(w: World) -> None:
    instance = await w.start_instance("i1")
    private = ec.generate_private_key(ec.SECP256R1())
    public = {**jwt.algorithms.ECAlgorithm.to_jwk(private.public_key(), as_dict=True), "alg": "ES256"}
    config = {"jwks": {"keys": [public]}, "issuer": "me", "claimPassBy": "header:sub:x-user"}
    await w.put_trigger(auth_type="jwt", auth_config=config)
    await w.settle()
    make: Callable[..., str] = lambda **claims: jwt.encode({"iss": "me", **claims}, private, "ES256")  # noqa: E731
    for headers in (
        {},
        {"authorization": "Bearer no-token"},
        {"authorization": f"Bearer {make(exp=1)}"},
        {"authorization": f"Bearer {make(iss='other')}"},
    ):
        assert told(await w.ask("GET", f"{TRIGGER}/", headers)) == (403, "AccessDenied")
    assert not instance.requests
    held = {"authorization": f"Bearer {make(sub='jo', exp=time.time() + 60)}", "x-user": "forged"}
    assert told(await w.ask("GET", f"{TRIGGER}/", held)) == (200, "")
    assert instance.requests[0].headers["x-user"] == "jo"
    assert instance.requests[0].names.count("x-user") == 1


async def test_a_jwt_triggers_key_set_may_be_elsewhere(w: World) -> None:
    await w.start_instance("i1")
    private = ec.generate_private_key(ec.SECP256R1())
    body = json.dumps({"keys": [jwt.algorithms.ECAlgorithm.to_jwk(private.public_key(), as_dict=True)]}).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
        await w.put_trigger(auth_type="jwt", auth_config={"jwksUrl": url})
        await w.settle()
        headers = {"authorization": f"Bearer {jwt.encode({'sub': 'jo'}, private, 'ES256')}"}

        async def is_let_in() -> bool:
            return (await w.ask("GET", f"{TRIGGER}/", headers)).status == 200

        await w.until(is_let_in)
    assert told(await w.ask("GET", f"{TRIGGER}/", {"authorization": "Bearer x"})) == (403, "AccessDenied")
