"""List and watch over a fake API server in virtual time: whatever breaks, the copy becomes true again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from control_plane.backends.kubernetes.access import Access
from control_plane.backends.kubernetes.client import ApiAway, ApiError, KubernetesClient, Object, pods_path
from control_plane.backends.kubernetes.pods import LABEL_OWNER, selector
from control_plane.backends.kubernetes.reflector import Reflector
from tests.support.kube_api import NAMESPACE, KubeApi, status_answer
from tests.support.kube_plane import until
from tests.support.kube_wire import Transport
from tests.support.virtual_time import VirtualClock, in_virtual_time

PODS = pods_path(NAMESPACE)


def body(name: str, owner: str = "tests") -> Object:
    containers = [{"name": "instance", "image": "i:1"}]
    return {"metadata": {"name": name, "labels": {LABEL_OWNER: owner}}, "spec": {"containers": containers}}


def client_of(api: KubeApi) -> KubernetesClient:
    access = Access("http://cluster", NAMESPACE)
    return KubernetesClient(access, VirtualClock(), Random(1), calls_per_s=1000.0, transport=Transport(api))


class Copy:
    def __init__(self, client: KubernetesClient) -> None:
        self.told: list[str] = []
        self.reflector = Reflector(
            client, PODS, selector("tests"), VirtualClock(), Random(1),
            changed=lambda pod: self.told.append("+" + pod["metadata"]["name"]),
            gone=lambda pod: self.told.append("-" + pod["metadata"]["name"]),
            moved=lambda: self.told.append("here" if self.reflector.is_current else "away"),
        )  # fmt: skip

    def names(self) -> set[str]:
        return set(self.reflector.objects)


@asynccontextmanager
async def copy_of(api: KubeApi) -> AsyncIterator[tuple[Copy, KubernetesClient]]:
    client = client_of(api)
    copy = Copy(client)
    running = asyncio.create_task(copy.reflector.run())
    await until(lambda: copy.reflector.is_current)
    yield copy, client
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await client.close()


@in_virtual_time
async def test_changes_are_told_as_they_come_and_those_of_others_are_not() -> None:
    api = KubeApi()
    async with copy_of(api) as (copy, client):
        made = await client.create(PODS, body("a"))
        await client.create(PODS, body("b", owner="others"))
        await until(lambda: copy.names() == {"a"})
        await client.delete(f"{PODS}/a", grace_s=1, uid=made["metadata"]["uid"])
        await until(lambda: copy.names() == set())
        assert copy.told == ["here", "+a", "-a"]


@in_virtual_time
async def test_what_happened_while_it_was_away_is_told_on_return() -> None:
    api = KubeApi()
    async with copy_of(api) as (copy, client):
        made = await client.create(PODS, body("a"))
        await client.create(PODS, body("b"))
        await until(lambda: copy.names() == {"a", "b"})
        api.go_down()
        await until(lambda: not copy.reflector.is_current)
        assert "cannot be reached" in copy.reflector.why_not
        api.is_down = False
        await client.delete(f"{PODS}/a", grace_s=1, uid=made["metadata"]["uid"])
        await client.create(PODS, body("c"))
        api.forget_history()
        await until(lambda: copy.reflector.is_current)
        assert copy.names() == {"b", "c"}
        assert "-a" in copy.told


@in_virtual_time
async def test_a_connection_that_is_cut_without_a_word_is_given_up_in_time() -> None:
    api = KubeApi()
    async with copy_of(api) as (copy, client):
        await client.create(PODS, body("a"))
        await until(lambda: copy.names() == {"a"})
        api.is_mute = True
        api.put("pods", {**body("b"), "status": {}}, "ADDED")
        began_s = asyncio.get_running_loop().time()
        await until(lambda: not copy.reflector.is_current)
        assert asyncio.get_running_loop().time() - began_s <= 81.0
        assert "has said nothing for 80 s" in copy.reflector.why_not
        api.is_mute = False
        await until(lambda: copy.reflector.is_current)
        assert copy.names() == {"a", "b"}


@in_virtual_time
async def test_a_version_that_is_too_old_is_listed_anew_without_going_away() -> None:
    api = KubeApi()
    async with copy_of(api) as (copy, client):
        await client.create(PODS, body("a"))
        await until(lambda: copy.names() == {"a"})
        refuse = api.refuse
        api.refuse = lambda method, path: status_answer(410, "Expired", "too old resource version")
        api.end_watches()
        await asyncio.sleep(0.015)
        api.refuse = refuse
        await client.create(PODS, body("b"))
        await until(lambda: copy.names() == {"a", "b"})
        assert "away" not in copy.told


@in_virtual_time
async def test_bookmarks_keep_a_quiet_watch_from_becoming_too_old() -> None:
    api = KubeApi()
    async with copy_of(api) as (copy, client):
        await client.create(PODS, body("a"))
        for number in range(5):
            await client.create(PODS, body(f"other-{number}", owner="others"))
        await asyncio.sleep(65.0)  # one watch has ended, with a bookmark
        api.forget_history()
        lists = api.lists
        await asyncio.sleep(65.0)
        assert api.lists == lists
        assert copy.told == ["here", "+a"]


@in_virtual_time
async def test_a_busy_api_server_is_asked_again_when_it_says() -> None:
    api = KubeApi()
    client = client_of(api)
    busy = [status_answer(429, "TooManyRequests", "later", retry_after="7"), status_answer(503, "", "soon")]
    api.refuse = lambda _method, _path: busy.pop(0) if busy else None
    before_s = asyncio.get_running_loop().time()
    await client.create(PODS, body("a"))
    took_s = asyncio.get_running_loop().time() - before_s
    assert 7.0 <= took_s < 9.0
    api.refuse = lambda _method, _path: status_answer(503, "", "never")
    with pytest.raises(ApiAway, match="answered 503: never"):
        await client.get(PODS)
    await client.close()


@in_virtual_time
async def test_refusals_have_the_api_servers_own_words() -> None:
    api = KubeApi()
    client = client_of(api)
    made = await client.create(PODS, body("a"))
    with pytest.raises(ApiError, match='pods "a" already exists') as twice:
        await client.create(PODS, body("a"))
    assert (twice.value.status, twice.value.reason) == (409, "AlreadyExists")
    with pytest.raises(ApiError) as another:
        await client.delete(f"{PODS}/a", grace_s=1, uid="another")
    assert another.value.status == 409
    with pytest.raises(ApiError) as nobody:
        await client.get(f"{PODS}/nobody")
    assert nobody.value.reason == "NotFound"
    await client.delete(f"{PODS}/a", grace_s=1, uid=made["metadata"]["uid"])
    await client.close()


@in_virtual_time
async def test_a_long_list_is_read_page_by_page() -> None:
    api = KubeApi()
    for number in range(1203):
        api.put("pods", {**body(f"p{number:04}"), "status": {}}, "ADDED")
    async with copy_of(api) as (copy, _client):
        assert len(copy.names()) == 1203
