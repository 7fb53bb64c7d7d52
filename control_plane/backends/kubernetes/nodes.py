"""What the cluster's nodes can hold, and which of them do not answer. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from control_plane.backends.kubernetes.settings import KubernetesSettings
from runtime.node_contract import NodeInfo

_QUANTITY: Final = re.compile(r"([0-9.]+(?:[eE][0-9]+)?)(m|u|n|[kMGTPE]|[KMGTPE]i)?")
_FACTORS: Final = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", 1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)},
}


def quantity(text: Any) -> float:
    """Kubernetes' numbers with units: "250m" is 0.25, "1Gi" is 1073741824. What is none is 0."""
    found = _QUANTITY.fullmatch(str(text).strip())
    return float(Decimal(found[1]) * _FACTORS[found[2] or ""]) if found else 0.0


def is_ready(node: Mapping[str, Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


class Attendance:
    """Since when each node does not answer."""

    def __init__(self) -> None:
        self._away_since_s: dict[str, float] = {}
        self._known = 0

    def look(self, nodes: Iterable[Mapping[str, Any]], now_s: float) -> bool:
        """Take note of all of them; whether any is away."""
        known = {str(node["metadata"]["name"]): is_ready(node) for node in nodes}
        away = [name for name, ready in known.items() if not ready]
        self._away_since_s = {name: self._away_since_s.get(name, now_s) for name in away}
        self._known = len(known)
        return bool(away)

    def lost(self, now_s: float, after_s: float) -> frozenset[str]:
        """Those that have been away for so long. None while no node answers at all: then the cluster's own control
        plane is cut off rather than every node, nothing could be started elsewhere, and what runs is better left alone.
        """
        if len(self._away_since_s) >= self._known:
            return frozenset()
        return frozenset(name for name, since_s in self._away_since_s.items() if now_s - since_s >= after_s)


def capacity(
    nodes: Iterable[Mapping[str, Any]],
    others: Iterable[Mapping[str, Any]],
    settings: KubernetesSettings,
    name: str,
) -> NodeInfo:
    """What instances may take in all: of the nodes that they may run on, less what `others` (Pods) asked for."""
    usable = {str(n["metadata"]["name"]): n for n in nodes if _may_be_used(n, settings)}
    memory, cpu = Decimal(0), 0.0
    for node in usable.values():
        allocatable = (node.get("status") or {}).get("allocatable") or {}
        memory += Decimal(quantity(allocatable.get("memory", 0)))
        cpu += quantity(allocatable.get("cpu", 0))
    taken_gpus: dict[tuple[str, str], int] = {}
    for pod in others:
        on = str((pod.get("spec") or {}).get("nodeName") or "")
        if on not in usable or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            continue
        for container in (pod["spec"].get("containers")) or ():
            requests = (container.get("resources") or {}).get("requests") or {}
            memory -= Decimal(quantity(requests.get("memory", 0)))
            cpu -= quantity(requests.get("cpu", 0))
            for resource in {rule.resource for rule in settings.gpus}:
                count = int(quantity(requests.get(resource, 0)))
                taken_gpus[on, resource] = taken_gpus.get((on, resource), 0) + count
    return NodeInfo(
        node=name,
        pid=0,
        memory_mib=settings.memory_mib_max or max(0, int(memory / 2**20)),
        cpu=round(max(0.0, cpu), 3),
        # No `gpus`: which card an instance gets is the cluster's scheduler's to decide, and what lacks, a Pod tells.
        labels={f"free {name}": str(count) for name, count in _free_gpus(usable, taken_gpus, settings).items()},
        runtimes=["custom-container"],
        isolation={"custom-container": _isolation(settings)},
    )


def _may_be_used(node: Mapping[str, Any], settings: KubernetesSettings) -> bool:
    labels = (node.get("metadata") or {}).get("labels") or {}
    spec = node.get("spec") or {}
    wanted = all(labels.get(name) == value for name, value in settings.node_selector.items())
    return wanted and not spec.get("unschedulable") and is_ready(node)


def _free_gpus(
    nodes: Mapping[str, Mapping[str, Any]], taken: Mapping[tuple[str, str], int], settings: KubernetesSettings
) -> dict[str, int]:
    """How many of each resource of the rules others have left, on all nodes together."""
    free = {rule.resource: 0 for rule in settings.gpus}
    for name, node in nodes.items():
        allocatable = (node.get("status") or {}).get("allocatable") or {}
        for resource in free:
            free[resource] += max(0, int(quantity(allocatable.get(resource, 0))) - taken.get((name, resource), 0))
    return free


def _isolation(settings: KubernetesSettings) -> str:
    root = "a read-only root" if settings.read_only_root else "a writable root"
    user = f"as user {settings.run_as_user}" if settings.run_as_user is not None else "as the image's user"
    return f"a Pod of its own with {root}, no new privileges, limits of memory and cpu, {user}"
