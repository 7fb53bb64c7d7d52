"""The port behind which instances are processes or containers. Probes, hooks, health and drain are the same for all.

`process_launcher.py` and `docker/launcher.py` fill it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runtime.node.launch import Place
from runtime.node.process import Process
from runtime.node.processes import Member
from runtime.node.ready import ReadyPipe
from runtime.node_contract import LaunchSpec


@dataclass(frozen=True, slots=True)
class Started:
    """What was started. `address` and `group` are None where the place has them already."""

    process: Process
    address: str | None = None
    group: str | None = None


class Launcher(Protocol):
    """What one kind of instance is started as, and ended. Whatever it raises ends a life as FAILED with its message."""

    def check(self, spec: LaunchSpec) -> None:
        """Raises LaunchRefused when this node can never run `spec` as it is; names the field."""

    async def prepare(self, runtime: str) -> None:
        """Get ready to launch instances of this runtime fast. Raises LaunchRefused, CallError."""

    def make_place(self, spec: LaunchSpec, folder: Path) -> Place:
        """Where a new instance lives; what it takes is taken. Raises OSError."""

    def place_again(self, spec: LaunchSpec, folder: Path, address: str, group: str, *, is_over: bool) -> Place:
        """The place of an instance that an earlier node launched."""

    async def fetch(self, spec: LaunchSpec, place: Place, say: Callable[[str], None]) -> Place:
        """Bring here what the function needs and the machine has not; gives the place with it. It may take long, and
        is no part of the launch; `say` is told how far it is. Raises Failure."""

    async def start(self, spec: LaunchSpec, place: Place, ready: ReadyPipe) -> Started:
        """Start it; one that an earlier node has started already, and could not note, is taken on instead.

        Raises Failure, OSError, ForkError.
        """

    def lost(self, place: Place) -> Member | None:
        """The process of a `start` that failed, if it lives all the same."""

    def attach(self, spec: LaunchSpec, place: Place, pid: int, start_ticks: int) -> Process | None:
        """Watch an instance that an earlier node started; None when it is gone."""

    def became_ready(self, spec: LaunchSpec, place: Place) -> None:
        """It takes requests: what would make further starts of the function faster may be prepared now."""

    def members(self, place: Place) -> set[int]:
        """Processes known to be the instance's, besides those that descend from its first."""

    async def ask_to_end(self, place: Place, family: set[Member], grace_s: float) -> None:
        """SIGTERM, to whom it concerns. Returns at once or when the instance has ended; never raises."""

    async def ran_out_of_memory(self, place: Place) -> bool:
        """Whether the kernel killed it for want of memory; asked when its process has died."""

    async def clear(self, place: Place) -> None:
        """Nothing of it is left to run when this returns, as far as the launcher can see to it; never raises."""

    def give_back(self, place: Place) -> None:
        """What the place took is free again. Called once, when the life has ended or is let go of."""

    def watches_memory(self, place: Place) -> bool:
        """Whether the kernel holds it to its memory, so that nobody else need look."""

    def isolation(self) -> str:
        """What shuts its instances in, in words for `stoke status`."""

    async def close(self) -> None:
        """The node ends; instances go on."""
