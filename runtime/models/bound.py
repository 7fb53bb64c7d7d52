"""Runs a session on a GPU by IO binding: buffers on the card, those of inputs made once for each set of shapes.

ONNX Runtime is a port here (`Device` makes its values), so what is bound, copied and used again is tested on the CPU.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np

from runtime.models.tensors import Array

# Of shapes whose buffers are kept. A model with more shapes than this gains little from keeping any.
PLANS_MAX: Final = 32
# Values on a card come from an allocator of ONNX Runtime's that its limit for sessions does not count, and which gives
# nothing back to the card. So of a session's limit a sixteenth at most is kept in them.
_PART_OF_LIMIT: Final = 16
BYTES_MAX_LEAST: Final = 64 * 1024 * 1024
# Memory is locked by whole pages, and what numpy allocates begins anywhere: two small arrays share one, and the second
# would be refused.
PINNED_BYTES_MIN: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Device:
    """Where buffers are. `value_of` copies an array there; `pin` locks an array's memory, so that copies of it are
    made by the card itself; `run_options` gives those of one graph that was captured."""

    name: str  # as ONNX Runtime calls it: "cuda", "cpu"
    value_of: Callable[[Array], Any]
    pin: Callable[[Array], bool]
    run_options: Callable[[int], Any]
    index: int = 0


class BoundSession:
    """Once at a time. With `keeps_outputs` the results' buffers are kept as well, which captured CUDA graphs need: the
    shapes of the outputs must then follow from those of the inputs."""

    def __init__(
        self, session: Any, device: Device, *, keeps_outputs: bool = False, bytes_max: int = BYTES_MAX_LEAST
    ) -> None:
        """The inputs' buffers that are kept have `bytes_max` at most, or are of one set of shapes."""
        self._session = session
        self._bytes_max = bytes_max
        self._device = device
        self._keeps_outputs = keeps_outputs
        self._plans: OrderedDict[Any, _Plan] = OrderedDict()
        self._planned = 0

    def run(self, outputs: Sequence[str], inputs: dict[str, Array]) -> list[Array]:
        key = (tuple(outputs), tuple([(name, array.shape) for name, array in inputs.items()]))
        plan = self._plans.get(key)
        if plan is None:
            self._make_room(sum(array.nbytes for array in inputs.values()))
            plan = self._plans[key] = self._plan(outputs, inputs)
        else:
            self._plans.move_to_end(key)
            plan.fill(inputs)
        return plan.run(self._session, self._device.run_options(plan.number) if self._keeps_outputs else None)

    def close(self) -> None:
        self._plans.clear()
        self._session = None

    def _make_room(self, wanted_bytes: int) -> None:
        held_bytes = sum(plan.bytes for plan in self._plans.values())
        while self._plans and (len(self._plans) >= PLANS_MAX or held_bytes + wanted_bytes > self._bytes_max):
            _, oldest = self._plans.popitem(last=False)
            held_bytes -= oldest.bytes
            if self._keeps_outputs and hasattr(self._session, "release_captured_graph"):  # from ONNX Runtime 1.27 on
                self._session.release_captured_graph(oldest.number)

    def _plan(self, outputs: Sequence[str], inputs: dict[str, Array]) -> _Plan:
        binding, device = self._session.io_binding(), self._device
        self._planned += 1
        values = {}
        for name, array in inputs.items():
            staged = np.array(array, order="C")
            device.pin(staged)
            value = device.value_of(staged)
            binding.bind_ortvalue_input(name, value)
            values[name] = (staged, value)
        return _Plan(self._planned, binding, values, tuple(outputs), device, keeps_outputs=self._keeps_outputs)


class _Plan:
    """One set of shapes: its buffers, bound."""

    def __init__(
        self,
        number: int,
        binding: Any,
        values: dict[str, tuple[Array, Any]],
        outputs: tuple[str, ...],
        device: Device,
        *,
        keeps_outputs: bool,
    ) -> None:
        self.number = number
        self._binding = binding
        self._values = values
        self._outputs = outputs
        self._device = device
        self._keeps_outputs = keeps_outputs
        self._outputs_are_bound = False
        self.bytes = sum(staged.nbytes for staged, _ in values.values())
        self._bind_outputs()

    def fill(self, inputs: dict[str, Array]) -> None:
        for name, array in inputs.items():
            staged, value = self._values[name]
            np.copyto(staged, array)
            value.update_inplace(staged)

    def run(self, session: Any, run_options: Any) -> list[Array]:
        try:
            session.run_with_iobinding(self._binding, run_options)
            found: list[Array] = self._binding.copy_outputs_to_cpu()
        finally:
            # The binding keeps what a run has allocated, and the next one would have to give results of the same shape.
            if not self._keeps_outputs:
                self._bind_outputs()
        if self._keeps_outputs and not self._outputs_are_bound:
            self._outputs_are_bound = True
            for name, value in zip(self._outputs, self._binding.get_outputs(), strict=True):
                self._binding.bind_ortvalue_output(name, value)
        return found

    def _bind_outputs(self) -> None:
        for name in self._outputs:
            self._binding.bind_output(name, self._device.name, self._device.index)


def bytes_of_inputs(limit_bytes: int) -> int:
    """How much a session that may allocate so much keeps for inputs."""
    return max(BYTES_MAX_LEAST, limit_bytes // _PART_OF_LIMIT)


def gpu_device(onnxruntime: Any) -> Device:
    """The card that this process sees first: the node shows an instance no other."""

    def value_of(array: Array) -> Any:
        return onnxruntime.OrtValue.ortvalue_from_numpy(array, "cuda", 0)

    def run_options(graph: int) -> Any:
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(graph))
        return options

    return Device("cuda", value_of, _pin, run_options)


def _pin(array: Array) -> bool:
    """Whether the array's memory is locked now; without CUDA's library it is not, and copies are slower."""
    runtime = _cuda_runtime()
    return runtime is not None and pinned(array, runtime)


def pinned(array: Array, runtime: Any) -> bool:
    """By this library of CUDA's. Not what is small: on its pages are other arrays, which may be locked already."""
    if array.nbytes < PINNED_BYTES_MIN:
        return False
    address = ctypes.c_void_p(array.ctypes.data)
    if runtime.cudaHostRegister(address, ctypes.c_size_t(array.nbytes), 0) != 0:
        runtime.cudaGetLastError()  # else ONNX Runtime, which asks for the last error, takes it for its own
        return False
    weakref.finalize(array, _unpin, runtime, address)  # before its memory is used for something else
    return True


def _unpin(runtime: Any, address: ctypes.c_void_p) -> None:
    if runtime.cudaHostUnregister(address) != 0:
        runtime.cudaGetLastError()


@cache
def _cuda_runtime() -> Any:
    """The one that ONNX Runtime has loaded, which is the only one to have its errors; None: there is none."""
    for library in ("libcudart.so.13", "libcudart.so.12"):
        try:
            return ctypes.CDLL(library, mode=os.RTLD_NOW | os.RTLD_NOLOAD)
        except OSError:
            continue
    return None
