"""What a gateway to which the store is away is answered: only to who has the secret.key, and under its seal."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from control_plane.clock import SystemClock
from control_plane.errors import Unavailable
from control_plane.fleet.lease_store import MemoryLeaseStore
from control_plane.fleet.leases import Batch
from control_plane.fleet.lessor import Lessor
from control_plane.fleet.processes import LocalProcesses
from control_plane.fleet.usage import UsageBook
from control_plane.lease_words import LeaseWords
from runtime.leasing import (
    LEASE_SEAL_HEADER,
    LEASE_WORD_BYTES_MAX,
    LEASE_WORD_PATH,
    Holder,
    LeaseQuestion,
    LeaseWord,
    seal,
)

KEY = b"k" * 32
ASKED = LeaseQuestion("g", 7, 1)


def refuses(question: LeaseQuestion) -> LeaseWord:
    raise Unavailable(f"gateway {question.gateway!r}: not now")


def gives(question: LeaseQuestion) -> LeaseWord:
    return LeaseWord(question.gateway, question.count, 1)


async def ask(app: Any, body: bytes, told: str, method: str = "POST", path: str = LEASE_WORD_PATH) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://control-plane") as client:
        return await client.request(method, path, content=body, headers={LEASE_SEAL_HEADER: told})


def sealed(question: LeaseQuestion) -> tuple[bytes, str]:
    body = question.to_json().encode()
    return body, seal(KEY, question, body)


async def test_the_word_is_given_under_a_seal_of_its_own() -> None:
    answer = await ask(LeaseWords(Starlette(), gives, KEY), *sealed(ASKED))
    word = LeaseWord.from_json(answer.content)
    assert (answer.status_code, word) == (200, LeaseWord("g", 7, 1))
    assert answer.headers[LEASE_SEAL_HEADER] == seal(KEY, word, answer.content)


@pytest.mark.parametrize("told", ["", "é", "0" * 64, seal(b"x" * 32, ASKED, ASKED.to_json().encode())])
async def test_who_does_not_have_the_key_gets_no_word(told: str) -> None:
    body = ASKED.to_json().encode()
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(LeaseWords(Starlette(), gives, KEY)), base_url="http://control-plane"
    ) as client:
        headers = {LEASE_SEAL_HEADER.encode(): told.encode("latin-1")}
        answer = await client.post(LEASE_WORD_PATH, content=body, headers=headers)
    assert (answer.status_code, answer.json()["ErrorCode"]) == (403, "AccessDenied")


async def test_a_word_that_cannot_be_given_says_why() -> None:
    answer = await ask(LeaseWords(Starlette(), refuses, KEY), *sealed(ASKED))
    assert (answer.status_code, answer.json()["ErrorCode"]) == (503, "ServiceUnavailable")
    assert "'g'" in answer.json()["ErrorMessage"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b"x" * (LEASE_WORD_BYTES_MAX + 1)])
async def test_what_is_no_question_is_refused(body: bytes) -> None:
    answer = await ask(LeaseWords(Starlette(), gives, KEY), body, "")
    assert (answer.status_code, answer.json()["ErrorCode"]) == (400, "InvalidArgument")


async def test_only_a_post_is_a_question_and_other_paths_are_the_apis() -> None:
    app = LeaseWords(Starlette(), gives, KEY)
    answer = await ask(app, b"", "", "GET")
    assert (answer.status_code, answer.json()["ErrorCode"]) == (405, "MethodNotAllowed")
    assert (await ask(app, b"", "", path="/stoke/v1/other")).status_code == 404


# -- what the lessor says, with a store behind it


async def lessor_of(store: MemoryLeaseStore) -> Lessor:
    made = Lessor(list, store, LocalProcesses(), UsageBook(), SystemClock())
    await made.begin()
    return made


async def test_the_lessor_gives_its_word_to_its_holders_alone_and_in_its_own_term() -> None:
    store = MemoryLeaseStore()
    await store.write((await store.begin()).term, Batch(1, (), (("g", Holder(1, 1, "far", 10.0, 60.0)),)))
    lessor = await lessor_of(store)
    assert lessor.vouch(LeaseQuestion("g", 7, 1)) == LeaseWord("g", 7, 2)
    with pytest.raises(Unavailable, match="'h': it holds no slots"):
        lessor.vouch(LeaseQuestion("h", 1, 2))
    with pytest.raises(Unavailable, match="term 2 is over"):
        lessor.vouch(LeaseQuestion("g", 8, 3))


async def test_who_is_no_lessor_gives_no_word() -> None:
    store = MemoryLeaseStore()
    lessor = Lessor(list, store, LocalProcesses(), UsageBook(), SystemClock())
    with pytest.raises(Unavailable, match="grants no slots"):
        lessor.vouch(ASKED)
