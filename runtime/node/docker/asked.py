"""What is asked of the engine for one instance, and how its answers are read. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from runtime.mounts import EMPTY, HOST, Mount, from_dicts
from runtime.node.environment import container_environment
from runtime.node.gpu_share import GpuShare, gpu_environment
from runtime.node_contract import LaunchSpec

DOCKER_HUB: Final = "https://index.docker.io/v1/"
NAME_PREFIX: Final = "stoke-"
LABEL_INSTANCE: Final = "stoke.instance"
LABEL_OWNER: Final = "stoke.owner"  # of which data folder: two nodes on one engine leave each other's alone
LABEL_FUNCTION: Final = "stoke.function"
SHM_VARIABLE: Final = "FCGPU_RUNTIME_SHMSIZE"  # bytes, as Function Compute reads it
SHM_BYTES_MIN: Final = 1024 * 1024
# What a server has no use for. The rest lets an image's start script change its user and own its files.
DROPPED_CAPABILITIES: Final = ("AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP", "SYS_CHROOT")
HOST_IPC: Final = "host-ipc"
LOOSENED: Final = ("writable-root", "new-privileges", "capabilities", HOST_IPC)
_HEADER_BYTES: Final = 8
_CARD_DEVICE: Final = re.compile(r"nvidia\d+|dxg")
_SIZE: Final = re.compile(r"\d{1,15}")


class ShmSizeError(ValueError):
    """The variable names no size; the message says so."""


@dataclass(frozen=True, slots=True)
class Containment:
    """How containers are shut in, by the node's settings. `loosened` has names of LOOSENED."""

    loosened: frozenset[str] = frozenset()
    pids_max: int = 4096
    network: str = "bridge"
    user: str = ""  # who runs an image that names no user; "" = as the image has it, root
    tmp_mib: int = 512  # of /tmp, which is memory and counts as the instance's
    gpus: str = "nvidia"  # how cards are asked for: "nvidia" or "cdi"


def container_name(instance_id: str) -> str:
    return NAME_PREFIX + instance_id


def create_body(
    spec: LaunchSpec,
    owner: str,
    containment: Containment,
    share: GpuShare | None = None,
    image: Mapping[str, Any] | None = None,
    mounts: Sequence[Mount] | None = None,
) -> dict[str, Any]:
    """The body of `POST /containers/create`. `image` is what the engine says of the image, `mounts` the spec's with
    links followed. A container shares its card by MPS where it can reach it, else by time.

    Raises ShmSizeError.
    """
    user = _user(spec, containment, image)
    if share is not None and not _reaches_mps(spec, share, containment, user or _user_of(image)):
        share = replace(share, mps_pipe="")
    gpu = gpu_environment(share) if share is not None else None
    gpus = [share.uuid] if share is not None and not share.simulated else []
    body: dict[str, Any] = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in container_environment(spec, gpu).items()],
        "Labels": {
            LABEL_INSTANCE: spec.instance_id,
            LABEL_OWNER: owner,
            LABEL_FUNCTION: f"{spec.service}/{spec.function}",
        },
        "AttachStdin": False,
        "Tty": False,
        "HostConfig": _host_config(spec, containment, gpus),
    }
    # Function Compute's command replaces an image's entry point, and then nothing of the image's own arguments is left.
    if spec.command:
        body["Entrypoint"] = spec.command
        body["Cmd"] = spec.args
    elif spec.args:
        body["Cmd"] = spec.args
    if user:
        body["User"] = user
    binds = [_mount(mount) for mount in (from_dicts(spec.mounts) if mounts is None else mounts)]
    if share is not None and share.mps_pipe:
        body["HostConfig"]["IpcMode"] = "host"  # a client of MPS shares memory with its server
        binds.append({"Type": "bind", "Source": share.mps_pipe, "Target": share.mps_pipe, "ReadOnly": False})
    if binds:
        body["HostConfig"]["Mounts"] = binds
    return body


def _user(spec: LaunchSpec, containment: Containment, image: Mapping[str, Any] | None) -> str:
    """Who it is to run as; "" = as the image says."""
    if spec.user_id >= 0:
        return f"{spec.user_id}:{spec.group_id}"
    return "" if _user_of(image) else containment.user


def _reaches_mps(spec: LaunchSpec, share: GpuShare, containment: Containment, user: str) -> bool:
    """MPS serves one user at a time, the node's, and needs the machine's shared memory: a function that wants its own
    of some size, and one of another user, takes turns on the card."""
    is_root = user.partition(":")[0] in ("", "0", "root")
    return (
        bool(share.mps_pipe) and HOST_IPC in containment.loosened and is_root and SHM_VARIABLE not in spec.environment
    )


