"""What a connection remembers of the head before, and what it must not."""

from __future__ import annotations

from runtime.http.head import Request, parse_request
from runtime.http.last_head import REMEMBERED_BYTES_MAX, LastHead

HEAD = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
BEGIN = b"POST /a HTTP/1.1\r\nhost: x\r\n"


def ended(number: int) -> bytes:
    return BEGIN + b"x-fc-request-id: 1-%d\r\ncontent-length: 4\r\n\r\n" % number


def last_of(raw: bytes, *, knows_beginnings: bool = False, note: object = None) -> tuple[LastHead, Request]:
    last, request = LastHead(knows_beginnings=knows_beginnings), parse_request(raw)
    last.replace(request)
    request.note = note
    return last, request


def test_before_the_first_head_none_is_known() -> None:
    assert LastHead(knows_beginnings=True).again(HEAD) is None


def test_the_same_bytes_again_are_the_same_head_whatever_comes_behind_them() -> None:
    last, request = last_of(HEAD)
    assert last.again(HEAD) is request
    assert last.again(HEAD + HEAD) is request


def test_a_head_of_which_not_all_is_there_must_be_read() -> None:
    last, _ = last_of(HEAD)
    assert last.again(HEAD[:-2]) is None


def test_another_end_is_known_only_where_beginnings_are() -> None:
    for knows_beginnings in (False, True):
        last, _ = last_of(ended(1), knows_beginnings=knows_beginnings)
        other = last.again(ended(2) + b"body")
        assert (other is not None and other.raw == ended(2)) is knows_beginnings


def test_one_with_another_end_is_not_the_last_from_then_on() -> None:
    last, request = last_of(ended(1), knows_beginnings=True)
    last.again(ended(2))
    assert last.again(ended(1)) is request


def test_a_head_that_asks_for_the_same_is_told_what_was_noted_before_it() -> None:
    last, _ = last_of(HEAD, note="kept")
    alike, other = parse_request(HEAD[:-2] + b"x-more: 1\r\n\r\n"), parse_request(HEAD.replace(b"/a", b"/b"))
    last.replace(alike)
    assert alike.note_before == "kept"
    last.replace(other)
    assert other.note_before is None


def test_a_head_too_long_to_be_remembered_leaves_none_behind() -> None:
    last, _ = last_of(ended(1), knows_beginnings=True)
    long = BEGIN + b"x-long: %b\r\nx-fc-request-id: 1\r\ncontent-length: 4\r\n\r\n" % (b"a" * REMEMBERED_BYTES_MAX)
    last.replace(parse_request(long))
    assert last.again(long) is None
    assert last.again(ended(1)) is None
