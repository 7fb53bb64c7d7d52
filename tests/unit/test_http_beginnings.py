"""Heads that differ at their end only are read once, and never read otherwise than as a whole."""

from __future__ import annotations

import pytest

from runtime.http.beginnings import beginning_of, with_other_end
from runtime.http.head import parse_request

BEGIN = b"POST /x HTTP/1.1\r\nhost: a\r\nx-fc-region: cn\r\n"
END = b"x-fc-request-id: 1-aa\r\ncontent-length: 5\r\n\r\n"


def test_another_id_and_length_give_the_head_that_reading_it_gives() -> None:
    first = parse_request(BEGIN + END)
    first.note = "kept"
    data = BEGIN + b"x-fc-request-id: 1-bbbb\r\ncontent-length: 123\r\n\r\n" + b"body"
    found = with_other_end(first, beginning_of(first), data)
    whole = parse_request(data[:-4])
    assert found is not None
    for name in ("raw", "method", "target", "host", "fields", "content_length", "is_chunked", "keep_alive", "upgrade"):
        assert getattr(found, name) == getattr(whole, name), name
    assert (found.note, found.expects_continue) == ("kept", False)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx-fc-request-id: 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nx-fc-request-id: 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\nx-fc-request-id: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\nx-fc-request-id: 1\r\ncontent-length: 5\r\nx-more: 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\nx-fc-request-id: \r\ncontent-length: 5\r\n\r\n",
    ],
)
def test_a_head_that_ends_otherwise_has_no_beginning(head: bytes) -> None:
    assert beginning_of(parse_request(head)) == b""


@pytest.mark.parametrize(
    "end",
    [
        b"x-fc-request-id: 1 2\r\ncontent-length: 5\r\n\r\n",
        b"x-fc-request-id: 1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"x-fc-request-id: 1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"x-fc-request-id: 1\r\ncontent-length: +5\r\n\r\n",
        b"x-fc-request-id: 1\ncontent-length: 5\r\n\r\n",
        b"x-fc-request-id: 1\r\ncontent-length: 5\r\n",
        b"x-fc-request-id: 1\r\ncontent-length: 1234567890123456789\r\n\r\n",
    ],
)
def test_any_other_end_is_left_to_the_reader_of_whole_heads(end: bytes) -> None:
    first = parse_request(BEGIN + END)
    assert with_other_end(first, beginning_of(first), BEGIN + end) is None
