"""Which header fields go on, to the instance and to the client."""

from __future__ import annotations

import pytest

from runtime.gateway.headers import RequestHead, sort_request, sort_response, sort_trailers
from runtime.http.framing import chunks, header, joined, last_chunk, status_line
from runtime.http.head import parse_request


def head_of(*headers: tuple[bytes, bytes]) -> RequestHead:
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return sort_request(parse_request(b"GET / HTTP/1.0\r\n%b\r\n" % lines))  # 1.0, as Host may be missing


def passed(*headers: tuple[bytes, bytes]) -> bytes:
    return b"".join(head_of(*headers).passed)


def test_ordinary_fields_and_host_go_on_as_they_are() -> None:
    headers = [(b"Host", b"x"), (b"Accept", b"*/*"), (b"Cookie", b"a=1"), (b"Cookie", b"b=2")]
    assert passed(*headers) == b"Host: x\r\nAccept: */*\r\nCookie: a=1\r\nCookie: b=2\r\n"


@pytest.mark.parametrize(
    "name",
    ["Connection", "Keep-Alive", "Proxy-Connection", "TE", "Upgrade", "Proxy-Authorization"],
)
def test_fields_of_one_connection_stay_behind(name: str) -> None:
    assert passed((name.encode(), b"x"), (name.upper().encode(), b"y"), (name.lower().encode(), b"z")) == b""


def test_fields_named_by_connection_stay_behind_but_never_host() -> None:
    assert passed((b"X-A", b"1"), (b"Connection", b"close, X-a , host"), (b"Host", b"h")) == b"Host: h\r\n"


def test_x_fc_and_authorization_are_kept_apart() -> None:
    head = head_of((b"X-Fc-Trace-Id", b"t"), (b"Authorization", b"FC a:b"))
    assert head.passed == []
    assert head.fc_value(b"x-fc-trace-id") == b"t"
    assert head.fc_value(b"x-fc-other") is None
    assert head.authorization == b"FC a:b"


@pytest.mark.parametrize("name", [b"X_Fc_Request_Id", b"x-fc_key", b"Content_Length", b"transfer_encoding", b"HOST_"])
def test_a_name_that_wsgi_takes_for_one_of_ours_stays_behind(name: bytes) -> None:
    kept = b"HOST_: x\r\n" if name == b"HOST_" else b""
    assert passed((name, b"x")) == kept
    assert passed((b"my_own", b"x")) == b"my_own: x\r\n"


def test_the_host_of_a_target_goes_on_where_there_is_no_other() -> None:
    absolute = sort_request(parse_request(b"GET http://a.example/ HTTP/1.0\r\n\r\n"))
    assert b"".join(absolute.passed) == b"host: a.example\r\n"


def test_framing_is_read_and_not_passed_on() -> None:
    request = parse_request(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nExpect: 100-Continue\r\n\r\n")
    head = sort_request(request)
    assert (head.content_length, head.expects_continue, head.has_body) == (12, True, True)
    assert b"".join(head.passed) == b"Host: x\r\n"
    assert sort_request(parse_request(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n")).is_chunked


def test_what_says_how_a_message_is_read_does_not_come_behind_its_body() -> None:
    fields = [(b"X-Checksum", b"1"), (b"Content-Length", b"3"), (b"Host", b"x"), (b"Connection", b"close")]
    fields += [(b"Content-Type", b"a/b"), (b"Set-Cookie", b"a=b"), (b"Trailer", b"X"), (b"x-fc-status", b"1")]
    assert sort_trailers(fields) == [(b"X-Checksum", b"1")]


def test_a_response_loses_what_the_gateway_says_itself() -> None:
    headers = [
        (b"X-Fc-Request-Id", b"forged"),
        (b"X-Fc-Error-Type", b"HandledInvocationError"),
        (b"Content-Length", b"3"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Connection", b"x-hop"),
        (b"X-Hop", b"1"),
        (b"Content-Type", b"text/plain"),
    ]
    lines = sort_response(headers, frozenset([b"x-fc-request-id"]))
    assert lines == b"X-Fc-Error-Type: HandledInvocationError\r\nContent-Type: text/plain\r\n"


def test_pieces_become_chunks_and_empty_ones_do_not() -> None:
    assert b"".join(chunks([b"a" * 17, b"", b"b"])) == b"11\r\n" + b"a" * 17 + b"\r\n1\r\nb\r\n"


def test_trailers_come_behind_the_last_chunk() -> None:
    assert last_chunk([]) == b"0\r\n\r\n"
    assert last_chunk([(b"X-A", b"1"), (b"X-B", b"2")]) == b"0\r\nX-A: 1\r\nX-B: 2\r\n\r\n"


def test_small_parts_are_joined_and_large_ones_left() -> None:
    assert joined([b"a", b"b"]) == [b"ab"]
    large = [b"a", b"b" * 100_000]
    assert joined(large) is large


def test_a_status_without_a_phrase_takes_the_instances() -> None:
    assert status_line(200, b"Whatever") == b"HTTP/1.1 200 OK\r\n"
    assert status_line(299, b"Odd") == b"HTTP/1.1 299 Odd\r\n"


def test_a_header_cannot_smuggle_another() -> None:
    for value in ("a\r\nb: c", "a\nb", "a\0"):
        with pytest.raises(ValueError, match="not allowed"):
            header("x", value)
