"""A small FC API in memory, for tests of clients: items are kept under the path they are reached by, unchecked.

It answers an httpx.MockTransport, so that no socket is needed. What it was asked is in `asked`.
"""

from __future__ import annotations

import json
from typing import Any

import httpx

from runtime.error_body import error_body

PREFIX = "/2016-08-15/services"
# A collection's name → what FC calls one of its items, and the field with the item's name.
KINDS = {
    "services": ("Service", "serviceName"),
    "functions": ("Function", "functionName"),
    "triggers": ("Trigger", "triggerName"),
    "aliases": ("Alias", "aliasName"),
    "versions": ("Version", "versionId"),
    "custom-domains": ("DomainName", "domainName"),
}
READ_ONLY_KEYS = ("code",)


class FakeFc:
    """`items` maps a path as /services/s/functions/f to the item's body; `statuses` a function's path to what
    /stoke/v1/provision says, one answer after the other, the last for ever."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.provisions: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.async_configs: dict[str, dict[str, Any]] = {}  # by path, with the qualifier in it
        self.statuses: list[dict[str, Any]] = []
        self.refused = ""  # a path that the key may not ask for
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[httpx.Headers] = []

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.handle)

    def handle(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        body: dict[str, Any] = json.loads(request.content) if request.content else {}
        self.asked.append((request.method, path))
        self.bodies.append(body)
        self.headers.append(request.headers)
        if path == self.refused:
            return _error(403, "AccessDenied", "access key 'k' may not touch what belongs to no single service")
        if path == "/stoke/v1/provision":
            return _reply(self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0])
        if path == "/2016-08-15/provision-configs":
            wanted = request.url.params.get("serviceName", "")
            return _reply(
                {"provisionConfigs": [v for k, v in self.provisions.items() if wanted in ("", k[0])]},
            )
        if path.endswith("/provision-config"):
            return self._provision(request.method, path, body)
        if path.endswith("/async-invoke-config"):
            self.async_configs[path.removeprefix("/2016-08-15")] = body
            return _reply(body)
        if path.endswith("/async-invoke-configs"):
            of_function = (
                path.removeprefix("/2016-08-15").removesuffix("s").replace("/functions/", ".LATEST/functions/")
            )
            return _reply({"configs": [v for k, v in self.async_configs.items() if k == of_function]})
        return self._item(request.method, path.removeprefix("/2016-08-15"), body)

    def _provision(self, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        parts = path.split("/")
        service, _, qualifier = parts[3].partition(".")
        key = (service, qualifier, parts[5])
        if method == "PUT":
            self.provisions[key] = {"resource": "#".join(("1", *key)), "current": body.get("target", 0), **body}
        return _reply(self.provisions.get(key, {"resource": "#".join(("1", *key)), "target": 0, "current": 0}))

    def _item(self, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        last = path.rpartition("/")[2]
        if last in KINDS and path.count("/") % 2 == 1:
            return self._collection(method, path, last, body)
        if path not in self.items:
            kind = KINDS[path.split("/")[-2]][0]
            return _error(404, f"{kind}NotFound", f"{kind.lower()} '{last}' does not exist")
        if method == "DELETE":
            if any(other.startswith(f"{path}/") for other in self.items):
                return _error(412, "NotEmpty", f"'{last}' is not empty")
            del self.items[path]
            return httpx.Response(204)
        if method == "PUT":
            self.items[path] |= _stored(body)
            for key in (key for key, value in body.items() if value is None):
                self.items[path].pop(key, None)
        return _reply(self.items[path])

    def _collection(self, method: str, path: str, collection: str, body: dict[str, Any]) -> httpx.Response:
        if method == "GET":
            found = [v for k, v in sorted(self.items.items()) if k.rpartition("/")[0] == path]
            return _reply({"customDomains" if collection == "custom-domains" else collection: found})
        kind, name_key = KINDS[collection]
        item_path = f"{path}/{body[name_key]}"
        if item_path in self.items:
            return _error(409, f"{kind}AlreadyExists", f"'{body[name_key]}' already exists")
        self.items[item_path] = _stored(body)
        if collection == "triggers":
            _, _, service, _, function, _ = path.split("/")
            self.items[item_path]["urlInternet"] = f"http://fc.test/2016-08-15/proxy/{service}/{function}/"
        return _reply(self.items[item_path])


def _stored(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in READ_ONLY_KEYS and value is not None}


def _reply(body: Any) -> httpx.Response:
    return httpx.Response(200, json=body)


def _error(status: int, code: str, message: str) -> httpx.Response:
    return httpx.Response(status, content=error_body(code, message, "r-1"))
