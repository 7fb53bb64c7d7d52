"""The devices of this machine as the node uses them: what they are now, how each is shared, who gets what of it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from runtime.node.devices import Devices, Gpu
from runtime.node.errors import LaunchRefused
from runtime.node.gpu_share import GpuShare, share_of
from runtime.node.mps import Mps, MpsError

log = logging.getLogger(__name__)

Sharing = Literal["auto", "time-slicing"]
MPS_CAPABILITY_MIN: Final = (7, 0)  # before Volta, MPS knows no limits for a client


class Cards:
    """Looked at once by the constructor, then by each `look`; between two of them everybody is told the same."""

    def __init__(self, devices: Devices, sharing: Sharing, mps: Mps) -> None:
        self.devices = devices
        self._sharing = sharing
        self._mps = mps
        self._gpus: dict[str, Gpu] = {}
        self._pipes: dict[str, str] = {}  # of the cards that MPS serves
        self._why_not: dict[str, str] = {}  # of the others that could be shared
        self.look()

    def look(self) -> None:
        """Read anew, and have MPS where it can be. May take as long as a driver takes: not for an event loop."""
        self._gpus = {gpu.uuid: gpu for gpu in self.devices.inventory()}
        for gpu in self._gpus.values():
            if gpu.is_healthy:
                self._share(gpu)

    def _share(self, gpu: Gpu) -> None:
        if gpu.uuid in self._why_not or (gpu.uuid in self._pipes and self._mps.lives(gpu.uuid)):
            return
        self._pipes.pop(gpu.uuid, None)
        try:
            if why := _no_mps(gpu, self._sharing):
                raise MpsError(why)
            self._pipes[gpu.uuid] = self._mps.serve(gpu.uuid)
        except MpsError as error:
            self._why_not[gpu.uuid] = str(error)
            log.info("device.time_slicing device=%s reason=%s", gpu.uuid, error)

    def described(self) -> list[dict[str, Any]]:
        """As in NodeInfo."""
        return [{**dataclasses.asdict(gpu), **self._sharing_of(gpu)} for gpu in self._gpus.values()]

    def _sharing_of(self, gpu: Gpu) -> dict[str, str]:
        if gpu.is_divided:
            return {"sharing": "slices", "sharing_reason": ""}
        if gpu.uuid in self._pipes:
            return {"sharing": "mps", "sharing_reason": ""}
        return {"sharing": "time-slicing", "sharing_reason": self._why_not.get(gpu.uuid, "")}

    def has_any(self) -> bool:
        return bool(self._gpus)

    def share(self, device: str, asked_mib: int) -> GpuShare:
        """Raises LaunchRefused: there is no such device, or nothing may be placed on it."""
        gpu = self._gpus.get(device)
        if gpu is None:
            there = ", ".join(self._gpus) or "none"
            raise LaunchRefused(f"gpu_device '{device}' is not on this node; there: {there}")
        if gpu.is_divided:
            raise LaunchRefused(f"gpu_device '{device}' is divided into slices: instances are placed on these")
        if not gpu.is_healthy:
            raise LaunchRefused(f"gpu_device '{device}' is not healthy: {gpu.reason}")
        return share_of(gpu, asked_mib, self._pipes.get(device, ""))

    def unhealthy(self) -> Mapping[str, str]:
        """Why, by uuid."""
        return {gpu.uuid: gpu.reason for gpu in self._gpus.values() if not gpu.is_healthy}

    def gone(self, devices: Sequence[str]) -> dict[str, str]:
        """Those of `devices` that can be used no longer, and why: a slice may also have been taken away."""
        away = {uuid: "it is not there any more" for uuid in devices if uuid not in self._gpus}
        return away | {uuid: reason for uuid, reason in self.unhealthy().items() if uuid in devices}

    def stop(self) -> None:
        """When no instance is left: end what was started beside them."""
        for uuid in list(self._pipes):
            self._mps.stop(uuid)
        self._pipes.clear()


def _no_mps(gpu: Gpu, sharing: Sharing) -> str:
    """Why MPS is not for this device; "" if it may be tried."""
    if sharing == "time-slicing":
        return "the setting gpu_sharing says so"
    if gpu.simulated:
        return "a simulated card has no compute to share"
    if gpu.is_divided or gpu.kind == "slice":
        return "a slice has compute of its own; its instances take turns"
    major, _, minor = gpu.compute_capability.partition(".")
    if not major.isdecimal() or (int(major), int(minor or 0)) < MPS_CAPABILITY_MIN:
        return f"compute capability {gpu.compute_capability or 'unknown'}: MPS limits need 7.0 or more"
    return ""
