"""Bytes that are nearly HTTP, made of whatever a fuzzer thinks of.

A fuzzer that changes bytes alone hardly ever gets past a request's first line. Here each of its bytes below 128 is a
word of the protocol, whole lines among them, and each above is a character: so it soon makes messages that are nearly
right, and still can make any that are ASCII.
"""

from __future__ import annotations

from typing import Final

LINES: Final = (
    b"GET / HTTP/1.1\r\nHost: x\r\n",
    b"POST /2016-08-15/proxy/s.1/f/a?b=c HTTP/1.1\r\nHost: x\r\n",
    b"POST /2016-08-15/services/s/functions/f/invocations HTTP/1.1\r\nHost: x\r\n",
    b"HEAD http://x/y HTTP/1.0\r\nHost: x\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: f.example\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
    b"HTTP/1.0 404 \r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 304\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive, x-a\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"Trailer: X-A\r\n",
    b"Cookie: a=b; c=\"d\"\r\n",
    b"X-Stoke-Priority: 5\r\n",
    b"Request-Timeout: 1.5\r\n",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
    b"x-fc-invocation-target: 2016-08-15/proxy/s/f\r\n",
    b"Authorization: FC key:sign\r\n",
    b"Authorization: acs key:sign\r\n",
    b"Authorization: ACS3-HMAC-SHA256 Credential=key,SignedHeaders=host;x-a,Signature=00\r\n",
    b"Authorization: Bearer eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.e30.AAAA\r\n",
    b"Date: Sat, 21 Nov 2026 18:00:00 GMT\r\n",
    b"x-acs-date: 2026-11-21T18:00:00Z\r\n",
    b"x-fc-request-id: 1-2-3\r\ncontent-length: 3\r\n\r\nabc",
    b"x-fc-request-id: 1-2-4\r\ncontent-length: 0\r\n\r\n",
    b"x-fc-request-id: ",
    b"Content-MD5: ",
    b"X-A: ",
    b"Host: ",
    b"Content-Length: ",
    b"Transfer-Encoding: ",
    b"Connection: ",
    b"3\r\nabc\r\n",
    b"3;a=\"b\\\"\"\r\nabc\r\n",
    b"0\r\n\r\n",
    b"0\r\nX-A: b\r\n\r\n",
    b"0\r\n",
    b"\r\n\r\n",
    b"\r\n",
    b"abc",
    b"chunked",
    b"close",
    b", ",
    b": ",
    b"; ",
    b" HTTP/1.1",
    b"http://",
    b"%2f",
    b"\xff",
    b"\x80",
    b"999999999999999999",
    b"a" * 1024,
)  # fmt: skip
_WORDS: Final = LINES * (128 // len(LINES)) + LINES[: 128 % len(LINES)]
_SAID: Final = (*_WORDS, *(bytes([code]) for code in range(128)))


def said(data: bytes) -> bytes:
    """What these bytes stand for."""
    return b"".join([_SAID[byte] for byte in data])
