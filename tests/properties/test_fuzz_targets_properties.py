"""What the fuzzer looks for, with the bytes that Hypothesis thinks of and those that have found something before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.fuzz.targets import TARGETS, one
from loadtests.fuzz.wording import LINES, said
from tests.support.examples import examples

ANSWER_WITH_LF = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\nabc"


@given(st.sampled_from(TARGETS), st.lists(st.integers(0, 255), max_size=12), st.integers(0, 1 << 16))
@examples(300)
def test_whatever_is_sent_is_read_in_one_way_or_refused(target: object, words: list[int], cut: int) -> None:
    header = bytes([TARGETS.index(target), 1, *cut.to_bytes(3, "big")[1:]])
    one(header + bytes(words))


@pytest.mark.parametrize("target", TARGETS)
def test_each_beginning_of_a_message_is_read_in_one_way_whatever_follows(target: object) -> None:
    number = TARGETS.index(target)
    for first in range(len(LINES)):
        for second in (first, 14, 43, 45):
            one(bytes([number, 1, 0, 20, first, second, 45, 40, 42]))


def test_an_answer_with_bare_line_ends_is_refused_by_every_cut() -> None:
    answers = bytes([[each.__name__ for each in TARGETS].index("answers"), 0])
    for cut in range(len(ANSWER_WITH_LF)):
        one(answers + cut.to_bytes(2, "big") + ANSWER_WITH_LF)


def test_words_stand_for_lines_and_the_rest_for_characters() -> None:
    assert said(bytes([0, 46, 128 + ord("x")])) == b"GET / HTTP/1.1\r\nHost: x\r\n\r\nx"
