"""A session whose runs are all made in one thread of its own, whoever asks for them."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.models.batching import Runner
from runtime.models.tensors import Array
from runtime.models.threads import Threads


class InOneThread:
    """For sessions with captured CUDA graphs: ONNX Runtime keeps a graph with the thread that has captured it, and
    forbids to run such a session in several. Runs are made in the server's loop or in any of its threads otherwise."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._thread = Threads(1, "graph")

    def run(self, outputs: Sequence[str], inputs: dict[str, Array]) -> list[Array]:
        found: list[Array] = self._thread.submit(self._runner.run, outputs, inputs).result()
        return found

    def close(self) -> None:
        self._thread.submit(self._runner.close).result()
