"""What a message's head may be, and what is refused. The e2e table shows that nothing refused is passed on."""

from __future__ import annotations

import contextlib
import time

import pytest

from runtime.http.head import (
    HeadMalformed,
    check_begin_of_request,
    check_begin_of_response,
    parse_request,
    parse_response,
)


def request(*lines: str, line: str = "POST /a?b=c HTTP/1.1", host: str = "Host: x") -> bytes:
    return "".join(f"{each}\r\n" for each in (line, *([host] if host else []), *lines, "")).encode("latin-1")


def refused(raw: bytes) -> HeadMalformed:
    with pytest.raises(HeadMalformed) as caught:
        parse_request(raw)
    return caught.value


def test_a_head_is_taken_apart() -> None:
    read = parse_request(request("X-A:1", "x-b: \t two words \t", "X-C:", "Content-Length: 12", "Expect: 100-Continue"))
    assert (read.method, read.target, read.host, read.http_1_0) == (b"POST", b"/a?b=c", b"x", False)
    assert read.fields[1:4] == [(b"X-A", b"1"), (b"x-b", b"two words"), (b"X-C", b"")]
    assert (read.content_length, read.is_chunked, read.expects_continue, read.keep_alive) == (12, False, True, True)


@pytest.mark.parametrize(
    ("line", "said", "kept"),
    [
        ("GET / HTTP/1.1", "Connection: close", False),
        ("GET / HTTP/1.1", "connection: Keep-Alive, Close", False),
        ("GET / HTTP/1.1", "Connection: enclosed", True),
        ("GET / HTTP/1.0", "X: 1", False),
        ("GET / HTTP/1.0", "Connection: keep-alive", True),
        ("GET / HTTP/1.2", "X: 1", True),
    ],
)
def test_whether_a_connection_lasts_is_read(line: str, said: str, kept: bool) -> None:
    assert parse_request(request(said, line=line)).keep_alive is kept


