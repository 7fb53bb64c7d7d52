"""Which node of `kube_api.KubeApi` a Pod gets, and what the real scheduler says when there is none. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from tests.support.kube_api import Object

GPU = "nvidia.com/gpu"


def place(pod: Object, nodes: Mapping[str, Object], pods: Iterable[Object]) -> tuple[str, str]:
    """The usable node with the fewest Pods and "", or "" and why there is none."""
    ready = [name for name, node in nodes.items() if _is_ready(node)]
    there = [other for other in pods if other["status"].get("phase") not in ("Succeeded", "Failed")]
    free = [name for name in ready if _gpus(pod) <= _gpus_left(name, nodes[name], there)]
    if free:
        return min(free, key=lambda name: sum(other["spec"].get("nodeName") == name for other in there)), ""
    return "", _no_place(len(nodes), len(ready))


def _no_place(nodes: int, ready: int) -> str:
    away = f"{nodes - ready} node(s) had untolerated taint(s)"
    short = f"{ready} Insufficient {GPU}"
    why = ", ".join([away] * (ready < nodes) + [short] * (ready > 0))
    none = f"0/{nodes} nodes are available"
    rest = f"preemption: {none}: {nodes} No preemption victims found for incoming pod."
    return f"{none}: {why}. no new claims to deallocate, {rest}"


def _is_ready(node: Object) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"])


def _gpus(pod: Object) -> int:
    return int(pod["spec"]["containers"][0]["resources"]["requests"].get(GPU, 0))


def _gpus_left(name: str, node: Object, pods: Collection[Object]) -> int:
    taken = sum(_gpus(other) for other in pods if other["spec"].get("nodeName") == name)
    return int(node["status"]["allocatable"].get(GPU, 0)) - taken
