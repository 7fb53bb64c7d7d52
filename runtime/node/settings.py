"""A node's settings: one frozen object, made once in `__main__.py`. Pydantic would be a fifth of an idle node."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from runtime.mounts import Allowed


@dataclass(frozen=True, slots=True)
class NodeSettings:
    data: Path
    socket: Path
    name: str = "local"
    path: str = os.defpath  # the value of PATH that instances get
    simulated_gpus: int = 0
    simulated_gpu_memory_mib: int = 0
    # "auto": a control group of memory for each instance where one can be made, else "watch": look twice a second.
    memory_limits: Literal["auto", "watch"] = "auto"
    labels: Mapping[str, str] = field(default_factory=dict)  # what placement may ask for
    # "auto": MPS where its daemon can be started, so that compute and memory are held; else instances take turns.
    gpu_sharing: Literal["auto", "time-slicing"] = "auto"
    device_period_s: float = 1.0  # how often devices are read again, and what instances hold of them is looked at
    sample_timeout_s: float = 2.0  # a driver may take this long to tell what processes use; then the last figures stay
    upkeep_period_s: float = 0.5  # how often outputs are cut and, without control groups, memory is looked at
    output_bytes_max: int = 16 * 1024 * 1024  # of one instance; then its newest quarter is kept
    kept_outputs_max: int = 200  # outputs of forgotten instances that stay readable
    execs_per_instance_max: int = 8  # processes that were started beside an instance, at once
    exec_idle_s: float = 1800.0  # such a process may be silent, both ways, if who asked for it did not say how long
    request_bytes_max: int = 1024 * 1024  # one line sent to the node
    # "auto": no new privileges where they can be forbidden; "bubblewrap": for commands a /tmp of their own besides.
    sandbox: Literal["auto", "none", "bubblewrap"] = "auto"
    # "process": no containers; "auto" and "docker": where an engine is, which for "docker" `stoke up` makes sure of.
    backend: Literal["auto", "process", "docker"] = "auto"
    engine: Path = Path("/var/run/docker.sock")
    image_pull: Literal["missing", "always", "never"] = "missing"
    registry_credentials: Path | None = None  # a file like Docker's config.json, read at each pull
    container_loosened: tuple[str, ...] = ()  # of docker/asked.py's LOOSENED
    container_pids_max: int = 4096
    container_network: str = "bridge"
    container_user: str = ""  # who runs an image that names no user; "" = root, as the image has it
    container_tmp_mib: int = 512
    container_gpus: Literal["nvidia", "cdi"] = "nvidia"  # how an engine is asked for cards
    allowed_mounts: tuple[Allowed, ...] = ()  # what functions may have mounted by `nasConfig`, beside empty folders
    environment_installer: Literal["auto", "uv", "pip"] = "auto"  # uv where there is one
    environment_build_timeout_s: float = 900.0  # for a function's requirements.txt to be installed
    environment_builds_at_once_max: int = 2
    environment_grace_s: float = 3600.0  # an environment that no version needs is kept this long after it was asked for
    function_zygotes_max: int = 8  # function versions whose module is kept imported, to fork instances from
    function_zygote_idle_s: float = 600.0  # without an instance and without a launch
    forks_ahead: int = 1  # of each such process, forks that wait for their orders
    zygote_start_timeout_s: float = 30.0
    fork_timeout_s: float = 10.0

    @property
    def instances(self) -> Path:
        return self.data / "instances"

    @property
    def images(self) -> Path:
        """Where images lie that functions name as `file:NAME`."""
        return self.data / "images"

    @property
    def code(self) -> Path:
        return self.data / "code"

    @property
    def environments(self) -> Path:
        return self.data / "environments"
