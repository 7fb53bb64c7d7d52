"""An API server of Kubernetes in a process: Pods and nodes, their versions, watches and refusals, as the real one's.

`kube_wire.py` has the ways to it; what a kubelet does with the Pods is `kube_kubelet.py`'s.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
NAMESPACE = "tests"
HISTORY_MAX = 1000


class Refusal(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


class Severed(Exception):
    """The connection breaks; whether what was asked has been done is not told."""


@dataclass
class Answer:
    status: int
    body: bytes = b""
    chunks: AsyncIterator[bytes] | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class Watch:
    kind: str
    selector: str
    queue: asyncio.Queue[Object | None] = field(default_factory=asyncio.Queue)


class KubeApi:
    """The cluster's memory. A kubelet sets `changed` and `read_log`; tests set `is_down`, `refuse` and `sever`."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Object]] = {"pods": {}, "nodes": {}}
        self.secrets: dict[str, Object] = {}  # nobody may read or watch them
        self.version = 1000
        self.history: list[tuple[int, str, str, Object]] = []
        self.oldest = 1000  # versions before this are forgotten
        self.watches: set[Watch] = set()
        self.is_down = False
        self.refuse: Callable[[str, str], Answer | None] = lambda _method, _path: None
        self.sever: Callable[[str, str], str] = lambda _method, _path: ""  # "before" or "after" it is done
        self.changed: Callable[[str, Object], None] = lambda _type, _pod: None
        self.read_log: Callable[[str, int, bool], AsyncIterator[bytes]] = _no_log
        self.metrics: Callable[[], list[Object]] | None = None
        self.lists = 0
        self.is_mute = False  # packets are dropped: nobody hears anything, and no connection ends
        self.asked: list[tuple[float, str, str]] = []  # when, method, path

    # -- objects ------------------------------------------------------------------------------------------------------

    @property
    def pods(self) -> dict[str, Object]:
        return self.objects["pods"]

    def put(self, kind: str, item: Object, type_: str) -> Object:
        """The one door: a new version of an object, told to whom it concerns."""
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        name = item["metadata"]["name"]
        if type_ == "DELETED":
            self.objects[kind].pop(name, None)
        else:
            self.objects[kind][name] = item
        kept = _copied(item)
        self.history.append((self.version, kind, type_, kept))
        if len(self.history) > HISTORY_MAX:
            self.forget_history(self.history[len(self.history) // 2][0])
        for watch in self.watches:
            if watch.kind == kind and _matches(kept, watch.selector):
                watch.queue.put_nowait({"type": type_, "object": kept})
        if kind == "pods":
            self.changed(type_, item)
        return _copied(item)

    def forget_history(self, before: int | None = None) -> None:
        """As a compaction does: who comes from an older version is told 410."""
        self.oldest = before if before is not None else self.version
        self.history = [entry for entry in self.history if entry[0] > self.oldest]

    def set_status(self, name: str, **status: Any) -> None:
        if (pod := self.pods.get(name)) is not None:
            pod["status"] = {**pod["status"], **status}
            self.put("pods", pod, "MODIFIED")

    def bind(self, name: str, node: str) -> None:
        if (pod := self.pods.get(name)) is not None:
            pod["spec"]["nodeName"] = node
            pod["status"]["conditions"] = [{"type": "PodScheduled", "status": "True"}]
            self.put("pods", pod, "MODIFIED")

    def add_node(self, name: str, *, ready: bool = True, gpus: int = 0, memory: str = "64Gi") -> None:
        """Or change it."""
        allocatable = {"cpu": "32", "memory": memory, "pods": "110", **({"nvidia.com/gpu": str(gpus)} if gpus else {})}
        status = {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": str(ready)}]}
        labels = {"kubernetes.io/hostname": name}
        node = {"metadata": {"name": name, "uid": f"node-{name}", "labels": labels}, "spec": {}, "status": status}
        self.put("nodes", node, "MODIFIED" if name in self.objects["nodes"] else "ADDED")

    def delete(self, name: str, uid: str) -> None:
        """As `kubectl delete` does, or an eviction."""
        self._delete(name, {"preconditions": {"uid": uid}})

    def confirm_deleted(self, name: str) -> None:
        """The kubelet has nothing of it any more."""
        if (pod := self.pods.get(name)) is not None:
            pod["metadata"]["deletionGracePeriodSeconds"] = 0
            self._settle(pod)

    def _settle(self, pod: Object) -> Object:
        metadata = pod["metadata"]
        is_over = metadata.get("deletionTimestamp") and metadata.get("deletionGracePeriodSeconds") == 0
        return self.put("pods", pod, "DELETED" if is_over and not metadata.get("finalizers") else "MODIFIED")

    # -- outages ------------------------------------------------------------------------------------------------------

    def go_down(self) -> None:
        self.is_down = True
        self.end_watches()

    def end_watches(self) -> None:
        for watch in self.watches:
            watch.queue.put_nowait(None)

    # -- requests -----------------------------------------------------------------------------------------------------

    async def handle(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        self.asked.append((asyncio.get_running_loop().time(), method, path))
        if self.is_mute:
            await asyncio.sleep(30.0)
            raise Severed
        if self.is_down:
            raise Severed
        if (refused := self.refuse(method, path)) is not None:
            return refused
        when = self.sever(method, path)
        if when == "before":
            raise Severed
        try:
            answer = await self._route(method, path, query, json.loads(body) if body else {})
        except Refusal as error:
            return status_answer(error.code, error.reason, str(error))
        if when == "after":
            raise Severed
        return answer

    async def _route(self, method: str, path: str, query: dict[str, str], body: Object) -> Answer:
        parts = path.strip("/").split("/")
        match method, parts:
            case "GET", ["api", "v1", ("pods" | "nodes") as kind]:
                return self._list(kind, query)
            case "GET", ["api", "v1", "namespaces", _, "pods"]:
                return self._list("pods", query)
            case "POST", ["api", "v1", "namespaces", namespace, "pods"]:
                return _json(self._create(namespace, body), 201)
            case "GET", ["api", "v1", "namespaces", _, "pods", name]:
                return _json(_copied(self._pod(name)))
            case "GET", ["api", "v1", "namespaces", _, "pods", name, "log"]:
                self._pod(name)
                lines = int(query.get("tailLines", 10**9))
                return Answer(200, chunks=self.read_log(name, lines, query.get("follow") == "true"))
            case "PATCH", ["api", "v1", "namespaces", _, "pods", name]:
                return _json(self._patch(name, body))
            case "DELETE", ["api", "v1", "namespaces", _, "pods", name]:
                return _json(self._delete(name, body))
            case "POST", ["api", "v1", "namespaces", _, "secrets"]:
                if (name := body["metadata"]["name"]) in self.secrets:
                    raise Refusal(409, "AlreadyExists", f'secrets "{name}" already exists')
                self.secrets[name] = _copied(body)
                return _json(_copied(body), 201)
            case "DELETE", ["api", "v1", "namespaces", _, "secrets", name]:
                if self.secrets.pop(name, None) is None:
                    raise Refusal(404, "NotFound", f'secrets "{name}" not found')
                return _json({"kind": "Status", "status": "Success"})
            case "GET", ["apis", "metrics.k8s.io", "v1beta1", "namespaces", _, "pods"] if self.metrics is not None:
                return _json({"kind": "PodMetricsList", "items": self.metrics()})
        raise Refusal(404, "NotFound", "the server could not find the requested resource")

    def _pod(self, name: str) -> Object:
        if name not in self.pods:
            raise Refusal(404, "NotFound", f'pods "{name}" not found')
        return self.pods[name]

    def _create(self, namespace: str, body: Object) -> Object:
        pod = _copied(body)
        metadata = pod["metadata"]
        if metadata["name"] in self.pods:
            raise Refusal(409, "AlreadyExists", f'pods "{metadata["name"]}" already exists')
        if not pod["spec"]["containers"][0].get("image"):
            raise Refusal(422, "Invalid", "spec.containers[0].image: Required value")
        metadata |= {"namespace": namespace, "uid": str(uuid.uuid4()), "creationTimestamp": "2026-01-01T00:00:00Z"}
        pod["status"] = {"phase": "Pending"}
        return self.put("pods", pod, "ADDED")

    def _patch(self, name: str, body: Object) -> Object:
        pod = self._pod(name)
        metadata = dict(body.get("metadata") or {})
        uid = metadata.pop("uid", pod["metadata"]["uid"])
        if uid != pod["metadata"]["uid"]:
            raise Refusal(409, "Conflict", f"the UID in the precondition ({uid}) does not match the UID in record")
        for key, value in metadata.items():
            if isinstance(value, dict):
                pod["metadata"][key] = {**pod["metadata"].get(key, {}), **value}
            elif value is None:
                pod["metadata"].pop(key, None)
            else:
                pod["metadata"][key] = value
        return self._settle(pod)

    def _delete(self, name: str, body: Object) -> Object:
        pod = self._pod(name)
        metadata = pod["metadata"]
        uid = (body.get("preconditions") or {}).get("uid", metadata["uid"])
        if uid != metadata["uid"]:
            raise Refusal(409, "Conflict", f"Precondition failed: UID in precondition: {uid}")
        default_s = pod["spec"].get("terminationGracePeriodSeconds", 30)
        grace_s = int(body.get("gracePeriodSeconds", default_s)) if pod["spec"].get("nodeName") else 0
        if "deletionTimestamp" in metadata and grace_s >= metadata["deletionGracePeriodSeconds"]:
            return _copied(pod)
        metadata.setdefault("deletionTimestamp", "2026-01-01T00:00:00Z")
        metadata["deletionGracePeriodSeconds"] = grace_s
        return self._settle(pod)

    # -- lists and watches --------------------------------------------------------------------------------------------

    def _list(self, kind: str, query: dict[str, str]) -> Answer:
        selector = query.get("labelSelector", "")
        if query.get("watch") == "true":
            return Answer(200, chunks=self._watch(kind, selector, query))
        self.lists += 1
        names = sorted(name for name, item in self.objects[kind].items() if _matches(item, selector))
        start = query.get("continue", "")
        limit = int(query.get("limit", 10**9))
        page = [name for name in names if name > start][:limit]
        metadata = {"resourceVersion": str(self.version)}
        if page and page[-1] != names[-1]:
            metadata["continue"] = page[-1]
        items = [_copied(self.objects[kind][name]) for name in page]
        return _json(
            {"kind": f"{kind[:-1].capitalize()}List", "apiVersion": "v1", "metadata": metadata, "items": items}
        )

    async def _watch(self, kind: str, selector: str, query: dict[str, str]) -> AsyncIterator[bytes]:
        since = int(query.get("resourceVersion") or 0)
        if since < self.oldest:
            status = {
                "kind": "Status",
                "code": 410,
                "reason": "Expired",
                "message": f"too old resource version: {since}",
            }
            yield _line({"type": "ERROR", "object": status})
            return
        watch = Watch(kind, selector)
        for version, of, type_, item in self.history:
            if version > since and of == kind and _matches(item, selector):
                watch.queue.put_nowait({"type": type_, "object": item})
        self.watches.add(watch)
        try:
            loop = asyncio.get_running_loop()
            until_s = loop.time() + float(query["timeoutSeconds"])
            event: Object | None = {}
            while event is not None:
                try:
                    async with asyncio.timeout_at(until_s):
                        event = await watch.queue.get()
                except TimeoutError:
                    break
                if event is not None and not self.is_mute:
                    yield _line(event)
            if self.is_down:
                raise Severed
            if self.is_mute:
                await asyncio.Event().wait()
            metadata = {"resourceVersion": str(self.version)}
            yield _line({"type": "BOOKMARK", "object": {"kind": kind[:-1].capitalize(), "metadata": metadata}})
        finally:
            self.watches.discard(watch)


def status_answer(code: int, reason: str, message: str, **headers: str) -> Answer:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return Answer(code, json.dumps(body).encode(), headers={k.replace("_", "-"): v for k, v in headers.items()})


def _copied(item: Object) -> Object:
    """As it goes over the wire; faster than a deep copy."""
    copy: Object = json.loads(json.dumps(item))
    return copy


def _json(value: Object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode())


def _line(event: Object) -> bytes:
    return json.dumps(event).encode() + b"\n"


def _matches(item: Object, selector: str) -> bool:
    if not selector:
        return True
    labels = item["metadata"].get("labels") or {}
    if "!=" in selector:
        name, _, value = selector.partition("!=")
        return bool(labels.get(name) != value)
    name, _, value = selector.partition("=")
    return bool(labels.get(name) == value)


async def _no_log(_name: str, _lines: int, _follow: bool) -> AsyncIterator[bytes]:
    yield b"fake output\n"
