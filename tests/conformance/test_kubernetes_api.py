"""What an API server answers to the calls of the backend: the tests' own as the real one of `STOKE_TEST_KUBECONFIG`.

The words were taken from Kubernetes 1.36.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from control_plane.backends.kubernetes.access import find_access
from control_plane.backends.kubernetes.client import pods_path
from tests.conformance.cluster_beds import KUBECONFIG
from tests.support.kube_api import NAMESPACE, KubeApi
from tests.support.kube_wire import Transport

KEPT = "stoke.dev/kept"
NOBODY = "00000000-0000-0000-0000-000000000000"
MERGE = {"content-type": "application/merge-patch+json"}


class Asking:
    """One API server, and one Pod in it that no node is for."""

    def __init__(self, http: httpx.AsyncClient, namespace: str) -> None:
        self.http, self.pods, self.name = http, pods_path(namespace), f"stoke-test-{uuid.uuid4().hex[:8]}"
        self.path = f"{self.pods}/{self.name}"

    def body(self, name: str = "", image: str = "x:1") -> dict[str, Any]:
        container = {"name": "instance", "image": image, "resources": {"requests": {"memory": "1Mi"}}}
        metadata = {"name": name or self.name, "finalizers": [KEPT], "annotations": {"a": "1"}}
        spec = {"nodeSelector": {"no": "such-node"}, "restartPolicy": "Never", "containers": [container]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    async def create(self, **other: str) -> httpx.Response:
        return await self.http.post(self.pods, json=self.body(**other))

    async def patch(self, **metadata: Any) -> httpx.Response:
        return await self.http.patch(self.path, content=json.dumps({"metadata": metadata}), headers=MERGE)

    async def delete(self, uid: str) -> httpx.Response:
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 5, "preconditions": {"uid": uid}}
        return await self.http.request("DELETE", self.path, json=body)


@pytest.fixture
async def asking() -> AsyncIterator[Asking]:
    if KUBECONFIG:
        access = find_access(KUBECONFIG, {})
        headers = {"authorization": f"Bearer {token}"} if (token := access.read_token()) else {}
        http = httpx.AsyncClient(base_url=access.server, verify=access.tls(), headers=headers)
        namespace = access.namespace
    else:
        api = KubeApi()
        api.oldest = api.version
        http = httpx.AsyncClient(base_url="http://cluster", transport=Transport(api, 0.0))
        namespace = NAMESPACE
    async with http:
        asking = Asking(http, namespace)
        yield asking
        if (left := await http.get(asking.path)).status_code == 200:
            await asking.delete(left.json()["metadata"]["uid"])
            await asking.patch(finalizers=None)


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    said = answer.json()
    assert (said["kind"], said["code"]) == ("Status", answer.status_code)
    return answer.status_code, said["reason"], said["message"]


async def test_a_pod_is_made_once_and_only_if_it_is_valid(asking: Asking) -> None:
    name = asking.name
    assert (await asking.create()).status_code == 201
    assert refusal(await asking.create()) == (409, "AlreadyExists", f'pods "{name}" already exists')
    no_image = f'Pod "{name}-b" is invalid: spec.containers[0].image: Required value'
    assert refusal(await asking.create(name=f"{name}-b", image="")) == (422, "Invalid", no_image)
    code, reason, message = refusal(await asking.create(name="No_Name"))
    assert (code, reason) == (422, "Invalid")
    assert message.startswith('Pod "No_Name" is invalid: metadata.name: Invalid value: "No_Name": a lowercase RFC 1123')


async def test_a_patch_adds_and_takes_away_and_is_only_for_the_pod_of_its_uid(asking: Asking) -> None:
    uid = (await asking.create()).json()["metadata"]["uid"]
    assert (await asking.patch(uid=uid, annotations={"b": "2"})).json()["metadata"]["annotations"] == {
        "a": "1",
        "b": "2",
    }
    assert (await asking.patch(uid=uid, annotations={"a": None})).json()["metadata"]["annotations"] == {"b": "2"}
    immutable = f'Pod "{asking.name}" is invalid: metadata.uid: Invalid value: "{NOBODY}": field is immutable'
    assert refusal(await asking.patch(uid=NOBODY, annotations={"b": "3"})) == (422, "Invalid", immutable)


async def test_a_pod_that_is_deleted_stays_until_its_finalizer_is_gone(asking: Asking) -> None:
    uid = (await asking.create()).json()["metadata"]["uid"]
    code, reason, message = refusal(await asking.delete(NOBODY))
    assert (code, reason) == (409, "Conflict")
    assert f"the UID in the precondition ({NOBODY}) does not match the UID in record ({uid})" in message
    assert (await asking.delete(uid)).status_code == 200
    metadata = (await asking.http.get(asking.path)).json()["metadata"]
    assert metadata["deletionTimestamp"]
    assert metadata["deletionGracePeriodSeconds"] == 0, "no node has it"
    again = f'object is being deleted: pods "{asking.name}" already exists'
    assert refusal(await asking.create()) == (409, "AlreadyExists", again)
    code, reason, message = refusal(await asking.patch(uid=uid, finalizers=[KEPT, "other.dev/kept"]))
    assert (code, reason) == (422, "Invalid")
    assert "no new finalizers can be added if the object is being deleted" in message
    assert (await asking.patch(uid=uid, annotations={"late": "1"})).status_code == 200
    assert (await asking.patch(uid=uid, finalizers=None)).status_code == 200
    assert refusal(await asking.http.get(asking.path)) == (404, "NotFound", f'pods "{asking.name}" not found')


async def test_a_pod_that_has_not_begun_has_no_output(asking: Asking) -> None:
    await asking.create()
    answer = await asking.http.get(f"{asking.path}/log", params={"container": "instance"})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_watch_from_too_long_ago_is_told_so(asking: Asking) -> None:
    since = {"watch": "true", "resourceVersion": "1", "timeoutSeconds": "5", "allowWatchBookmarks": "true"}
    async with asking.http.stream("GET", asking.pods, params=since) as answer:
        event = json.loads(await anext(aiter(answer.aiter_lines())))
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert event["object"]["message"].startswith("too old resource version: 1 (")
