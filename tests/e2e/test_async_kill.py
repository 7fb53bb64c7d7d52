"""Asynchronous invocations of a whole Stoke whose parts are killed: every one is done, and hardly any twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.stoke import Stoke, eventually

pytestmark = pytest.mark.alone

COUNT = 1000
KILLED_AT = {150: "gateway", 350: "store", 550: "control-plane", 750: "gateway", 900: "store"}
PATH = "/2016-08-15/services/svc/functions/f"

NOTING = """
import os, time

def handler(event, context):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(f"{context.request_id} {event.decode()}\\n")
    time.sleep(0.005)
    return event
"""


@pytest.fixture
def stoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stoke]:
    monkeypatch.setenv("STOKE_ASYNC_CLAIM_AFTER_S", "2")
    monkeypatch.setenv("STOKE_ASYNC_DEMAND_MAX", "2")
    with Stoke(tmp_path / "data", "--listen", "127.0.0.1:0") as running:
        yield running


class Senders:
    """Sends every invocation until it is acknowledged, under one id each; tells when so many are."""

    def __init__(self, stoke: Stoke) -> None:
        self._url = f"{stoke.endpoint}{PATH}/invocations"
        self._auth = stoke.auth
        self.acknowledged: dict[str, str] = {}  # invocation id → request id
        self._lock = threading.Condition()

    def send(self, numbers: range) -> None:
        with httpx.Client(timeout=30.0, auth=self._auth) as client:
            for number in numbers:
                self._send(client, f"n-{number}")

    def _send(self, client: httpx.Client, invocation_id: str) -> None:
        headers = {"x-fc-invocation-type": "Async", "x-fc-stateful-async-invocation-id": invocation_id}

        def answered() -> Any:
            try:
                answer = client.post(self._url, content=invocation_id.encode(), headers=headers)
            except httpx.HTTPError:
                return None  # it may have been kept: the id makes sending it again harmless
            assert answer.status_code in (202, 503), answer.text
            return answer if answer.status_code == 202 else None

        answer = eventually(answered, f"{invocation_id} is acknowledged", timeout_s=40.0)
        assert answer.headers["x-fc-async-task-id"] == invocation_id
        with self._lock:
            self.acknowledged[invocation_id] = answer.headers["x-fc-request-id"]
            self._lock.notify_all()

    def await_count(self, count: int) -> None:
        with self._lock:
            assert self._lock.wait_for(lambda: len(self.acknowledged) >= count, timeout=60.0)


def invocations(stoke: Stoke) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        page = stoke.call("GET", f"{PATH}/stateful-async-invocations?limit=100&nextToken={token}")
        found += page["invocations"]
        token = page.get("nextToken", "")
        if not token:
            return found


def await_none(stoke: Stoke, status: str) -> None:
    path = f"{PATH}/stateful-async-invocations?limit=1&status={status}"
    eventually(lambda: not stoke.call("GET", path)["invocations"], f"none is {status}", 40.0)


def test_a_thousand_invocations_survive_the_death_of_every_part(stoke: Stoke, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.touch()
    stoke.deploy("f", {"app.py": NOTING}, environmentVariables={"NOTES": str(notes)})
    stoke.call("PUT", f"{PATH}/async-invoke-config", {"statefulInvocation": True})
    stoke.provision("f", 2)
    stoke.await_current("f", 2)
    senders = Senders(stoke)
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(senders.send, range(first, COUNT, 8)) for first in range(8)]
        for count, part in KILLED_AT.items():
            senders.await_count(count)
            stoke.await_restart(part, stoke.kill(part), timeout_s=20.0)
        for each in sent:
            each.result()
    assert len(senders.acknowledged) == COUNT
    for status in ("Enqueued", "Dequeued", "Running", "Retrying"):
        await_none(stoke, status)
    found = {each["invocationId"]: each for each in invocations(stoke)}
    assert Counter(each["status"] for each in found.values()) == {"Succeeded": COUNT}
    lines = [line.split() for line in notes.read_text().splitlines()]
    runs = Counter(event for _, event in lines)
    assert set(runs) == set(found) == set(senders.acknowledged)
    for request_id, event in lines:
        assert request_id == found[event]["requestId"] == senders.acknowledged[event]
    for event, times in runs.items():
        if times > 1:
            details = [each["eventDetail"] for each in found[event]["events"]]
            cut_short = sum("has died" in each or "exited unexpectedly" in each for each in details)
            assert times <= 1 + cut_short, f"{event} ran {times} times: {found[event]}"


def test_an_event_starts_an_instance_where_there_is_none(stoke: Stoke, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.touch()
    stoke.deploy("f", {"app.py": NOTING}, environmentVariables={"NOTES": str(notes)})
    headers = {"x-fc-invocation-type": "async"}
    answer = stoke.client.post(f"{stoke.endpoint}{PATH}/invocations", content=b"cold", headers=headers)
    assert (answer.status_code, answer.content) == (202, b"")
    path = f"{PATH}/stateful-async-invocations/{answer.headers['x-fc-async-task-id']}"
    eventually(lambda: stoke.call("GET", path)["status"] == "Succeeded", "it has run")
    assert notes.read_text() == f"{answer.headers['x-fc-request-id']} cold\n"
    [instance] = stoke.instances("f")
    assert instance["kind"] == "on-demand"
