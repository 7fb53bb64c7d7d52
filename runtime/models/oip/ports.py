"""What the protocol needs of a model: `runtime.models.model.Model` has it, and so has the fake of the tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runtime.models.statistics import Statistics
from runtime.models.tensors import Array, TensorSpec


class ServedModel(Protocol):
    """One model of one version. With `max_batch_size` above 0 the shapes begin with the batch axis, -1."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def platform(self) -> str: ...
    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...
    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...
    @property
    def max_batch_size(self) -> int: ...
    @property
    def sessions(self) -> int:
        """How many requests, or batches of them, can run at once."""

    @property
    def gpus(self) -> int:
        """Cards it runs on; 0 = the CPU."""

    @property
    def state(self) -> str:
        """UNAVAILABLE, LOADING, READY or UNLOADING."""

    @property
    def reason(self) -> str:
        """Why it is not READY; empty if it is."""

    @property
    def statistics(self) -> Statistics: ...

    async def infer(self, inputs: dict[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """The outputs asked for by name. Raises ModelError."""

    async def load(self) -> None:
        """READY after it. Raises ModelError."""

    async def unload(self) -> None:
        """Returns when what was inside is answered."""
