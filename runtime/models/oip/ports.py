"""What the protocol needs of a model: `runtime.models.model.Model` has it, and so has the fake of the tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from runtime.models.batching import Job
from runtime.models.spec import ModelSpec
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
    def spec(self) -> ModelSpec: ...
    @property
    def provider(self) -> str:
        """ONNX Runtime's name of what it runs on; empty until it was loaded."""

    @property
    def state(self) -> str:
        """UNAVAILABLE, LOADING, READY or UNLOADING."""

    @property
    def reason(self) -> str:
        """Why it is not READY; empty if it is."""

    @property
    def statistics(self) -> Statistics: ...

    def submit(
        self, inputs: dict[str, Array], done: Callable[[Job], None], outputs: Sequence[str] | None = None
    ) -> Job:
        """Calls `done` in the loop, later, with the outputs asked for or what is wrong. Raises ModelError."""

    async def infer(self, inputs: dict[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """The outputs asked for by name. Raises ModelError."""

    async def load(self) -> None:
        """READY after it. Raises ModelError."""

    async def unload(self) -> None:
        """Returns when what was inside is answered."""
