"""Which node and which device an instance gets, how many more fit, and why not more. Pure.

Three steps, in this order:

1. **feasible**: a node that has the labels asked for, and memory, CPU and disk left; there a device that is healthy,
   not divided, of the family, and with memory left. Memory is promised in full: each instance may use all it asked for.
2. **rank**: the family asked for before newer ones; a slice before a whole card; where the least memory is stranded
   once one more has come (`stranding.py`); what is left over the least. With `spread`, the emptiest device instead of
   the last two.
3. **select**: the first of them; equals by the node's name and the device's index, so that the same gives the same.

A function that asks for GPU memory runs on the CPU where no node has any device.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from control_plane.fleet import stranding
from control_plane.fleet.families import (
    Capability,
    capability,
    family,
    family_asked,
    generations_above,
    is_at_least,
)
from control_plane.fleet.stranding import Outlook
from provision.words import counted
from runtime.node_contract import NodeInfo

# A card sold as 16 GB tells of 15 GiB, and FC's sizes are those it is sold by: who asks for little more than there is
# of a device gets all of it.
NOMINAL_SHARE: Final = 0.9
DEVICES_TOLD_MAX: Final = 16  # in one refusal
UNLIMITED: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Need:
    """What one instance takes, and where it may be."""

    memory_mib: int
    gpu_memory_mib: int = 0
    cpu: float = 0.0
    disk_mib: int = 0
    instance_type: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    priority: int = 0  # of several functions that lack room, who is asked first


@dataclass(frozen=True, slots=True)
class Rule:
    """How places are chosen; the same for all functions."""

    strategy: Literal["pack", "spread"] = "pack"
    family: Literal["at-least", "exact", "any"] = "at-least"  # of a card, against that of `instanceType`
    cpu_overcommit: float = 0.0  # vCPU that may be promised for each there is; 0 = not counted, they are shared


@dataclass(frozen=True, slots=True)
class Device:
    uuid: str
    index: int
    name: str
    memory_mib: int
    capability: Capability | None = None
    is_slice: bool = False
    is_divided: bool = False
    is_healthy: bool = True
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    memory_mib: int
    cpu: float = 0.0
    disk_mib: int = 0  # 0 = not told, and not counted
    labels: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """By the instances of a node, those that are starting among them."""

    memory_mib: int = 0
    cpu: float = 0.0
    disk_mib: int = 0
    gpu_mib: Mapping[str, int] = field(default_factory=dict)  # by device

    def free_mib(self, device: Device) -> int:
        return max(0, device.memory_mib - self.gpu_mib.get(device.uuid, 0))


State = Sequence[tuple[Node, Taken]]


@dataclass(frozen=True, slots=True)
class Placed:
    node: str
    device: str = ""  # its uuid; "" = none
    gpu_memory_mib: int = 0  # what is held of it


@dataclass(frozen=True, slots=True)
class Refused:
    reason: str  # a sentence for `currentError`


def node_of(info: NodeInfo) -> Node:
    devices = tuple(_device(gpu) for gpu in info.gpus)
    return Node(info.node, info.memory_mib, info.cpu, info.disk_mib, info.labels, devices)


def _device(gpu: Mapping[str, Any]) -> Device:
    index = int(gpu["index"])
    return Device(
        uuid=str(gpu.get("uuid") or index),
        index=index,
        name=str(gpu["name"]),
        memory_mib=int(gpu["memory_mib"]),
        capability=capability(str(gpu.get("compute_capability", ""))),
        is_slice=gpu.get("kind") == "slice",
        is_divided=bool(gpu.get("is_divided")),
        is_healthy=bool(gpu.get("is_healthy", True)),
        reason=str(gpu.get("reason", "")),
    )


# -- one place --------------------------------------------------------------------------------------------------------


def place(state: State, need: Need, rule: Rule, sizes: Collection[int] = ()) -> Placed | Refused:
    """A place for one more. `sizes` are the shares of GPU memory that functions ask for, whose room is to be kept."""
    return find(state, need, rule, sizes) or Refused(refusal(state, need, rule))


def find(state: State, need: Need, rule: Rule, sizes: Collection[int] = ()) -> Placed | None:
    """The same, where nobody asks why not."""
    if not is_on_device(state, need):
        nodes = [(node, taken) for node, taken in state if not node_refuses(node, taken, need, rule)]
        best = min(nodes, key=lambda at: _node_rank(at[0], at[1], rule), default=None)
        return None if best is None else Placed(best[0].name)
    found = [
        (node, taken, device)
        for node, taken in state
        if not node_refuses(node, taken, need, rule)
        for device in node.devices
        if not device_refuses(device, taken, need, rule)
    ]
    if not found:
        return None
    outlook = None
    if rule.strategy == "pack":
        outlook = Outlook((taken.free_mib(device) for taken, device in usable(state)), {*sizes, need.gpu_memory_mib})
    node, _, device = min(found, key=lambda at: _device_rank(at[0], at[1], at[2], need, outlook))
    return Placed(node.name, device.uuid, share_mib(device, need))


def has_room(node: Node, taken: Taken, need: Need, rule: Rule, place: Placed) -> bool:
    """Is there room for one more at a place on this node that was found before?"""
    if node.name != place.node or node_refuses(node, taken, need, rule):
        return False
    return not place.device or any(
        not device_refuses(device, taken, need, rule) for device in node.devices if device.uuid == place.device
    )


def anywhere(count: int) -> Sequence[Placed]:
    """Places where nobody counts."""
    return [Placed("local")] * count


def with_one_more(taken: Taken, need: Need, place: Placed) -> Taken:
    """What is taken of a node once an instance has been placed on it."""
    gpu_mib = taken.gpu_mib
    if place.device:
        gpu_mib = {**gpu_mib, place.device: gpu_mib.get(place.device, 0) + place.gpu_memory_mib}
    return Taken(taken.memory_mib + need.memory_mib, taken.cpu + need.cpu, taken.disk_mib + need.disk_mib, gpu_mib)


def is_on_device(state: State, need: Need) -> bool:
    return need.gpu_memory_mib > 0 and any(node.devices for node, _ in state)


def _node_rank(node: Node, taken: Taken, rule: Rule) -> tuple[bool, float, str]:
    """Machines with devices are for those who need one."""
    left_mib = node.memory_mib - taken.memory_mib
    return bool(node.devices), -left_mib if rule.strategy == "spread" else left_mib, node.name


def _device_rank(
    node: Node, taken: Taken, device: Device, need: Need, outlook: Outlook | None
) -> tuple[int, bool, float, float, float, str, int, str]:
    """`outlook` None = spread."""
    free_mib = taken.free_mib(device)
    left_mib = free_mib - share_mib(device, need)
    refused, first, second = 0, -free_mib / device.memory_mib, 0.0
    if outlook is not None:
        refused, first = outlook.after(free_mib, left_mib)
        second = float(left_mib)
    newer = generations_newer(device, need)
    return newer, not device.is_slice, refused, first, second, node.name, device.index, device.uuid


def generations_newer(device: Device, need: Need) -> int:
    asked = family_asked(need.instance_type)
    if not asked or device.capability is None or not is_at_least(device.capability, asked):
        return 0
    return generations_above(device.capability, asked)


def share_mib(device: Device, need: Need) -> int:
    return min(need.gpu_memory_mib, device.memory_mib)


# -- how well devices are filled --------------------------------------------------------------------------------------


def stranded_mib(state: State, sizes: Collection[int]) -> float:
    """GPU memory that is free and of no use: for each size, what would be left over if the devices were filled with
    instances of that size; the mean over `sizes`. Divided by all memory of the devices it is the fragmentation of
    docs/design/11-placement.md."""
    return sum(stranding.stranded_mib(taken.free_mib(device), sizes) for taken, device in usable(state))


def usable(state: State) -> Iterator[tuple[Taken, Device]]:
    return (
        (taken, device)
        for node, taken in state
        for device in node.devices
        if device.is_healthy and not device.is_divided
    )


# -- how many ---------------------------------------------------------------------------------------------------------


def fits(state: State, need: Need, rule: Rule) -> int:
    """How many more instances of `need` there are places for, one after the other."""
    on_device = is_on_device(state, need)
    return sum(_fits_on(node, taken, need, rule, on_device=on_device) for node, taken in state)


def _fits_on(node: Node, taken: Taken, need: Need, rule: Rule, *, on_device: bool) -> int:
    if _lacking_labels(node, need):
        return 0
    counts = [max(0, left) // each for left, each in _shares(node, taken, need, rule) if each]
    if on_device:
        counts.append(
            sum(
                taken.free_mib(device) // share_mib(device, need)
                for device in node.devices
                if not device_refuses(device, taken, need, rule)
            )
        )
    return int(min(counts, default=UNLIMITED))


def _shares(node: Node, taken: Taken, need: Need, rule: Rule) -> Iterator[tuple[float, float]]:
    """What is left of each of the node's own resources, and what one instance takes of it."""
    yield node.memory_mib - taken.memory_mib, max(1, need.memory_mib)
    if rule.cpu_overcommit:
        # Twentieths: FC asks for CPU in steps of 0.05, and sums of those are not exact in binary.
        yield round((node.cpu * rule.cpu_overcommit - taken.cpu) * 20), round(need.cpu * 20)
    if node.disk_mib:
        yield node.disk_mib - taken.disk_mib, need.disk_mib


