"""Bodies in chunks, and what is no chunk."""

from __future__ import annotations

import pytest

from runtime.http.chunked import SIZE_LINE_BYTES_MAX, TRAILER_BYTES_MAX, BodyMalformed, ChunkedBody


def test_chunks_become_bytes_and_what_comes_behind_is_kept() -> None:
    body = ChunkedBody()
    pieces = body.feed(b'3\r\nabc\r\nA;name="x y"\r\n0123456789\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\nGET / HTTP/1.1\r\n')
    assert b"".join(pieces) == b"abc0123456789"
    assert body.ended
    assert body.trailers == [(b"X-A", b"1"), (b"X-B", b"2")]
    assert body.rest == b"GET / HTTP/1.1\r\n"


@pytest.mark.parametrize("extension", [b";a", b" ; a = b", b';a="\\"b;"', b";a;b=c\t;d", b'; q="\xe9"'])
def test_chunk_extensions_are_read_over(extension: bytes) -> None:
    body = ChunkedBody()
    assert body.feed(b"3" + extension + b"\r\nabc\r\n0" + extension + b"\r\n\r\n") == [b"abc"]
    assert body.ended


def test_any_cut_gives_the_same_bytes() -> None:
    data = b"3\r\nabc\r\n1\r\nd\r\n00a\r\n0123456789\r\n000\r\nX: 1\r\n\r\nrest"
    for first in range(len(data) + 1):
        for second in (first, (first + len(data)) // 2):
            body = ChunkedBody()
            pieces: list[bytes] = []
            rest = b""
            for piece in (data[:first], data[first:second], data[second:]):
                if body.ended:
                    rest += piece
                elif piece:
                    pieces += body.feed(piece)
                    rest = body.rest
            assert (b"".join(pieces), body.trailers, rest) == (b"abcd0123456789", [(b"X", b"1")], b"rest")


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"3\nabc\r\n",
        b"0x3\r\nabc\r\n",
        b"+3\r\nabc\r\n",
        b"-3\r\nabc\r\n",
        b" 3\r\nabc\r\n",
        b"3 \r\nabc\r\n",
        b"3_0\r\nabc\r\n",
        b"G\r\n",
        b"1000000000000000\r\n",
        b"3;a\nb\r\nabc\r\n",
        b"3;a\0\r\nabc\r\n",
        b"3;\r\nabc\r\n",
        b"3;a[=b\r\nabc\r\n",
        b"3;a=\r\nabc\r\n",
        b"3;a b\r\nabc\r\n",
        b'3;a="b\r\nabc\r\n',
        b"0\r\n\n",
        b"0\r\nX: 1\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n",
        b"3\r\nabc\r\r\n",
        b"3\r\nabcXX",
        b"0\r\nX : 1\r\n\r\n",
        b"0\r\nX\r\n\r\n",
        b"0\r\nX: 1\r\n folded\r\n\r\n",
        b"1" * (SIZE_LINE_BYTES_MAX + 1),
        b"1;" + b"a" * SIZE_LINE_BYTES_MAX,
        b"0\r\nX: " + b"a" * TRAILER_BYTES_MAX + b"\r\n",
    ],
)
def test_what_is_no_chunk_is_refused(data: bytes) -> None:
    with pytest.raises(BodyMalformed):
        ChunkedBody().feed(data)


@pytest.mark.parametrize(
    "data", [b"3", b"3\r", b"3;a", b"3\r\n", b"3\r\nab", b"3\r\nabc", b"3\r\nabc\r", b"0\r\n", b"0\r\nX: 1\r\n"]
)
def test_what_is_not_whole_is_waited_for(data: bytes) -> None:
    body = ChunkedBody()
    body.feed(data)
    assert not body.ended
