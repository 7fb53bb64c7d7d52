"""The end of an invocation's log: how much of it, and who is asked for it."""

from __future__ import annotations

import asyncio
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.gateway.headers import sort_request
from runtime.gateway.log_type import pass_log_type
from runtime.gateway.refusal import Refusal
from runtime.http.head import parse_request
from runtime.instance.log_tail import TAIL_BYTES_MAX, WRITTEN, Tapped, Written, whole_characters


@given(st.lists(st.text(max_size=3000), max_size=8))
def test_the_tail_is_the_last_4_kib_and_no_more_is_kept_than_twice_that(texts: list[str]) -> None:
    tail = Written()
    for text in texts:
        tail.add(text)
        assert len(tail._kept) <= 2 * TAIL_BYTES_MAX
    assert tail.read() == "".join(texts).encode()[-TAIL_BYTES_MAX:]


@given(st.text(max_size=40), st.integers(0, 40))
def test_a_tail_can_be_decoded_wherever_it_was_cut(text: str, at: int) -> None:
    data = text.encode()[at:]
    whole = whole_characters(data)
    assert text.endswith(whole.decode())
    assert len(data) - len(whole) <= 3


async def test_what_is_written_in_two_contexts_is_told_apart() -> None:
    stream = Tapped(io.BytesIO(), "utf-8", write_through=True)

    async def invocation(name: str) -> bytes:
        tail = Written()
        WRITTEN.set(tail)
        for number in range(3):
            stream.write(f"{name}{number} ")
            await asyncio.sleep(0)
        return tail.read()

    first, second = await asyncio.gather(invocation("a"), invocation("b"))
    assert (first, second) == (b"a0 a1 a2 ", b"b0 b1 b2 ")
    stream.write("nobody's")
    assert stream.buffer.getvalue().startswith(b"a0 b0 a1 ")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("value", "passed"), [(b"Tail", True), (b"tail", True), (b"None", False), (b"none", False), (b"", False)]
)
def test_only_tail_is_passed_on(value: bytes, passed: bool) -> None:
    head = sort_request(parse_request(b"POST / HTTP/1.1\r\nHost: x\r\nX-Fc-Log-Type: %b\r\n\r\n" % value))
    pass_log_type(head)
    assert (b"x-fc-log-type" in head.passed) is passed


def test_another_log_type_is_refused_by_name() -> None:
    with pytest.raises(Refusal) as refused:
        pass_log_type(sort_request(parse_request(b"POST / HTTP/1.1\r\nHost: x\r\nx-fc-log-type: All\r\n\r\n")))
    assert refused.value.message == "header x-fc-log-type 'All': None and Tail are allowed"