def _mount(mount: Mount) -> dict[str, Any]:
    """A volume without a name is removed with its container, so nothing of a mount is left behind."""
    body: dict[str, Any] = {"Type": "volume", "Target": mount.mount_dir, "ReadOnly": mount.read_only}
    if mount.kind == HOST:
        return {**body, "Type": "bind", "Source": mount.path, "BindOptions": {"Propagation": "rprivate"}}
    if mount.kind != EMPTY:
        options = ",".join([f"addr={mount.server.strip('[]')}", "nfsvers=4", "ro" if mount.read_only else "rw"])
        driver = {"Name": "local", "Options": {"type": "nfs", "o": options, "device": f":{mount.path}"}}
        return {**body, "VolumeOptions": {"NoCopy": True, "DriverConfig": driver}}
    if mount.in_memory:
        return {**body, "Type": "tmpfs", "TmpfsOptions": {"SizeBytes": mount.size_mib * 2**20, "Mode": 0o1777}}
    return body


def _host_config(spec: LaunchSpec, containment: Containment, gpus: Sequence[str]) -> dict[str, Any]:
    memory_bytes = spec.memory_mib * 2**20
    config: dict[str, Any] = {
        "Memory": memory_bytes,
        "MemorySwap": memory_bytes,  # as much as the memory: no swap
        "PidsLimit": containment.pids_max,
        "NetworkMode": containment.network,
        "Init": True,  # passes SIGTERM on, which process 1 would ignore, and waits for orphans
        "ReadonlyRootfs": "writable-root" not in containment.loosened,
        "Tmpfs": {"/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={containment.tmp_mib}m"},  # noqa: S108 - theirs
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "8m", "max-file": "2"}},
        "RestartPolicy": {"Name": "no"},
    }
    if "new-privileges" not in containment.loosened:
        config["SecurityOpt"] = ["no-new-privileges"]
    if "capabilities" not in containment.loosened:
        config["CapDrop"] = list(DROPPED_CAPABILITIES)
    if spec.cpu > 0:
        config["NanoCpus"] = math.ceil(spec.cpu * 1e9)
    if (shm_bytes := shm_size_bytes(spec.environment)) is not None:
        config["ShmSize"] = shm_bytes
    if gpus:
        config["DeviceRequests"] = [_device_request(gpus, containment.gpus)]
    return config


def _device_request(gpus: Sequence[str], by: str) -> dict[str, Any]:
    """By the NVIDIA runtime's own way, or by the Container Device Interface (`nvidia-ctk cdi list` shows its names)."""
    if by == "cdi":
        return {"Driver": "cdi", "DeviceIDs": [f"nvidia.com/gpu={gpu}" for gpu in gpus]}
    return {"Driver": "nvidia", "DeviceIDs": list(gpus), "Capabilities": [["gpu"]]}


def shm_size_bytes(environment: Mapping[str, str]) -> int | None:
    """Of /dev/shm, if the function's variables say. Raises ShmSizeError."""
    text = environment.get(SHM_VARIABLE)
    if text is None:
        return None
    if not _SIZE.fullmatch(text) or int(text) < SHM_BYTES_MIN:
        raise ShmSizeError(f"{SHM_VARIABLE} is '{text}': must be a number of bytes, {SHM_BYTES_MIN} at least")
    return int(text)


def registry_of(image: str) -> str:
    """The registry that an image's name begins with, as credentials name it."""
    first, slash, _ = image.partition("/")
    is_host = slash and ("." in first or ":" in first or first == "localhost")
    return first if is_host and first != "docker.io" else DOCKER_HUB


def _user_of(image: Mapping[str, Any] | None) -> str:
    return str(((image or {}).get("Config") or {}).get("User") or "")


def address_of(container: Mapping[str, Any], network: str, port: int) -> str:
    """Where the container's server is to listen, "" when it has no address of its own."""
    settings = container.get("NetworkSettings") or {}
    networks = settings.get("Networks") or {}
    ip = (networks.get(network) or {}).get("IPAddress") or settings.get("IPAddress") or ""
    return f"tcp:{ip}:{port}" if ip else ""


def repeats_cards(container: Mapping[str, Any]) -> bool:
    """Does the engine show in a container's description that it was asked for cards?"""
    return bool((container.get("HostConfig") or {}).get("DeviceRequests"))


def is_card_device(name: str) -> bool:
    """A file of /dev by which CUDA reaches a card: NVIDIA's driver's (`nvidia0`), or that of Windows (`dxg`)."""
    return bool(_CARD_DEVICE.fullmatch(name))


class Frames:
    """Splits the engine's one stream of a container's two outputs into messages, each with its time.

    A message is 8 bytes (stream, three zeros, length) and so many bytes: an RFC 3339 time, a blank, and what was said.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        """(time, what was said) of each message that is whole now."""
        self._rest += chunk
        messages = []
        while len(self._rest) >= _HEADER_BYTES:
            end = _HEADER_BYTES + int.from_bytes(self._rest[4:_HEADER_BYTES], "big")
            if len(self._rest) < end:
                break
            at, _, said = self._rest[_HEADER_BYTES:end].partition(b" ")
            messages.append((at.decode("ascii", "replace"), said))
            self._rest = self._rest[end:]
        return messages
