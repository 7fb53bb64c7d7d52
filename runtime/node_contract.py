"""What is asked of a node, and what it says of its instances; every other backend uses the same words.

A node is spoken to over a unix socket in JSON lines: `{"id", "op", …}` answered by `{"id", "ok": true, "result"}` or
`{"id", "ok": false, "error": {"code", "message"}}`; `runtime/node/server.py` lists the operations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runtime.contract import InstanceState, Message


@dataclass(frozen=True, slots=True)
class LaunchSpec(Message):
    """Everything a node needs to start one instance."""

    instance_id: str
    service: str
    function: str
    version: str
    revision: str
    runtime: str  # "python3.x" | "custom" | "custom-container"
    handler: str = ""  # python runtimes: "module.attribute"
    command: list[str] = field(default_factory=list)  # custom: program and arguments; a container's entry point
    args: list[str] = field(default_factory=list)  # a container's arguments; without a command, to its own entry point
    image: str = ""  # custom-container: a name, name@digest, or file:NAME
    code_sha256: str = ""  # names the unpacked code; "" = no code
    environment: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)  # x-fc-* common headers, as in FunctionRoute
    instance_concurrency: int = 1
    timeout_s: float = 3.0
    ca_port: int = 9000
    memory_mib: int = 512
    cpu: float = 0.0  # vCPU; 0 = no limit asked for
    gpu_memory_mib: int = 0
    gpu_device: str = ""  # the uuid of the card or slice it is placed on; "" = none, and it sees no limits
    initializer: str = ""  # "" = POST /initialize is not called
    initialization_timeout_s: float = 3.0
    pre_stop: str = ""  # "" = GET /pre-stop is not called
    pre_stop_timeout_s: float = 3.0
    import_before_fork: bool = True  # python runtimes: may its module be imported once, and forked for each instance?
    launch_timeout_s: float = 120.0
    idle_mode: bool = False  # a model gives back what it holds of a device while nobody asks it
    health_path: str = ""  # "" = a connect to the port is enough
    health_initial_delay_s: float = 0.0
    health_period_s: float = 3.0
    health_timeout_s: float = 1.0
    health_failure_threshold: int = 3
    health_success_threshold: int = 1
    pool: str = ""  # the pool of nodes to launch it into; "" = anywhere
    mounts: list[dict[str, Any]] = field(default_factory=list)  # `runtime.mounts.Mount`, as dicts
    user_id: int = -1  # who it runs as; -1 = as the image says
    group_id: int = -1
    registry_user: str = ""  # by whom the image is pulled; "" = as the backend's own settings say
    registry_password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class CodeEnvironment(Message):
    """What a node says of the environment that a function's code needs (its requirements.txt)."""

    code_sha256: str
    state: str  # "none" needed | "missing" | "building" | "ready" | "failed"
    environment: str = ""  # its id
    packages: list[str] = field(default_factory=list)  # of a ready one, "name==version"
    reason: str = ""  # of a failed one: the installer's words


@dataclass(frozen=True, slots=True)
class InstanceStatus(Message):
    """What a node says of one instance, in a list and in each event of its watch."""

    instance_id: str
    state: InstanceState
    address: str = ""
    pid: int = 0
    at_s: float = 0.0  # UTC seconds of the last change of state
    reason: str = ""  # for FAILED, and for a STOPPED that nobody asked for
    reclaim_at_s: float = 0.0  # UTC seconds at which its machine will be taken away, once that is known
    is_unplaced: bool = False  # LAUNCHING, and no machine has room for it yet
    is_hindered: bool = False  # LAUNCHING, and `reason` is what is in its way rather than what it is doing

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", InstanceState(self.state))


@dataclass(frozen=True, slots=True)
class InstanceSample(Message):
    """One reading of what an instance uses. Utilizations are in [0, 1]; None = not measured here."""

    instance_id: str
    at_s: float
    cpu_utilization: float | None = None  # of the vCPU it asked for, or of one core when it asked for none
    memory_mib: float | None = None
    gpu_sm_utilization: float | None = None
    gpu_memory_utilization: float | None = None
    gpu_encoder_utilization: float | None = None
    gpu_decoder_utilization: float | None = None
    simulated: bool = False  # GPU figures come from the simulated device, not from a card
    gpu_at_s: float | None = None  # UTC seconds of the newest GPU figure, as the device tells it


@dataclass(frozen=True, slots=True)
class NodeInfo(Message):
    """A node's answer to `hello`: who it is and what it can hold."""

    node: str
    pid: int
    memory_mib: int
    cpu: float
    gpus: list[dict[str, Any]] = field(default_factory=list)  # `runtime.node.devices.Gpu` with "sharing" and why
    runtimes: list[str] = field(default_factory=list)  # what it can launch: "python", "custom", "custom-container"
    isolation: dict[str, str] = field(default_factory=dict)  # what is in force, by kind of instance, in words
    disk_mib: int = 0  # free for instances; 0 = not told
    labels: dict[str, str] = field(default_factory=dict)  # given by who runs it
    # Processes that are no instances: "zygotes" that have imported a function, and forks of them that are "waiting" for
    # their orders.
    forks: dict[str, int] = field(default_factory=dict)
