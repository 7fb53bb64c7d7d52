"""What is asked of a shell, and how its streams are put into messages and frames."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from control_plane.api.shells import order_of
from control_plane.api.talk import FcTalk, OwnTalk
from control_plane.cli.failures import Failed
from control_plane.cli.shell import newest, query_of
from control_plane.errors import InvalidArgument
from runtime.shell import FRAME_BYTES_MAX, FrameError, ShellOrder, Stream, frame, read_frame, size_of


def test_a_query_says_what_to_run_and_how() -> None:
    query = "command=ls&command=-l&command=&stdin=false&stdout=True&tty=true&columns=120&rows=40&idleTimeout=60"
    assert order_of("i", QueryParams(query)) == ShellOrder(
        "i", ["ls", "-l"], stdin=False, stdout=True, stderr=True, tty=True, columns=120, rows=40, idle_s=60.0
    )
    assert order_of("i", QueryParams("")) == ShellOrder("i", [])
    assert order_of("i", QueryParams("FC_INSTANCE_EXEC_TIMEOUT=30")).idle_s == 30.0


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("tty=maybe", "tty is 'maybe': true or false is allowed"),
        ("idleTimeout=-1", "idleTimeout is '-1': must be a whole number from 0 to 86400"),
        ("columns=70000", "columns is '70000': must be a whole number from 0 to 65535"),
    ],
)
def test_a_query_that_means_nothing_is_refused_by_name(query: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        order_of("i", QueryParams(query))
    assert refused.value.message == message


@pytest.mark.parametrize(
    ("text", "data", "typed"),
    [
        ("\0ls\n", None, b"ls\n"),  # the Python client
        (None, b"ls\n", b"ls\n"),  # the Node client
        (None, b"\0ls\n", b"ls\n"),
        ("\0é", None, "é".encode()),
        (None, b"\0", b"\0"),  # a key
        ("", None, b""),
    ],
)
def test_what_fcs_clients_send_is_input(text: str | None, data: bytes | None, typed: bytes) -> None:
    assert FcTalk().heard(text, data) == (Stream.STDIN, typed)


def test_fcs_clients_get_texts_that_begin_with_the_stream() -> None:
    talk = FcTalk()
    assert talk.said(Stream.STDOUT, b"out") == ["\x01out"]
    assert talk.said(Stream.STDERR, b"\xff") == ["\x02�"]
    assert talk.said(Stream.ERROR, b"why") == ["\x03why"]
    assert talk.said(Stream.EXIT, b"0") == []


@given(st.text(max_size=50), st.integers(0, 200))
def test_a_character_cut_in_two_is_whole_for_fcs_clients(text: str, at: int) -> None:
    talk, data = FcTalk(), text.encode()
    parts = talk.said(Stream.STDOUT, data[:at]) + talk.said(Stream.STDOUT, data[at:]) + talk.said(Stream.EXIT, b"0")
    assert "".join(str(part)[1:] for part in parts) == text


def test_half_a_character_at_the_end_is_not_swallowed() -> None:
    talk = FcTalk()
    assert talk.said(Stream.STDOUT, b"\xc3") == []
    assert talk.said(Stream.EXIT, b"0") == ["\x01�"]


def test_our_own_messages_are_bytes_with_the_stream_before() -> None:
    talk = OwnTalk()
    assert talk.said(Stream.EXIT, b"3") == [b"\x053"]
    assert talk.heard(None, b"\x0480 24") == (Stream.RESIZE, b"80 24")
    for text, data in (("text", None), (None, b""), (None, b"\x63x")):
        assert talk.heard(text, data)[0] is Stream.ERROR


async def frames_of(data: bytes) -> list[tuple[Stream, bytes]]:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    found = []
    while (came := await read_frame(reader)) is not None:
        found.append(came)
    return found


@given(st.lists(st.tuples(st.sampled_from(Stream), st.binary(max_size=30)), max_size=6), st.integers(0, 3))
def test_frames_come_out_as_they_went_in_and_half_a_one_is_the_end(sent: list[tuple[Stream, bytes]], cut: int) -> None:
    data = b"".join(frame(stream, body) for stream, body in sent)
    assert asyncio.run(frames_of(data)) == sent
    if sent and cut:
        assert asyncio.run(frames_of(data[:-cut])) == sent[: len(asyncio.run(frames_of(data[:-cut])))]


@pytest.mark.parametrize("data", [b"\x63\0\0\0\0", b"\x01" + (FRAME_BYTES_MAX + 1).to_bytes(4, "big")])
async def test_what_is_no_frame_is_an_error(data: bytes) -> None:
    with pytest.raises(FrameError):
        await frames_of(data)


def test_a_windows_size_is_two_numbers() -> None:
    assert size_of(b"80 24") == (80, 24)
    for wrong in (b"", b"80", b"0 24", b"80 x", b"80 99999", b"1 2 3"):
        with pytest.raises(FrameError):
            size_of(wrong)


def test_the_newest_ready_instance_is_taken() -> None:
    listed = [
        {"instance_id": "a", "state": "READY", "ready_at_s": 5.0},
        {"instance_id": "b", "state": "READY", "ready_at_s": 9.0},
        {"instance_id": "c", "state": "LAUNCHING", "ready_at_s": 0.0},
    ]
    assert newest({"instances": listed}, "s/f") == "b"
    with pytest.raises(Failed, match="no instance of s/f is ready"):
        newest({"instances": listed[2:]}, "s/f")


def test_a_command_without_a_terminal_asks_for_none() -> None:
    assert query_of(["sh", "-c", "a b"], is_tty=False) == "command=sh&command=-c&command=a+b"
    assert "tty=true&columns=" in query_of([], is_tty=True)
