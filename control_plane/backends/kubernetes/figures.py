"""What instances use, read from what a metrics server and NVIDIA's dcgm-exporter say. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from control_plane.backends.kubernetes.nodes import quantity
from runtime.node_contract import InstanceSample

_LINE: Final = re.compile(r"(DCGM_FI_[A-Z_]+)\{([^}]*)\}\s+([0-9.eE+-]+)")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
FIELDS: Final = (
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE",  # what there is of a MIG slice
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_FB_FREE",
    "DCGM_FI_DEV_ENC_UTIL",
    "DCGM_FI_DEV_DEC_UTIL",
)


@dataclass(slots=True)
class Usage:
    """Of one Pod. `gpus` has, for each of its devices, the newest value of each field."""

    cpu: float | None = None  # cores
    memory_mib: float | None = None
    gpus: dict[str, dict[str, float]] = field(default_factory=dict)


def read_pod_metrics(answer: Mapping[str, Any]) -> dict[str, Usage]:
    """A PodMetricsList of metrics.k8s.io, by the Pod's name."""
    usages: dict[str, Usage] = {}
    for item in answer.get("items") or ():
        used = [container.get("usage") or {} for container in item.get("containers") or ()]
        if used:
            cpu = sum(quantity(usage.get("cpu", 0)) for usage in used)
            memory = sum(quantity(usage.get("memory", 0)) for usage in used)
            usages[str(item["metadata"]["name"])] = Usage(cpu, memory / 2**20)
    return usages


def read_exporter(text: str, namespace: str, usages: dict[str, Usage]) -> None:
    """Adds what an exporter's page says of the Pods of a namespace."""
    for name, labels, value in _LINE.findall(text):
        _add(usages, namespace, {"__name__": name, **dict(_LABEL.findall(labels))}, float(value))


def read_prometheus(answer: Mapping[str, Any], namespace: str, usages: dict[str, Usage]) -> None:
    """Adds what Prometheus answers to an instant query."""
    for series in (answer.get("data") or {}).get("result") or ():
        _add(usages, namespace, series.get("metric") or {}, float(series["value"][1]))


def query(namespace: str) -> str:
    """PromQL. A Prometheus that scrapes without honorLabels puts `exported_` before an exporter's own labels."""
    names = "|".join(FIELDS)
    return " or ".join(
        f'{{__name__=~"{names}",{label}="{namespace}"}}' for label in ("namespace", "exported_namespace")
    )


def _add(usages: dict[str, Usage], namespace: str, labels: Mapping[str, str], value: float) -> None:
    of = labels.get("exported_namespace") or labels.get("namespace")
    pod = labels.get("exported_pod") or labels.get("pod")
    if labels.get("__name__") not in FIELDS or of != namespace or not pod:
        return
    device = "/".join(labels.get(name, "") for name in ("UUID", "gpu", "GPU_I_ID"))
    usages.setdefault(pod, Usage()).gpus.setdefault(device, {})[labels["__name__"]] = value


def sample(instance_id: str, at_s: float, usage: Usage | None, cpu_asked: float) -> InstanceSample:
    """Of several devices the one that is used most counts. `at_s` is when they were read."""
    usage = usage or Usage()
    devices = usage.gpus.values()
    sm = _most(d.get("DCGM_FI_DEV_GPU_UTIL") for d in devices)
    engine = _most(d.get("DCGM_FI_PROF_GR_ENGINE_ACTIVE") for d in devices)
    return InstanceSample(
        instance_id,
        at_s,
        cpu_utilization=None if usage.cpu is None else usage.cpu / (cpu_asked or 1.0),
        memory_mib=usage.memory_mib,
        gpu_sm_utilization=engine if sm is None else sm / 100.0,
        gpu_memory_utilization=_most(_memory_share(d) for d in devices),
        gpu_encoder_utilization=_share(_most(d.get("DCGM_FI_DEV_ENC_UTIL") for d in devices)),
        gpu_decoder_utilization=_share(_most(d.get("DCGM_FI_DEV_DEC_UTIL") for d in devices)),
        gpu_at_s=at_s if usage.gpus else None,
    )


def _memory_share(device: Mapping[str, float]) -> float | None:
    used, free = device.get("DCGM_FI_DEV_FB_USED"), device.get("DCGM_FI_DEV_FB_FREE")
    return used / (used + free) if used is not None and free is not None and used + free > 0 else None


def _share(percent: float | None) -> float | None:
    return None if percent is None else percent / 100.0


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
