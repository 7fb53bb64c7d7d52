"""The secrets by which nodes pull images that a function has credentials of its own for: one for each version.

Its name is made of the version's, so nobody has to look for it, and no right to read secrets is needed. It is written
before the first Pod that names it, and removed before the last one is let go of: whoever comes after a crash finds the
Pod, and by it the secret.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections import defaultdict
from typing import Any, Final

from control_plane.backends.kubernetes.client import ApiError, KubernetesClient, Object
from control_plane.errors import LaunchRefused
from runtime.node.docker.asked import registry_of
from runtime.node_contract import LaunchSpec

PREFIX: Final = "stoke-pull-"
_TYPE: Final = "kubernetes.io/dockerconfigjson"
_KEY: Final = ".dockerconfigjson"
_REFUSED: Final = frozenset({400, 403, 404, 413, 422})


def secrets_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets"


def secret_name(spec: LaunchSpec, owner: str) -> str:
    """Of the version's secret; "" where the function has no credentials."""
    if not spec.registry_user:
        return ""
    said = json.dumps([owner, spec.service, spec.function, spec.version, registry_of(spec.image), spec.registry_user])
    return PREFIX + hashlib.sha256(said.encode()).hexdigest()[:20]


def secret_data(spec: LaunchSpec) -> dict[str, str]:
    """As `kubectl create secret docker-registry` has it."""
    auth = base64.b64encode(f"{spec.registry_user}:{spec.registry_password}".encode()).decode()
    entry = {"username": spec.registry_user, "password": spec.registry_password, "auth": auth}
    return {_KEY: base64.b64encode(json.dumps({"auths": {registry_of(spec.image): entry}}).encode()).decode()}


def names_in(pod: Object) -> set[str]:
    """Those of ours that a Pod names."""
    named = (pod.get("spec") or {}).get("imagePullSecrets") or ()
    return {str(each.get("name")) for each in named if str(each.get("name") or "").startswith(PREFIX)}


class PullSecrets:
    """Who needs which secret, and that it is there. `hold` and `let_go` raise ApiAway and ApiError."""

    def __init__(self, client: KubernetesClient, namespace: str, owner: str) -> None:
        self._client = client
        self._path = secrets_path(namespace)
        self._owner = owner
        self._users: defaultdict[str, set[str]] = defaultdict(set)  # by secret
        self._written: dict[str, dict[str, str]] = {}  # what is known to be in it
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def hold(self, spec: LaunchSpec) -> str:
        """The name of the instance's secret, which is there when this returns; "" where it needs none.

        Raises LaunchRefused when the cluster does not take it.
        """
        name = secret_name(spec, self._owner)
        if not name:
            return ""
        self._users[name].add(spec.instance_id)
        async with self._locks[name]:
            data = secret_data(spec)
            if self._written.get(name) != data:
                try:
                    await self._write(name, spec, data)
                except ApiError as error:
                    self._users[name].discard(spec.instance_id)
                    if error.status in _REFUSED:
                        raise LaunchRefused(f"the cluster refused the secret that pulls the image: {error}") from error
                    raise
                self._written[name] = data
        return name

    def noticed(self, instance_id: str, pod: Object) -> None:
        """A Pod that there is."""
        for name in names_in(pod):
            self._users[name].add(instance_id)

    async def let_go(self, instance_id: str) -> None:
        """The instance needs it no more; what nobody needs is gone when this returns."""
        for name in [name for name, users in self._users.items() if instance_id in users]:
            async with self._locks[name]:
                if self._users[name] <= {instance_id}:
                    self._written.pop(name, None)
                    try:
                        await self._client.remove(f"{self._path}/{name}")
                    except ApiError as error:
                        if error.status != 404:
                            raise
                self._users[name].discard(instance_id)
            if not self._users[name]:
                self._forget(name)

    def _forget(self, name: str) -> None:
        if not self._locks[name].locked():
            self._users.pop(name, None)
            self._locks.pop(name, None)

    async def _write(self, name: str, spec: LaunchSpec, data: dict[str, str]) -> None:
        labels = {
            "app.kubernetes.io/managed-by": "stoke",
            "stoke.dev/owner": self._owner,
            "stoke.dev/service": spec.service[:63].strip("-_."),
            "stoke.dev/function": spec.function[:63].strip("-_."),
        }
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": _TYPE,
            "metadata": {"name": name, "labels": labels},
            "data": data,
        }
        try:
            await self._client.create(self._path, body)
        except ApiError as error:
            if (error.status, error.reason) != (409, "AlreadyExists"):
                raise
            # Anew, rather than changed: who may patch a secret is answered with what is in it, of any secret.
            await self._client.remove(f"{self._path}/{name}")
            await self._client.create(self._path, body)
