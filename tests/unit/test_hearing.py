"""What is said on the store's channels reaches whom it concerns, and what cannot be read ends nothing."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from redis.asyncio import Redis

from control_plane.clock import SystemClock
from control_plane.fleet.usage import UsageBook
from control_plane.hearing import Hearing
from runtime.contract import UsageReport


def message(channel: str, data: bytes, type_: str = "message") -> dict[str, Any]:
    return {"type": type_, "channel": channel.encode(), "data": data}


def test_each_message_reaches_the_listener_of_its_channel_and_nothing_else_does() -> None:
    usage: list[bytes] = []
    leases: list[bytes] = []
    listeners = {"usage": usage.append, "leases": leases.append}
    hearing = Hearing(Redis(), SystemClock(), listeners, begun=lambda: None)
    hearing.heard(message("usage", b"1", "subscribe"))
    hearing.heard(message("leases", b"a"))
    hearing.heard(message("usage", b"b"))
    assert (usage, leases) == ([b"b"], [b"a"])


@pytest.mark.parametrize(
    "said",
    [
        b"{",
        b"[]",
        b'{"gateway": "g"}',
        # A gateway of another release, say: the report can be read, and something in it cannot.
        json.dumps(
            {"gateway": "g", "sequence": 1, "now_s": 1.0, "interval_s": 1.0, "functions": [{"service": "s"}]}
        ).encode(),
    ],
)
def test_what_cannot_be_read_is_told_and_ends_nothing(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    book = UsageBook()
    heard: list[str] = []

    def listener(data: bytes) -> None:
        book.absorb(UsageReport.from_json(data))
        heard.append("report")

    hearing = Hearing(Redis(), SystemClock(), {"usage": listener}, begun=lambda: None)
    with caplog.at_level(logging.WARNING):
        hearing.heard(message("usage", said))
    assert "channel.unreadable channel=usage" in caplog.text
    hearing.heard(message("usage", UsageReport("g", 1, 1.0, 1.0, []).to_json().encode()))
    assert heard == ["report"]