# -- why not ----------------------------------------------------------------------------------------------------------


def refusal(state: State, need: Need, rule: Rule) -> str:
    """Why there is no place for one more: node by node, and device by device where only these lack."""
    if not state:
        return "no node can be reached"
    said = [(node.name, _node_says(node, taken, need, rule, is_on_device(state, need))) for node, taken in state]
    return said[0][1] if len(said) == 1 else "; ".join(f"node {name}: {text}" for name, text in said)


def _node_says(node: Node, taken: Taken, need: Need, rule: Rule, on_device: bool) -> str:
    if text := node_refuses(node, taken, need, rule):
        return text
    asked = f"{need.gpu_memory_mib} MiB of GPU memory asked for"
    if not on_device:
        return "there is room"
    if not node.devices:
        return f"{asked}, it has no device"
    texts = [
        f"device {d.index} ({d.name}): {device_refuses(d, taken, need, rule) or 'there is room'}" for d in node.devices
    ]
    more = len(texts) - DEVICES_TOLD_MAX
    return "; ".join([asked, *texts[:DEVICES_TOLD_MAX], *([f"and {counted(more, 'device')} more"] if more > 0 else [])])


def node_refuses(node: Node, taken: Taken, need: Need, rule: Rule) -> str:
    """Why the node can hold no more of `need`, its devices aside; "" if it can."""
    if lacking := _lacking_labels(node, need):
        return f"label {lacking} asked for, it has {_labels(node.labels.items()) or 'none'}"
    left_mib = node.memory_mib - taken.memory_mib
    if left_mib < need.memory_mib:
        return f"{need.memory_mib} MiB of memory asked for, {max(0, left_mib)} of {node.memory_mib} MiB left"
    if rule.cpu_overcommit and round((node.cpu * rule.cpu_overcommit - taken.cpu - need.cpu) * 20) < 0 < need.cpu:
        there = node.cpu * rule.cpu_overcommit
        return f"{need.cpu:g} vCPU asked for, {max(0.0, there - taken.cpu):g} of {there:g} left"
    left_mib = node.disk_mib - taken.disk_mib
    if node.disk_mib and left_mib < need.disk_mib and need.disk_mib:
        return f"{need.disk_mib} MiB of disk asked for, {max(0, left_mib)} of {node.disk_mib} MiB left"
    return ""


