"""What is shown of the running side: provision configs and instances, nodes with their devices, pools of nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runtime.node_contract import InstanceSample, NodeInfo


@dataclass(frozen=True, slots=True)
class ProvisionStatus:
    """What the autoscaler and the fleet say of one provision config right now."""

    target: int  # wanted now: a policy's say while one is in force, else the static target
    current: int  # ready instances that count towards it
    starting: int
    current_error: str  # why the last launch failed, "" when the last one succeeded
    in_force: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    utilization: float | None = None  # ProvisionedConcurrencyUtilization as FC reports it
    progress: tuple[str, ...] = ()  # what those that start wait for, such as an image; no error
    reading_error: str = ""  # why a query that a policy tracks has no newer value; it stops no launch


@dataclass(frozen=True, slots=True)
class InstanceView:
    """One instance as `stoke instances` and ListInstances show it."""

    instance_id: str
    service: str
    function: str
    version: str
    kind: str
    state: str
    pid: int
    in_flight: int
    launched_at_s: float
    ready_at_s: float
    reason: str
    sample: InstanceSample | None = None
    device: str = ""  # the uuid of what it was placed on; "" = no device
    gpu_memory_mib: int = 0  # what it holds of that


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
