"""Nodes and devices as `stoke nodes` shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runtime.contract import NodeInfo


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A card or a slice, with what is on it."""

    gpu: dict[str, Any]  # as in NodeInfo
    family: str  # "" = not known
    promised_mib: int  # to instances that start, run and drain
    instances: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as `stoke nodes` shows it. What is promised is without what draining instances still hold."""

    node: NodeInfo
    memory_promised_mib: int
    cpu_promised: float
    disk_promised_mib: int
    instances: int
    devices: tuple[DeviceView, ...] = ()