def _lacking_labels(node: Node, need: Need) -> str:
    return _labels((name, value) for name, value in need.labels if node.labels.get(name) != value)


def _labels(pairs: Any) -> str:
    return ", ".join(f"{name}={value}" for name, value in pairs)


def device_refuses(device: Device, taken: Taken, need: Need, rule: Rule) -> str:
    """Why the device can hold no more of `need`; "" if it can."""
    if not device.is_healthy:
        return f"not healthy, {device.reason}" if device.reason else "not healthy"
    if device.is_divided:
        return "divided into slices"
    if text := _family_refuses(device, need, rule):
        return text
    free_mib = taken.free_mib(device)
    if device.memory_mib < need.gpu_memory_mib * NOMINAL_SHARE or free_mib < share_mib(device, need):
        return f"{free_mib} of {device.memory_mib} MiB left"
    return ""


def _family_refuses(device: Device, need: Need, rule: Rule) -> str:
    asked = family_asked(need.instance_type)
    if not asked or rule.family == "any" or device.capability is None:
        return ""
    name = family(device.capability) or f"compute capability {device.capability[0]}.{device.capability[1]}"
    if rule.family == "exact" and name != asked:
        return f"{name}, and {need.instance_type} asks for {asked}"
    if not is_at_least(device.capability, asked):
        return f"{name}, and {need.instance_type} asks for {asked} or newer"
    return ""
