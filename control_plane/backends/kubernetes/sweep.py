"""`stoke down`: ends the Pods of a Stoke that is being stopped, and lets go of them.

Run as `python -m control_plane.backends.kubernetes.sweep`, with what the control plane was given.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path
from random import SystemRandom
from typing import Final

from control_plane.backends.kubernetes.assemble import Found, find
from control_plane.backends.kubernetes.client import ApiAway, ApiError, KubernetesClient, pods_path
from control_plane.backends.kubernetes.pods import FINALIZER, selector
from control_plane.backends.kubernetes.pull_secrets import names_in, secrets_path
from control_plane.clock import SystemClock
from control_plane.errors import InvalidArgument

GRACE_S: Final = 10


async def sweep(client: KubernetesClient, found: Found) -> int:
    """How many Pods were told to end. Raises ApiAway, ApiError."""
    path = pods_path(found.namespace)
    items = (await client.get(path, labelSelector=selector(found.settings.owner))).get("items") or ()
    for pod in items:
        metadata = pod["metadata"]
        name, uid = f"{path}/{metadata['name']}", str(metadata["uid"])
        others = [finalizer for finalizer in metadata.get("finalizers") or () if finalizer != FINALIZER]
        try:
            await client.patch(name, {"metadata": {"uid": uid, "finalizers": others or None}})
            await client.delete(name, grace_s=GRACE_S, uid=uid)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
    for name in set().union(*map(names_in, items)):
        try:
            await client.remove(f"{secrets_path(found.namespace)}/{name}")
        except ApiError as error:
            if error.status != 404:
                raise
    return len(items)


async def _run(found: Found) -> None:
    rate = found.settings.calls_per_s
    client = KubernetesClient(found.access, SystemClock(), SystemRandom(), calls_per_s=rate)
    try:
        await sweep(client, found)
    finally:
        await client.close()


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    parser = argparse.ArgumentParser(prog="stoke down")
    parser.add_argument("--store", default="")
    parser.add_argument("--backend", default="kubernetes")
    parser.add_argument("--kubeconfig", default="")
    parser.add_argument("--namespace", default="")
    parser.add_argument("--kubernetes-settings", type=Path, default=None)
    given = parser.parse_args()
    namespace = {"namespace": given.namespace} if given.namespace else {}
    try:
        asyncio.run(_run(find(given.store, given.kubeconfig, given.kubernetes_settings, **namespace)))
    except (InvalidArgument, ApiAway, ApiError) as error:
        sys.exit(f"stoke down: Pods may be left: {error}")


if __name__ == "__main__":
    main()
