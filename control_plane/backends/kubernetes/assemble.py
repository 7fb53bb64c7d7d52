"""Puts the backend together from settings, the kubeconfig, and two things that the store knows.

Records and Pods belong together, so whose Pods they are is written in the store beside the records: control planes that
share a store share its Pods, and no others. The epoch counts the control planes that there have been.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from secrets import token_hex
from typing import Final, TypeVar

from redis import Redis
from redis.exceptions import RedisError

from control_plane.backends.kubernetes.access import Access, find_access
from control_plane.backends.kubernetes.backend import KubernetesBackend
from control_plane.backends.kubernetes.client import KubernetesClient
from control_plane.backends.kubernetes.outputs import OutputFolder
from control_plane.backends.kubernetes.pool import pool_of
from control_plane.backends.kubernetes.reclaims import Reclaims
from control_plane.backends.kubernetes.settings import KubernetesSettings, read_settings
from control_plane.backends.pools import Pools
from control_plane.ports import Clock
from control_plane.settings import ControlPlaneSettings
from runtime.node import hooks

log = logging.getLogger(__name__)

OWNER_KEY: Final = "stoke:kubernetes:owner"
EPOCH_KEY: Final = "stoke:kubernetes:epoch"
_STORE_AGAIN_S: Final = 0.5

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """The cluster, and what is ours in it."""

    access: Access
    settings: KubernetesSettings
    namespace: str


def cluster_of(settings: ControlPlaneSettings, clock: Clock, pools: Pools | None = None) -> KubernetesBackend:
    """Waits for the store. Raises InvalidArgument: the kubeconfig or the settings cannot be used."""
    given = {"namespace": settings.namespace} if settings.namespace else {}
    found = find(settings.store, settings.kubeconfig, settings.kubernetes_settings, **given)
    chance = SystemRandom()
    client = KubernetesClient(found.access, clock, chance, calls_per_s=found.settings.calls_per_s)
    log.info(
        "kubernetes.cluster server=%s namespace=%s owner=%s", found.access.server, found.namespace, found.settings.owner
    )
    return KubernetesBackend(
        client,
        found.settings,
        found.namespace,
        clock,
        chance,
        hooks,
        OutputFolder(settings.data / "outputs", found.settings.outputs_kept),
        epoch=_patiently(settings.store, lambda store: int(str(store.incr(EPOCH_KEY)))),
        pool_of=lambda spec: pool_of(pools, spec),
        reclaims=Reclaims(pools.reclaim_taints, pools.reclaim_notice_s) if pools else None,
    )


def find(store_url: str, kubeconfig: str, settings_path: Path | None, **given: str) -> Found:
    """Raises InvalidArgument."""
    access = find_access(kubeconfig, os.environ)
    settings = read_settings(settings_path, **given)
    if not settings.owner:
        settings = settings.model_copy(update={"owner": _patiently(store_url, _owner)})
    return Found(access, settings, settings.namespace or access.namespace)


def _owner(store: Redis) -> str:
    store.set(OWNER_KEY, f"stoke-{token_hex(6)}", nx=True)
    name = store.get(OWNER_KEY)
    assert isinstance(name, bytes)
    return name.decode()


def _patiently(store_url: str, ask: Callable[[Redis], T]) -> T:
    while True:
        store = Redis.from_url(store_url, socket_timeout=5.0)
        try:
            return ask(store)
        except RedisError as error:
            log.warning("store.away error=%s", error)
            time.sleep(_STORE_AGAIN_S)
        finally:
            store.close()
