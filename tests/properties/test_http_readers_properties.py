"""Our reader of HTTP beside others (llhttp, h11), over bytes that are nearly requests."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.fuzz.reading import differences, read_here
from tests.data.http_strictness import framing, lines
from tests.support.examples import examples

CASES = [
    each.sent
    for group in (
        lines.REQUEST_LINE, lines.HOSTS, lines.FIELDS, lines.CONTENT,
        framing.LENGTHS, framing.CODINGS, framing.CHUNKS, framing.HIDDEN,
    )
    for each in group
    if len(each.sent) < 4000
]  # fmt: skip

LINE_ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b""])
REQUEST_LINES = st.sampled_from(
    [b"GET / HTTP/1.1", b"POST /a?b HTTP/1.1", b"HEAD / HTTP/1.0", b"OPTIONS * HTTP/1.1", b"GET http://x/y HTTP/1.1"]
)
NAMES = st.sampled_from(
    [b"Host", b"X-A", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Expect", b"Trailer"]
)
COLONS = st.sampled_from([b": "] * 8 + [b":", b":\t", b" : ", b""])
VALUES = st.sampled_from(
    [b"x", b"0", b"3", b"03", b"3, 3", b"+3", b"chunked", b"CHUNKED", b"gzip, chunked", b"close", b"keep-alive",
     b"100-continue", b"", b"a b", b"a\x00", b"\xff", b" folded"]
)  # fmt: skip
BODIES = st.sampled_from(
    [b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"3;a=b\r\nabc\r\n0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n",
     b"3\r\nab", b"3\nabc\n0\n\n", b"0x3\r\nabc\r\n0\r\n\r\n", b"0\r\nContent-Length: 3\r\n\r\n",
     b"003\r\nabc\r\n00\r\n\r\n"]
)  # fmt: skip


@st.composite
def nearly_requests(draw: st.DrawFn) -> bytes:
    """A few requests in a row, each with a chance of something that is not quite right."""
    data = b""
    for _ in range(draw(st.integers(1, 3))):
        data += draw(REQUEST_LINES) + draw(LINE_ENDS) + b"Host: x" + draw(LINE_ENDS)
        for _ in range(draw(st.integers(0, 3))):
            data += draw(NAMES) + draw(COLONS) + draw(VALUES) + draw(LINE_ENDS)
        data += draw(LINE_ENDS) + draw(BODIES)
    return data


@st.composite
def changed_cases(draw: st.DrawFn) -> bytes:
    """A case of the strictness table, or two, with a few bytes changed, left out or put in."""
    data = bytearray(draw(st.sampled_from(CASES)) + draw(st.sampled_from([b"", *CASES])))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(
            st.sampled_from([b"", b"\r", b"\n", b" ", b"\0", b"0", b",", b";", b":"])
        )
    return bytes(data)


ANYTHING = st.one_of(nearly_requests(), changed_cases(), st.binary(max_size=200))


@given(ANYTHING)
@examples(400)
def test_what_ours_takes_others_read_the_same_way_or_refuse(data: bytes) -> None:
    assert differences(data) == []


@given(ANYTHING, st.lists(st.integers(0, 4000), max_size=8))
@examples(400)
def test_any_cut_of_the_bytes_gives_the_same_requests_and_the_same_end(data: bytes, places: list[int]) -> None:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    pieces = [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    assert read_here(pieces) == read_here([data])


@pytest.mark.parametrize("sent", CASES)
def test_each_case_of_the_table_is_read_the_same_byte_by_byte(sent: bytes) -> None:
    assert read_here([sent[at : at + 1] for at in range(len(sent))]) == read_here([sent])
    assert differences(sent) == []


@pytest.mark.parametrize(
    ("begin", "unit"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;a=b\r\na\r\n"),
    ],
)
def test_twice_as_much_takes_about_twice_as_long(begin: bytes, unit: bytes) -> None:
    """In pieces of 4 KiB. CPU time, the least of several, as others may use the machine."""

    def duration_s(units: int) -> float:
        data = begin + unit * units
        pieces = [data[at : at + 4096] for at in range(0, len(data), 4096)]
        begun_at_s = time.process_time()
        read_here(pieces)
        return time.process_time() - begun_at_s

    once = min(duration_s(2_000) for _ in range(4))
    assert min(duration_s(8_000) for _ in range(3)) < 4 * 2.5 * max(once, 0.001)


@pytest.mark.parametrize("begin", [b"GET / HTTP/1.1\r\nX: ", b"GET /", b"GET /" + b"u" * 5000 + b" HTTP/1.1\r\nX: "])
def test_a_head_that_comes_byte_by_byte_is_not_looked_at_again_for_each(begin: bytes) -> None:
    """Eight times the bytes: 64 times the work, if each looked at all those before it."""

    def duration_s(size: int) -> float:
        pieces = [begin, *([b"y"] * size)]
        begun_at_s = time.process_time()
        assert not read_here(pieces, 65_536).requests
        return time.process_time() - begun_at_s

    once = min(duration_s(3_000) for _ in range(3))
    assert min(duration_s(24_000) for _ in range(2)) < 24 * once


def test_random_bytes_behind_a_good_beginning_are_an_answer_or_a_wait() -> None:
    chance = random.Random(7)
    for sent in CASES:
        at = chance.randrange(len(sent) + 1)
        read_here([sent[:at] + chance.randbytes(64)])


@pytest.mark.parametrize("line", [b"POST / HTTP/1.0\r\n", b"POST / HTTP/1.1\r\nConnection: close\r\n"])
def test_nothing_behind_a_request_that_ends_its_connection_is_read(line: bytes) -> None:
    first = line + b"Host: x\r\nContent-Length: 4\r\n\r\nbody"
    behind = b"GET /behind HTTP/1.1\r\nHost: x\r\n\r\n"
    for cut in range(len(first) + 1):
        read = read_here([first[:cut], first[cut:] + behind])
        assert (len(read.requests), read.is_refused) == (1, False)
