"""Nodes, devices and pools of nodes as `stoke nodes` shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runtime.node_contract import NodeInfo


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


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool of nodes: what is in it now, and what has happened to it since this control plane began to lead."""

    name: str
    kind: str  # "on-demand" | "spot"
    price: float
    instances: int  # those that start, run and drain
    ready: int
    is_out: bool  # nothing is launched into it now
    reason: str  # why it is out; "" = it is not
    reclaims: int  # instances whose machine was to be taken away
    compensations: int  # launches into it because no spot pool had room
