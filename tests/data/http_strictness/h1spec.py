"""The 33 cases of h1spec, under its names: (name, bytes, allowed statuses, the body of a 2xx). No statuses: it waits."""

from __future__ import annotations

from tests.data.http_strictness.case import get, post

_OK = range(200, 300)
_CALLER = range(400, 500)
_REFUSED = range(400, 600)
_HEAD = b"GET /hello HTTP/1.1\r\nHost: f.example\r\n\r\n"

Row = tuple[str, bytes, range | tuple[int, ...], bytes | None]

_FRAGMENTS = (
    ("Fragmented method", b"G"),
    ("Fragmented URL 1", b"GET "),
    ("Fragmented URL 2", b"GET /hello"),
    ("Fragmented URL 3", b"GET /hello "),
    ("Fragmented HTTP version", b"GET /hello HTTP"),
    ("Fragmented request line", b"GET /hello HTTP/1.1"),
    ("Fragmented request line newline 1", b"GET /hello HTTP/1.1\r"),
    ("Fragmented request line newline 2", b"GET /hello HTTP/1.1\r\n"),
    ("Fragmented field name", b"GET /hello HTTP/1.1\r\nHos"),
    ("Fragmented field value 1", b"GET /hello HTTP/1.1\r\nHost:"),
    ("Fragmented field value 2", b"GET /hello HTTP/1.1\r\nHost: "),
    ("Fragmented field value 3", _HEAD[:-4]),
    ("Fragmented field value 4", _HEAD[:-3]),
    ("Fragmented request", _HEAD[:-2]),
    ("Fragmented request termination", _HEAD[:-1]),
)
_TWELVE = b"c\r\nTwelve bytes\r\n0\r\n\r\n"

H1SPEC: list[Row] = [
    *((name, data, (), None) for name, data in _FRAGMENTS),
    ("Request without HTTP version", b"GET / \r\n\r\n", _REFUSED, None),
    ("Request with Expect header", get(b"Expect: 100-continue"), _OK, None),
    ("Valid GET request", get(), _OK, None),
    ("Valid GET request with edge cases", b"GET / HTTP/1.1\r\nhoSt:\tf.example\r\nempty:\r\n\r\n", _OK, None),
    ("Invalid header characters", get(b"X-Invalid[]: test"), _CALLER, None),
    ("Missing Host header", b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", _CALLER, None),
    ("Multiple Host headers", get(b"Host: other.example"), _CALLER, None),
    ("Overflowing negative Content-Length header", get(b"Content-Length: -" + b"123456789" * 3), _CALLER, None),
    ("Negative Content-Length header", get(b"Content-Length: -1234"), _CALLER, None),
    ("Non-numeric Content-Length header", get(b"Content-Length: abc"), _CALLER, None),
    ("Empty header value", get(b"X-Empty-Header: "), _OK, None),
    ("Header containing invalid control character", get(b"X: test\x07"), _CALLER, None),
    ("Invalid HTTP version", get(line=b"GET / HTTP/9.9"), _REFUSED, None),
    ("Invalid prefix of request", b"Extra line" + get(), _REFUSED, None),
    ("Invalid line ending", get()[:-2] + b"\rX: y\r\n\r\n", _CALLER, None),
    ("Valid POST request with body", post(b"Content-Length: 5"), _OK, b"hello"),
    ("Chunked Transfer-Encoding", post(b"Transfer-Encoding: chunked", body=_TWELVE), _OK, b"Twelve bytes"),
    ("Conflicting Transfer-Encoding and Content-Length in varying case",
     post(b"content-LengtH: 5", b"TransFer-Encoding: chunked", body=_TWELVE), _CALLER, None),
]  # fmt: skip
