"""The gateway as clients and instances see it: a real process, a real store, instances that the test answers for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from email.utils import formatdate

import pytest

from runtime.contract import InstanceState, Kind
from runtime.signature import authorization
from tests.support.gateway import (
    Client,
    GatewayProcess,
    Instance,
    Request,
    World,
    plain,
    read_reply,
    request_bytes,
    world,
)

TRIGGER = "/2016-08-15/proxy/s/f"
INVOKE = "/2016-08-15/services/s/functions/f/invocations"


@pytest.fixture
async def w(store_url: str) -> AsyncIterator[World]:
    async with world(store_url) as made:
        yield made


# -- what is asked -----------------------------------------------------------------------------------------------------


async def test_a_trigger_by_path_gets_the_whole_path_and_is_told_its_base(w: World) -> None:
    instance = await w.start_instance("i1")
    reply = await w.ask("GET", f"{TRIGGER}/a/b?c=d")
    assert reply.status == 200
    [request] = instance.requests
    assert (request.method, request.target) == ("GET", f"{TRIGGER}/a/b?c=d")
    assert request.headers["x-fc-base-path"] == TRIGGER
    assert request.headers["x-fc-control-path"] == "/http-invoke"
    assert request.headers["x-fc-client-ip"] == "127.0.0.1"
    assert request.headers["x-fc-request-id"] == reply.headers["x-fc-request-id"]
    assert reply.headers["x-fc-instance-id"] == "i1"
    assert reply.headers["x-fc-invocation-service-version"] == "LATEST"
    assert int(reply.headers["x-fc-invocation-duration"]) >= 0
    assert "x-stoke-cold-start" not in reply.headers


async def test_a_trigger_by_subdomain_or_header_gets_only_the_path(w: World) -> None:
    instance = await w.start_instance("i1")
    await w.put_trigger(subdomain="f-s")
    await w.settle()
    await w.ask("GET", "/a?b", {"host": "F-S.cn-local.example:9000"})
    await w.ask("GET", "/a?b", {"x-fc-invocation-target": "2016-08-15/proxy/s/f"})
    assert [request.target for request in instance.requests] == ["/a?b", "/a?b"]
    assert all("x-fc-base-path" not in request.headers for request in instance.requests)


async def test_an_invocation_is_posted_to_invoke_with_the_functions_headers(w: World) -> None:
    instance = await w.start_instance("i1")
    await w.put_function(headers={"x-fc-function-name": "f"})
    await w.settle()
    for path in (INVOKE, "/2021-04-06/services/s/functions/f/invocations?qualifier=LATEST"):
        reply = await w.ask("POST", path, {"content-type": "application/octet-stream"}, b"payload")
        assert (reply.status, reply.body) == (200, b"payload")
        request = instance.requests[-1]
        assert (request.method, request.target, request.body) == ("POST", "/invoke", b"payload")
        assert request.headers["x-fc-control-path"] == "/invoke"
        assert request.headers["x-fc-function-name"] == "f"
        assert request.headers["x-fc-qualifier"] == "LATEST"


async def test_what_concerns_one_connection_and_what_only_we_may_say_is_not_forwarded(w: World) -> None:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(plain(b"ok", x_kept="1", keep_alive="timeout=9", x_fc_request_id="forged", x_fc_status="200"))

    instance = await w.start_instance("i1", answer)
    headers = {"Connection": "keep-alive, x-hop", "X-Hop": "1", "TE": "trailers", "X-Fc-Forged": "1", "X-Kept": "2"}
    reply = await w.ask("GET", f"{TRIGGER}/", headers)
    assert not {"connection", "x-hop", "te", "x-fc-forged"} & set(instance.requests[0].names)
    assert instance.requests[0].headers["x-kept"] == "2"
    assert reply.headers["x-kept"] == "1"
    assert "keep-alive" not in reply.headers
    assert "x-fc-status" not in reply.headers
    assert reply.headers["x-fc-request-id"] != "forged"


async def test_what_does_not_exist_is_named_with_fcs_code(w: World) -> None:
    await w.put_alias("prod", "7")
    await w.settle()
    for path, code, message in (
        ("/2016-08-15/proxy/nope/f/", "ServiceNotFound", "service 'nope' does not exist"),
        ("/2016-08-15/proxy/s/nope/", "FunctionNotFound", "function 'nope' does not exist in service 's'"),
        ("/2016-08-15/proxy/s.9/f/", "VersionNotFound", "version '9' does not exist in service 's'"),
        ("/2016-08-15/proxy/s.dev/f/", "AliasNotFound", "alias 'dev' does not exist in service 's'"),
        ("/2016-08-15/proxy/s.prod/f/", "FunctionNotFound", "function 'f' does not exist in service 's'"),
    ):
        reply = await w.ask("GET", path)
        assert (reply.status, reply.json()["ErrorCode"], reply.json()["errorMessage"]) == (404, code, message)
        assert reply.json()["RequestId"] == reply.headers["x-fc-request-id"]
    reply = await w.ask("GET", "/nowhere")
    assert (reply.status, reply.json()["Code"]) == (400, "PathNotSupported")


async def test_an_alias_divides_its_requests_by_weight(w: World) -> None:
    for version in ("1", "2"):
        await w.put_function(version=version)
        await w.start_instance(f"i{version}", version=version, slots=4)
    await w.put_alias("prod", "1", additional_version_weight={"2": 0.5})
    await w.put_trigger(qualifier="prod")
    await w.settle()
    client = await w.connect()
    versions = [
        (await client.ask("GET", "/2016-08-15/proxy/s.prod/f/")).headers["x-fc-invocation-service-version"]
        for _ in range(100)
    ]
    await client.close()
    assert 15 < versions.count("2") < 85  # by chance outside: once in 10 to the 13th


async def test_a_method_that_the_trigger_does_not_take_is_told_the_others(w: World) -> None:
    reply = await w.ask("DELETE", f"{TRIGGER}/")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, POST")
    assert reply.json()["ErrorMessage"] == "method 'DELETE': GET, HEAD, POST is allowed by the trigger"


async def test_a_trigger_that_is_off_the_internet_is_forbidden(w: World) -> None:
    await w.put_trigger(internet_disabled=True)
    await w.settle()
    reply = await w.ask("GET", f"{TRIGGER}/")
    assert reply.status == 403
    assert reply.json()["ErrorMessage"] == "access denied due to function internet URL is disable"


async def test_a_signed_trigger_lets_only_the_keys_owner_in(w: World) -> None:
    instance = await w.start_instance("i1")
    await w.put_trigger(auth_type="function")
    await w.settle()
    reply = await w.ask("GET", f"{TRIGGER}/")
    assert (reply.status, reply.json()["Code"]) == (403, "AccessDenied")  # not signed at all
    key = {"access_key_id": "id", "access_key_secret": "secret"}
    (w.directory / "credentials.json").write_text(json.dumps(key))

    def signed(key_id: str, secret: str, path: str = f"{TRIGGER}/a b") -> dict[str, str]:
        headers = {"date": formatdate(usegmt=True), "x-fc-account-id": "1"}
        value = authorization("GET", path, headers, key_id, secret, resource_query="z=1&b=2%203")
        return {**headers, "authorization": value}

    path = f"{TRIGGER}/a%20b?z=1&b=2%203"
    for headers, code in (
        ({}, "AccessDenied"),
        (signed("other", "secret"), "InvalidAccessKeyID"),
        (signed("id", "wrong"), "SignatureNotMatch"),
    ):
        reply = await w.ask("GET", path, headers)
        assert (reply.status, reply.json()["Code"]) == (403, code)
    assert not instance.requests
    assert (await w.ask("GET", path, signed("id", "secret"))).status == 200
    assert (await w.ask("GET", path, signed("id", "secret", "/a b"))).status == 200  # as `s invoke` signs
    assert "authorization" not in instance.requests[0].headers  # it was ours


async def test_an_anonymous_functions_authorization_is_its_own_affair(w: World) -> None:
    instance = await w.start_instance("i1")
    await w.ask("GET", f"{TRIGGER}/", {"authorization": "Bearer x"})
    assert instance.requests[0].headers["authorization"] == "Bearer x"


async def test_what_is_not_served_yet_is_refused_by_name(w: World) -> None:
    reply = await w.ask("POST", INVOKE, {"x-fc-invocation-type": "Later"})
    assert (reply.status, reply.json()["Code"]) == (400, "InvalidArgument")
    assert reply.json()["Message"] == "header x-fc-invocation-type 'Later': Sync and Async are allowed"


async def test_the_log_type_reaches_the_instance_and_its_log_the_caller(w: World) -> None:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        log = {"x_fc_log_result": "bG9n"} if "x-fc-log-type" in request.headers else {}
        writer.write(plain(b"ok", **log))

    instance = await w.start_instance("i1", answer)
    reply = await w.ask("POST", INVOKE, {"x-fc-log-type": "Tail"})
    assert reply.headers["x-fc-log-result"] == "bG9n"
    assert instance.requests[0].headers["x-fc-log-type"] == "Tail"
    assert "x-fc-log-result" not in (await w.ask("POST", INVOKE, {"x-fc-log-type": "None"})).headers
    reply = await w.ask("POST", INVOKE, {"x-fc-log-type": "All"})
    assert (reply.status, reply.json()["Code"]) == (400, "InvalidArgument")
    await w.ask("GET", f"{TRIGGER}/", {"x-fc-log-type": "Tail"})  # what a trigger's clients say is not passed on
    assert "x-fc-log-type" not in instance.requests[-1].headers


# -- what is answered --------------------------------------------------------------------------------------------------


async def test_a_trigger_passes_the_status_on_and_an_invocation_makes_it_a_function_error(w: World) -> None:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.body == b"own":
            writer.write(plain(b"{}", "500 Oops", X_Fc_Error_Type="HandledInvocationError"))
        elif request.body == b"404":
            writer.write(plain(b"failed", x_fc_status="404"))
        else:
            writer.write(plain(b"teapot", "418 Short and Stout"))

    await w.start_instance("i1", answer)
    reply = await w.ask("GET", f"{TRIGGER}/")
    assert (reply.status, reply.body) == (418, b"teapot")
    assert "x-fc-error-type" not in reply.headers
    for body, error_type in ((b"", "Unhandled"), (b"404", "Unhandled"), (b"own", "Handled")):
        reply = await w.ask("POST", INVOKE, body=body)
        assert reply.status == 200
        assert reply.headers["x-fc-error-type"] == f"{error_type}InvocationError"


async def test_a_function_that_takes_too_long_is_cut_and_its_slot_given_back(w: World) -> None:
    cut = asyncio.Event()

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.body == b"quick":
            writer.write(plain())
            return
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()

    instance = await w.start_instance("i1", answer)
    await w.put_function(timeout_s=0.2)
    await w.settle()
    reply = await w.ask("POST", INVOKE, body=b"slow")
    assert reply.status == 200
    assert reply.headers["x-fc-error-type"] == "UnhandledInvocationError"
    assert reply.json()["errorType"] == "FunctionTimeout"
    assert reply.json()["errorMessage"] == "Function timed out after 0.2 seconds"
    assert (await w.ask("POST", f"{TRIGGER}/", body=b"slow")).status == 504
    assert (await w.ask("POST", INVOKE, body=b"quick")).status == 200
    assert len(instance.requests) == 3


async def test_responses_are_framed_for_the_client_however_the_instance_frames_them(w: World) -> None:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        name = request.target.rsplit("/", 1)[-1]
        if name == "chunked":
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
            await writer.drain()
            writer.write(b"3\r\ndef\r\n0\r\nx-trailer: 1\r\n\r\n")
        elif name == "until-close":
            writer.write(b"HTTP/1.0 200 OK\r\n\r\nabc")
            await writer.drain()
            writer.write(b"def")
            writer.close()
        elif name == "interim":
            writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + plain(b"abcdef"))
        elif name == "empty":
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            writer.write(plain(b"" if request.method == "HEAD" else b"abcdef").replace(b"length: 0", b"length: 6"))

    await w.start_instance("i1", answer)
    client = await w.connect()
    for name in ("chunked", "until-close", "interim", "length"):
        for _ in range(2):
            reply = await client.ask("GET", f"{TRIGGER}/{name}")
            assert (reply.status, reply.body) == (200, b"abcdef"), name
            assert reply.trailers == ({"x-trailer": "1"} if name == "chunked" else {}), name
            assert reply.interim == ([103] if name == "interim" else []), name
    for _ in range(2):
        reply = await client.ask("HEAD", f"{TRIGGER}/length")
        assert (reply.status, reply.headers["content-length"]) == (200, "6")
        assert (await client.ask("GET", f"{TRIGGER}/empty")).status == 204
    await client.close()
    # An HTTP/1.0 client knows no chunks: it gets the bytes, then the end.
    old = await w.connect()
    old.writer.write(f"GET {TRIGGER}/chunked HTTP/1.0\r\n\r\n".encode())
    answered = await old.reader.read()
    assert b"transfer-encoding" not in answered
    assert answered.endswith(b"\r\n\r\nabcdef")
    await old.close()


async def test_events_are_passed_on_as_they_are_sent(w: World) -> None:
    heard = asyncio.Event()

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(3):
            writer.write(b"9\r\ndata: x\n\n\r\n")
            await writer.drain()
            await heard.wait()  # the next event is sent only when the client has heard this one
            heard.clear()
        writer.write(b"0\r\n\r\n")

    await w.start_instance("i1", answer)
    client = await w.connect()
    client.writer.write(request_bytes("GET", f"{TRIGGER}/"))
    await client.reader.readuntil(b"\r\n\r\n")
    for _ in range(3):
        assert await client.reader.readuntil(b"data: x\n\n\r\n")
        heard.set()
    await client.close()


async def test_a_response_that_breaks_off_is_not_taken_for_a_whole_one(w: World) -> None:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        writer.close()

    await w.start_instance("i1", answer)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await w.ask("GET", f"{TRIGGER}/")
    old = await w.connect()  # HTTP/1.0: the end of the connection would be the end of the response, so it is reset
    old.writer.write(f"GET {TRIGGER}/ HTTP/1.0\r\n\r\n".encode())
    with pytest.raises(ConnectionResetError):
        await old.reader.read()
    await old.close()


async def test_a_response_that_is_no_http_is_a_bad_gateway(w: World) -> None:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")

    await w.start_instance("i1", answer)
    assert (await w.ask("POST", f"{TRIGGER}/")).status == 502


# -- the client's framing ----------------------------------------------------------------------------------------------


async def test_pipelined_requests_are_answered_in_order(w: World) -> None:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(plain(request.body))

    await w.start_instance("i1", answer, slots=8)
    client = await w.connect()
    bodies = [b"%d" % n for n in range(50)]
    client.writer.write(b"".join(request_bytes("POST", f"{TRIGGER}/", body=body) for body in bodies))
    assert [await _next_body(client) for _ in bodies] == bodies
    await client.close()


async def test_a_chunked_request_reaches_the_instance_whole(w: World) -> None:
    instance = await w.start_instance("i1")
    client = await w.connect()
    head = request_bytes("POST", f"{TRIGGER}/", {"transfer-encoding": "chunked"}).replace(b"content-length: 0\r\n", b"")
    client.writer.write(head + b"3\r\nabc\r\n")
    await w.until(lambda: instance.connections > 0)  # it is on its way before it is complete
    client.writer.write(b"3\r\ndef\r\n0\r\n\r\n")
    assert await _next_body(client) == b"abcdef"
    assert instance.requests[0].headers["transfer-encoding"] == "chunked"
    client.writer.write(head + b"3\r\nabc\r\n0\r\n\r\n")
    assert await _next_body(client) == b"abc"
    assert instance.requests[1].headers["content-length"] == "3"  # it was all there: not every server reads chunks
    await client.close()


async def test_a_client_that_asks_first_is_told_to_continue(w: World) -> None:
    await w.start_instance("i1")
    client = await w.connect()
    client.writer.write(request_bytes("POST", f"{TRIGGER}/", {"expect": "100-continue", "content-length": "5"}))
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.writer.write(b"hello")
    assert await _next_body(client) == b"hello"
    # One that is refused is not: it keeps its body.
    client.writer.write(request_bytes("PUT", f"{TRIGGER}/", {"expect": "100-continue", "content-length": "5"}))
    assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 405 ")
    await client.close()


async def test_framing_that_can_be_read_two_ways_is_refused(w: World) -> None:
    instance = await w.start_instance("i1")
    for lines in (
        b"content-length: 3\r\ntransfer-encoding: chunked\r\n",
        b"content-length: 3\r\ncontent-length: 4\r\n",
        b"content-length: +3\r\n",
        b"content-length : 3\r\n",
        b"transfer-encoding: chunked, identity\r\n",
        b"transfer-encoding: gzip\r\n",
        b"x: a\r\n b\r\n",
        b"host: other\r\n",
    ):
        client = await w.connect()
        client.writer.write(b"POST " + TRIGGER.encode() + b"/ HTTP/1.1\r\nhost: x\r\n" + lines + b"\r\nabc")
        assert (await client.reader.read()).startswith(b"HTTP/1.1 400 "), lines
        await client.close()
    assert not instance.requests


async def test_a_client_that_offers_another_http_is_served_this_one(w: World) -> None:
    instance = await w.start_instance("i1")
    client = await w.connect()
    upgrade = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABk"}
    for body in (b"", b"hello", b"again"):
        reply = await client.ask("POST", f"{TRIGGER}/", upgrade, body)
        assert (reply.status, reply.body) == (200, body or b"ok")
    assert "upgrade" not in instance.requests[0].headers
    await client.close()


async def test_a_head_that_is_too_large_or_too_slow_is_refused(store_url: str) -> None:
    async with world(store_url, "--head-bytes-max", "4096", "--head-timeout-s", "0.2") as w:
        for size in (5000, 300_000):
            client = await w.connect()
            client.writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * size + b"\r\n\r\n")
            assert (await client.reader.read()).startswith(b"HTTP/1.1 431 ")
            await client.close()
        client = await w.connect()
        client.writer.write(b"GET / HTTP/1.1\r\nx: ")
        reply = await read_reply(client.reader)
        assert (reply.status, reply.headers["connection"], reply.json()["Code"]) == (408, "close", "RequestTimeout")
        assert await client.reader.read() == b""
        await client.close()


# -- bodies ------------------------------------------------------------------------------------------------------------


async def test_a_body_over_the_limit_is_refused_announced_or_not(store_url: str) -> None:
    async with world(store_url, "--invocation-body-bytes-max", "100000") as w:
        instance = await w.start_instance("i1")
        reply = await w.ask("POST", INVOKE, body=b"x" * 100_001)
        assert (reply.status, reply.json()["ErrorCode"]) == (400, "EntityTooLarge")
        assert "at most 100000 bytes are allowed" in reply.json()["ErrorMessage"]
        client = await w.connect()
        head = request_bytes("POST", INVOKE, {"transfer-encoding": "chunked"}).replace(b"content-length: 0\r\n", b"")
        client.writer.write(head + (b"4e20\r\n" + b"x" * 20_000 + b"\r\n") * 6)
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        await client.close()
        assert (await w.ask("POST", INVOKE, body=b"x" * 100_000)).status == 200
        assert [len(request.body) for request in instance.requests] == [100_000]


# -- starting, stopping, things that are away --------------------------------------------------------------------------


async def test_before_it_has_read_the_routes_it_asks_to_come_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("g")
    gateway = GatewayProcess("unix:///nonexistent.sock", "unix:/nonexistent-control-plane.sock", directory)
    gateway.start()
    try:
        for path, message in ((f"{TRIGGER}/", "routes yet"), ("/2016-08-15/services", "control plane is away")):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            client = Client(reader, writer)
            reply = await client.ask("GET", path)
            await client.close()
            assert (reply.status, reply.headers["retry-after"]) == (503, "1")
            assert message in reply.json()["ErrorMessage"]
    finally:
        gateway.stop()


async def test_the_rest_of_the_api_goes_to_the_control_plane_as_it_came(w: World) -> None:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(plain(request.body, "201 Created", x_fc_request_id="theirs", etag="e"))

    control_plane = Instance(w.directory / "control-plane.sock", answer)
    await control_plane.start()
    w.instances["control-plane"] = control_plane
    headers = {"authorization": "FC id:sig", "x-fc-account-id": "1", "content-type": "application/json"}
    reply = await w.ask("PUT", "/2021-04-06/services/s?x=%20", headers, b"{}")
    assert (reply.status, reply.body) == (201, b"{}")
    assert (reply.headers["x-fc-request-id"], reply.headers["etag"]) == ("theirs", "e")
    [request] = control_plane.requests
    assert (request.method, request.target) == ("PUT", "/2021-04-06/services/s?x=%20")
    assert {**request.headers, **headers} == request.headers
    await control_plane.stop()
    reply = await w.ask("GET", "/2016-08-15/services")
    assert reply.status == 503


async def test_it_finishes_what_is_inside_before_it_stops_and_answers_who_kept_a_connection(store_url: str) -> None:
    async with world(store_url, "--shutdown-grace-s", "1") as w:
        go = asyncio.Event()

        async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
            if request.method == "POST":
                await go.wait()
            writer.write(plain(b"finished"))

        instance = await w.start_instance("i1", answer, slots=9)
        kept, unused = await w.connect(), await w.connect()
        first = await kept.ask("GET", f"{TRIGGER}/")
        asking = asyncio.create_task(w.ask("POST", f"{TRIGGER}/"))
        await w.until(lambda: instance.in_flight == 1)
        w.gateway.terminate()
        await w.until(lambda: "stopping connections=" in w.gateway.log())
        for reply in (await kept.ask("GET", f"{TRIGGER}/"), await w.ask("GET", f"{TRIGGER}/")):
            assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert (first.headers.get("connection"), await kept.reader.read()) == (None, b"")
        assert not unused.reader.at_eof()
        assert await unused.reader.read() == b""  # once the grace is over
        go.set()
        reply = await asking
        assert (reply.status, reply.body, reply.headers["connection"]) == (200, b"finished", "close")
        for client in (kept, unused):
            await client.close()
        process = w.gateway.process
        assert process is not None
        await w.until(lambda: process.poll() is not None)
        assert process.returncode == 0
        assert "stopped cut=0" in w.gateway.log()


async def test_instances_and_labels_are_followed(w: World) -> None:
    await w.start_instance("cold", kind=Kind.ON_DEMAND)
    assert (await w.ask("GET", f"{TRIGGER}/")).headers["x-fc-instance-id"] == "cold"
    await w.start_instance("warm", kind=Kind.PROVISIONED)
    await w.settle()
    assert (await w.ask("GET", f"{TRIGGER}/")).headers["x-fc-instance-id"] == "warm"
    await w.put_instance("cold", w.instances["cold"].address, kind=Kind.PROVISIONED)
    await w.put_instance("warm", w.instances["warm"].address, kind=Kind.ON_DEMAND)
    await w.settle()
    assert (await w.ask("GET", f"{TRIGGER}/")).headers["x-fc-instance-id"] == "cold"
    await w.put_instance("cold", w.instances["cold"].address, InstanceState.DRAINING)
    await w.settle()
    assert (await w.ask("GET", f"{TRIGGER}/")).headers["x-fc-instance-id"] == "warm"


async def _next_body(client: Client) -> bytes:
    async with asyncio.timeout(10):
        return (await read_reply(client.reader)).body