@pytest.mark.parametrize(
    ("raw", "status", "names"),
    [
        # RFC 9112, section 3: the request line
        (request(line="GET  / HTTP/1.1"), 400, "request line"),
        (request(line="GET / HTTP/1.1 "), 400, "request line"),
        (request(line=" GET / HTTP/1.1"), 400, "request line"),
        (request(line="GET\t/ HTTP/1.1"), 400, "request line"),
        (request(line="GET / http/1.1"), 400, "request line"),
        (request(line="GET /"), 400, "request line"),
        (request(line="GET /\x7f HTTP/1.1"), 400, "request line"),
        (request(line="GET /caf\xe9 HTTP/1.1"), 400, "request line"),
        (request(line="GET /a#b HTTP/1.1"), 400, "request line"),
        (request(line="GET /a\\b HTTP/1.1"), 400, "request line"),
        (request(line="G(T / HTTP/1.1"), 400, "request line"),
        (request(line="GET / HTTP/2.0"), 505, "HTTP/2.0"),
        (request(line="GET a HTTP/1.1"), 400, "target 'a'"),
        (request(line="GET * HTTP/1.1"), 400, "target"),
        (request(line="CONNECT x:443 HTTP/1.1"), 400, "target"),
        (request(line="GET ftp://x/ HTTP/1.1"), 400, "target"),
        (request(line="GET http://y/ HTTP/1.1"), 400, "one host"),
        # RFC 9112, section 5: field lines
        (request("X : 1"), 400, "header name 'X '"),
        (request("X"), 400, "NAME: VALUE"),
        (request(": 1"), 400, "header name ''"),
        (request("X(: 1"), 400, r"header name 'X\('"),
        (request("X: 1", " folded"), 400, "several lines"),
        (request("X: 1", "\tfolded"), 400, "several lines"),
        (request("X: a\0b"), 400, "control character"),
        (request("X: a\rb"), 400, "control character"),
        (request("X: a\nb"), 400, "control character"),
        (request("X: a\x01b"), 400, "control character"),
        (request("X: a\x7fb"), 400, "control character"),
        (b"GET / HTTP/1.1\r\n X: 1\r\nHost: x\r\n\r\n", 400, "several lines"),
        # RFC 9112, section 3.2: Host
        (request(host=""), 400, "Host is missing"),
        (request("Host: x"), 400, "more than once"),
        (request("hOST: y"), 400, "more than once"),
        (request(host="Host:"), 400, "header Host ''"),
        (request(host="Host: :80"), 400, "header Host ':80'"),
        (request(host="Host: x y"), 400, "header Host 'x y'"),
        (request(host="Host: u@x"), 400, "header Host"),
        (request(host="Host: x/y"), 400, "header Host"),
        (request(host="Host: x:port"), 400, "header Host"),
        # RFC 9112, section 6: one length
        (request("Content-Length: 1", "Transfer-Encoding: chunked"), 400, "one of the two"),
        (request("Transfer-Encoding: chunked", "Content-Length: 1"), 400, "one of the two"),
        (request("Content-Length: 1", "Content-Length: 1"), 400, "more than once"),
        (request("Content-Length: 1, 1"), 400, "Content-Length '1, 1'"),
        (request("Content-Length: +1"), 400, "Content-Length"),
        (request("Content-Length: -1"), 400, "Content-Length"),
        (request("Content-Length: 0x1"), 400, "Content-Length"),
        (request("Content-Length: 1 1"), 400, "Content-Length"),
        (request("Content-Length: 1_0"), 400, "Content-Length"),
        (request("Content-Length:"), 400, "Content-Length ''"),
        (request("Content-Length: " + "9" * 19), 400, "18 digits"),
        (request("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400, "more than once"),
        (request("Transfer-Encoding: chunked, chunked"), 400, "Transfer-Encoding"),
        (request("Transfer-Encoding: chunked, gzip"), 400, "Transfer-Encoding"),
        (request("Transfer-Encoding: xchunked"), 400, "Transfer-Encoding"),
        (request("Transfer-Encoding: chunked;a=b"), 400, "Transfer-Encoding"),
        (request("Transfer-Encoding: identity"), 400, "Transfer-Encoding"),
        (request("Transfer-Encoding:"), 400, "Transfer-Encoding"),
        (request("Transfer-Encoding: , chunked"), 400, "Transfer-Encoding"),
        (request("Transfer-Encoding: gzip, chunked"), 501, "Transfer-Encoding"),
        (request("Transfer-Encoding: chunked", line="POST / HTTP/1.0"), 400, "HTTP/1.0"),
        # RFC 9110, section 10.1.1
        (request("Expect: 200-ok"), 417, "header Expect '200-ok'"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(raw: bytes, status: int, names: str) -> None:
    error = refused(raw)
    assert error.status == status
    assert names.replace("\\", "") in str(error)


@pytest.mark.parametrize(
    ("line", "host", "target"),
    [
        ("GET http://x/a?b HTTP/1.1", "Host: X", b"/a?b"),
        ("GET http://x HTTP/1.1", "Host: x", b"/"),
        ("GET http://x?b HTTP/1.1", "Host: x", b"/?b"),
        ("GET HTTPS://x:1/a HTTP/1.0", "", b"/a"),
        ("OPTIONS * HTTP/1.1", "Host: x", b"*"),
        ('GET /"<>[]^`{|} HTTP/1.1', "Host: x", b'/"<>[]^`{|}'),
        ("GET / HTTP/1.1", "Host: [::1]:80", b"/"),
    ],
)
def test_targets_and_hosts_that_are_allowed(line: str, host: str, target: bytes) -> None:
    assert parse_request(request(line=line, host=host)).target == target


@pytest.mark.parametrize(
    ("lines", "upgrades"),
    [
        (("Connection: Upgrade", "Upgrade: WebSocket"), True),
        (("Upgrade: websocket", "Connection: keep-alive, upgrade"), True),
        (("Upgrade: websocket",), False),
        (("Connection: upgrade", "Upgrade: h2c"), False),
    ],
)
def test_an_upgrade_is_one_to_websocket_and_named_by_connection(lines: tuple[str, ...], upgrades: bool) -> None:
    assert parse_request(request(*lines, line="GET / HTTP/1.1")).upgrade is upgrades
    assert not parse_request(request(*lines, line="POST / HTTP/1.1")).upgrade


@pytest.mark.parametrize(
    "data", [b"SSH-2.0-x\r\n", b"GET / HTTP/1.1\nHost: x\n\n", b"GET / HTTP/1.1\r\nHost: x\nX:", b"\0\r\n"]
)
def test_what_cannot_become_a_request_is_not_waited_for(data: bytes) -> None:
    with pytest.raises(HeadMalformed):
        check_begin_of_request(data)


@pytest.mark.parametrize("data", [b"", b"G", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\nHost"])
def test_what_can_become_a_request_is_waited_for(data: bytes) -> None:
    check_begin_of_request(data)


def test_a_response_is_taken_apart() -> None:
    read = parse_response(b"HTTP/1.1 418 I'm a teapot\r\nX-A: 1\r\nContent-Length: 3\r\nConnection: close\r\n\r\n")
    assert (read.status, read.reason, read.content_length, read.keep_alive) == (418, b"I'm a teapot", 3, False)
    assert read.fields[0] == (b"X-A", b"1")
    assert parse_response(b"HTTP/1.1 200\r\n\r\n").reason == b""


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
    ],
)
def test_a_response_that_could_be_read_in_two_ways_is_refused(raw: bytes) -> None:
    with pytest.raises(HeadMalformed):
        parse_response(raw)


def test_chunks_in_http_1_0_are_read_and_end_with_the_connection() -> None:
    lines = b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert not parse_response(b"HTTP/1.0 200 OK\r\n" + lines).keep_alive
    assert parse_response(b"HTTP/1.1 200 OK\r\n" + lines).keep_alive


def test_what_cannot_become_a_response_is_not_waited_for() -> None:
    with pytest.raises(HeadMalformed, match="SSH-2"):
        check_begin_of_response(b"SSH-2.0-x")
    with pytest.raises(HeadMalformed, match="ends with LF: CRLF is allowed"):
        check_begin_of_response(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok")  # would be waited for in vain
    for end in range(12):
        check_begin_of_response(b"HTTP/1.1 200 OK"[:end])


def test_no_head_takes_long_to_read() -> None:
    """What a backtracking expression would take minutes for. Compared with a plain head of the same size."""

    def duration_s(raw: bytes) -> float:
        begun_at_s = time.process_time()
        for _ in range(5):
            with contextlib.suppress(HeadMalformed):
                parse_request(raw)
        return time.process_time() - begun_at_s

    size = 60_000
    plain = duration_s(request("X: " + "a" * size))
    evil = ("X: " + " " * size, "X: " + " \t" * (size // 2) + "\x01", "X: " + "a " * (size // 2), "X" * size)
    for line in (*evil, "X:" + " " * size + "\r"):
        assert duration_s(request(line)) < 100 * max(plain, 0.001)
