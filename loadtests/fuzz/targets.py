"""What is fuzzed: each reader of what others send, by any bytes. `one` raises where a promise is broken.

The first byte says which reader, the second whether the rest is what is sent or stands for it (`wording.py`), the next
two where that is cut.
"""

from __future__ import annotations

import contextlib

from loadtests.fuzz.answering import answer_differences, answers_here
from loadtests.fuzz.entering import enter, go_back
from loadtests.fuzz.reading import differences, read_here
from loadtests.fuzz.wording import said
from runtime.http.framing import Headers
from runtime.http.head import END, HeadMalformed, parse_request, parse_response, parse_trailers


def one(data: bytes) -> None:
    if len(data) < 5:
        return
    target = TARGETS[data[0] % len(TARGETS)]
    sent = said(data[4:]) if data[1] & 1 else data[4:]
    target(sent, int.from_bytes(data[2:4], "big") % (len(sent) + 1))


def requests(sent: bytes, cut: int) -> None:
    """Whatever the pieces, the requests are the same, and others read them so or refuse them."""
    whole = read_here([sent])
    parts = read_here([sent[:cut], sent[cut:]])
    assert whole == parts, f"cut at {cut}: {parts}, not {whole}"
    found = differences(sent)
    assert not found, found


def requests_behind_a_gateway(sent: bytes, cut: int) -> None:
    """What an instance remembers of the heads before changes nothing."""
    pieces = [sent[:cut], sent[cut:]]
    plain, remembered = read_here(pieces), read_here(pieces, behind_gateway=True)
    assert plain == remembered, f"{remembered}, not {plain}"


def answers(sent: bytes, cut: int) -> None:
    """The same of an instance's answers, also of one behind another, and of one to who asked for a WebSocket."""
    for head_only in (False, True):
        found = answer_differences(sent, head_only=head_only)
        assert not found, found
    for upgrading in (False, True):
        [whole] = answers_here([[sent]], upgrading=upgrading)
        [parts] = answers_here([[sent[:cut], sent[cut:]]], upgrading=upgrading)
        if whole.is_refused:  # what came before the fault may have been passed on
            assert parts.is_refused, f"cut at {cut}: {parts}, not {whole}"
        else:
            assert whole == parts, f"cut at {cut}: {parts}, not {whole}"
    both = answers_here([[sent[:cut]], [sent[cut:]]])
    if len(both) == 2:
        [alone] = answers_here([[sent[cut:]]])
        assert both[1] == alone, f"behind another answer {both[1]}, not {alone}"


def heads(sent: bytes, cut: int) -> None:  # noqa: ARG001 - a head is read when it is whole
    """What is done with a head that was read: who is asked for, by whom, on which terms, and what goes on of it."""
    raw = sent[: sent.find(END) + len(END)] if END in sent else sent
    with contextlib.suppress(HeadMalformed):
        enter(parse_request(raw))
    with contextlib.suppress(HeadMalformed):
        response = parse_response(raw)
        trailers: Headers = []
        with contextlib.suppress(HeadMalformed):
            trailers = parse_trailers(sent[len(raw) :])
        go_back(response.fields, trailers)


TARGETS = (requests, requests_behind_a_gateway, answers, heads)
