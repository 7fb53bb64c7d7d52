"""What a session runs on and with which options, and how one is bound to a GPU: with written stand-ins for both."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any, Final

import numpy as np
import pytest

from runtime.models.bits import BitsSession
from runtime.models.bound import PINNED_BYTES_MIN, PLANS_MAX, BoundSession, Device, pinned
from runtime.models.errors import ModelUnusable
from runtime.models.one_thread import InOneThread
from runtime.models.providers import CPU, CUDA, TENSORRT, Machine, Wish, choose, uses_gpu
from runtime.models.session import OnnxSession, SessionOptions, first_that_opens, runner_of, session_settings
from runtime.models.tensors import TensorSpec

BUILD = (TENSORRT, CUDA, CPU)
BARE = Machine(BUILD)
CARD = Machine(BUILD, has_card=True)
FULL = Machine(BUILD, has_card=True, has_tensorrt=True)


@pytest.mark.parametrize(
    ("machine", "wish", "names"),
    [
        (BARE, Wish(), [CPU]),
        (BARE, Wish(gpu_memory_mib=1024), [CPU]),
        (FULL, Wish(), [CPU]),  # who asked for no GPU memory gets no GPU
        (CARD, Wish(gpu_memory_mib=1024), [CUDA, CPU]),
        (FULL, Wish(gpu_memory_mib=1024), [TENSORRT, CUDA, CPU]),
        (FULL, Wish(gpu_memory_mib=1024, providers=["cuda"]), [CUDA, CPU]),
        (FULL, Wish(gpu_memory_mib=1024, providers=["cpu"]), [CPU]),
        (BARE, Wish(gpu_memory_mib=1024, providers=["cuda", "cpu"]), [CPU]),
        (Machine((CPU,), has_card=True), Wish(gpu_memory_mib=1024), [CPU]),
    ],
)
def test_the_best_that_is_there_is_chosen(machine: Machine, wish: Wish, names: list[str]) -> None:
    chosen = choose(machine, wish)
    assert [name for name, _ in chosen] == names
    assert uses_gpu(chosen) is (names != [CPU])


def test_providers_that_are_asked_for_and_not_there_are_an_error() -> None:
    with pytest.raises(ModelUnusable, match=r"providers is \['cuda'\]: this instance has cpu \(gpuMemorySize is 0\)"):
        choose(FULL, Wish(providers=["cuda"]))


def test_sessions_share_the_gpu_memory_of_the_function() -> None:
    options = dict(choose(FULL, Wish(gpu_memory_mib=1024, sessions=2, cuda_graphs=True, cache_folder="/tmp/x")))
    assert options[CUDA] == {
        "gpu_mem_limit": str(512 * 2**20),
        "arena_extend_strategy": "kSameAsRequested",
        "do_copy_in_default_stream": "1",
        "enable_cuda_graph": "1",
    }
    assert options[TENSORRT]["trt_max_workspace_size"] == str(256 * 2**20)
    assert options[TENSORRT]["trt_engine_cache_path"] == "/tmp/x"
    assert options[TENSORRT]["trt_cuda_graph_enable"] == "True"


class FakeSettings:
    def __init__(self) -> None:
        self.intra_op_num_threads = self.inter_op_num_threads = 0
        self.enable_cpu_mem_arena = True
        self.entries: dict[str, str] = {}

    def add_session_config_entry(self, name: str, value: str) -> None:
        self.entries[name] = value


@pytest.mark.parametrize(
    ("share", "on_gpu", "prepacks"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_sessions_have_the_functions_threads_and_are_quiet_while_idle(
    share: bool, on_gpu: bool, prepacks: bool
) -> None:
    settings = session_settings(FakeSettings(), SessionOptions(3, share_weights=share), on_gpu=on_gpu)
    assert (settings.intra_op_num_threads, settings.inter_op_num_threads) == (3, 1)
    assert settings.enable_cpu_mem_arena is False
    assert settings.entries["session.intra_op.allow_spinning"] == "0"
    assert ("session.disable_prepacking" not in settings.entries) is bool(prepacks)


# -- bound to a card ---------------------------------------------------------------------------------------------------


class FakeValue:
    def __init__(self, array: Any) -> None:
        self.array = np.array(array)

    def update_inplace(self, array: Any) -> None:
        self.array[...] = array


class FakeBinding:
    def __init__(self) -> None:
        self.inputs: dict[str, FakeValue] = {}
        self.outputs: dict[str, Any] = {}
        self.bound_outputs: list[str] = []
        self.results: list[Any] = []

    def bind_ortvalue_input(self, name: str, value: FakeValue) -> None:
        self.inputs[name] = value

    def bind_output(self, name: str, device: str, index: int) -> None:
        self.outputs[name] = (device, index)
        self.bound_outputs.append(name)

    def bind_ortvalue_output(self, name: str, value: FakeValue) -> None:
        self.outputs[name] = value

    def copy_outputs_to_cpu(self) -> list[Any]:
        return [value.array.copy() for value in self.results]

    def get_outputs(self) -> list[FakeValue]:
        return self.results


class FakeSession:
    """Doubles x."""

    def __init__(self) -> None:
        self.bindings: list[FakeBinding] = []
        self.options: list[Any] = []
        self.released: list[int] = []

    def release_captured_graph(self, number: int) -> None:
        self.released.append(number)

    def io_binding(self) -> FakeBinding:
        self.bindings.append(FakeBinding())
        return self.bindings[-1]

    def run_with_iobinding(self, binding: FakeBinding, options: Any) -> None:
        self.options.append(options)
        binding.results = [FakeValue(binding.inputs["x"].array * 2)]


def bound(session: FakeSession, pinned: list[Any], **more: Any) -> BoundSession:
    def pin(array: Any) -> bool:
        pinned.append(array)
        return True

    return BoundSession(session, Device("gpu", FakeValue, pin, str), **more)


def test_buffers_are_made_once_for_each_set_of_shapes_and_filled_again() -> None:
    session, pinned = FakeSession(), list[Any]()
    runner = bound(session, pinned)
    for value, rows in ((1.0, 2), (2.0, 2), (3.0, 1), (4.0, 2)):
        [found] = runner.run(["y"], {"x": np.full((rows, 3), value, np.float32)})
        assert found.tolist() == [[2 * value] * 3] * rows
    assert len(session.bindings) == len(pinned) == 2
    assert session.bindings[0].outputs == {"y": ("gpu", 0)}
    assert session.options == [None] * 4


def test_a_captured_graph_keeps_the_buffers_of_its_results_and_has_a_number_of_its_own() -> None:
    session = FakeSession()
    runner = bound(session, [], keeps_outputs=True)
    for rows in (1, 1, 2):
        runner.run(["y"], {"x": np.ones((rows, 3), np.float32)})
    assert session.options == ["1", "1", "2"]
    for rows in range(3, PLANS_MAX + 2):
        runner.run(["y"], {"x": np.ones((rows, 3), np.float32)})
    assert session.released == [1], "with the buffers that it reads"
    assert isinstance(session.bindings[0].outputs["y"], FakeValue)


def test_of_many_shapes_the_last_ones_are_kept() -> None:
    session = FakeSession()
    runner = bound(session, [])
    for rows in range(1, PLANS_MAX + 2):
        runner.run(["y"], {"x": np.ones((rows, 1), np.float32)})
    runner.run(["y"], {"x": np.ones((2, 1), np.float32)})
    assert len(session.bindings) == PLANS_MAX + 1
    runner.run(["y"], {"x": np.ones((1, 1), np.float32)})
    assert len(session.bindings) == PLANS_MAX + 2


def test_buffers_of_inputs_take_no_more_than_they_may_but_one_set_of_shapes_always_has_its_own() -> None:
    session = FakeSession()
    runner = bound(session, [], bytes_max=100)
    for rows in (1, 2, 1, 2, 5, 1, 2):  # of 12 bytes each; 60 of 5 rows
        runner.run(["y"], {"x": np.ones((rows, 3), np.float32)})
    assert len(session.bindings) == 3
    runner.run(["y"], {"x": np.ones((9, 3), np.float32)})
    runner.run(["y"], {"x": np.ones((9, 3), np.float32)})
    assert len(session.bindings) == 4
    runner.run(["y"], {"x": np.ones((2, 3), np.float32)})
    assert len(session.bindings) == 5


def test_graphs_are_captured_of_what_is_bound_alone() -> None:
    graphs, plain = Wish(gpu_memory_mib=1024, cuda_graphs=True), Wish(gpu_memory_mib=1024)
    texts = TensorSpec("t", "BYTES", (-1,))
    bits = TensorSpec("b", "BF16", (-1,))
    numbers = TensorSpec("n", "FP32", (-1,))
    made = partial(runner_of, FakeSession(), None)
    assert isinstance(made(CUDA, graphs, [numbers]), InOneThread)
    assert isinstance(made(CUDA, plain, [numbers]), BoundSession)
    assert isinstance(made(CUDA, plain, [numbers, bits]), BitsSession)
    for odd in (texts, bits):
        assert isinstance(made(CPU, graphs, [odd]), OnnxSession | BitsSession)
        with pytest.raises(ModelUnusable, match=f"cudaGraphs is true: .* tensor '{odd.name}' of {odd.datatype}"):
            made(CUDA, graphs, [numbers, odd])


def test_results_have_buffers_of_their_own_in_each_run_that_captures_no_graph() -> None:
    session = FakeSession()
    runner = bound(session, [])
    for _ in range(2):
        runner.run(["y"], {"x": np.ones((1, 3), np.float32)})
    assert session.bindings[0].bound_outputs == ["y"] * 3, "at first, and after each run"


class FakeCudaRuntime:
    """Refuses what is on a page that is locked already, as CUDA does."""

    def __init__(self) -> None:
        self.locked: dict[int, range] = {}
        self.last_error = 0

    def cudaHostRegister(self, address: Any, size: Any, flags: int) -> int:  # noqa: N802 - CUDA's
        pages = range(address.value // 4096, (address.value + size.value - 1) // 4096 + 1)
        if any(page in other for other in self.locked.values() for page in (pages[0], pages[-1])):
            self.last_error = 712
        else:
            self.locked[address.value] = pages
        return self.last_error

    def cudaHostUnregister(self, address: Any) -> int:  # noqa: N802
        self.last_error = 0 if self.locked.pop(address.value, None) else 713
        return self.last_error

    def cudaGetLastError(self) -> int:  # noqa: N802
        error, self.last_error = self.last_error, 0
        return error


def test_memory_that_cannot_be_locked_leaves_no_error_for_onnx_runtime_to_find() -> None:
    runtime, array = FakeCudaRuntime(), np.zeros(2 * PINNED_BYTES_MIN, np.uint8)
    assert pinned(array, runtime)
    assert not pinned(array[PINNED_BYTES_MIN // 2 :], runtime)
    assert runtime.last_error == 0


def test_locked_memory_is_given_back_with_its_array_and_small_arrays_are_not_locked() -> None:
    runtime, array = FakeCudaRuntime(), np.zeros(PINNED_BYTES_MIN, np.uint8)
    assert pinned(array, runtime)
    assert len(runtime.locked) == 1
    del array
    assert (runtime.locked, runtime.last_error) == ({}, 0)
    assert not pinned(np.zeros(PINNED_BYTES_MIN - 1, np.uint8), runtime)


# -- which provider it is in the end -----------------------------------------------------------------------------------


ALL: Final = [("TensorrtExecutionProvider", {}), ("CUDAExecutionProvider", {"gpu_mem_limit": "1"}), (CPU, {})]


@pytest.mark.parametrize(
    ("errors", "tried"),
    [([], [3]), ([Exception("a graph that it does not take")], [3, 2]), ([RuntimeError("no library")] * 2, [3, 2, 1])],
)
def test_a_provider_that_cannot_be_used_is_left_out_and_the_others_keep_their_options(
    errors: list[Exception], tried: list[int]
) -> None:
    asked: list[Any] = []

    def opened_on(providers: Any) -> str:
        asked.append(list(providers))
        if len(asked) <= len(errors):
            raise errors[len(asked) - 1]
        return "a session"

    assert first_that_opens(opened_on, ALL) == "a session"
    assert asked == [ALL[-count:] for count in tried]


def test_a_model_that_does_not_fit_into_the_cards_memory_is_not_run_on_the_cpu() -> None:
    def opened_on(providers: Any) -> str:
        assert len(providers) > 1, "tried on the CPU"
        raise Exception("Failed to allocate memory for requested buffer")

    with pytest.raises(Exception, match="Failed to allocate"):
        first_that_opens(opened_on, ALL[1:])


# -- threads -----------------------------------------------------------------------------------------------------------


class Telling:
    """Says in which thread it was run."""

    def __init__(self) -> None:
        self.closed_in = 0

    def run(self, outputs: Any, inputs: Any) -> list[Any]:
        return [np.array(threading.get_ident())]

    def close(self) -> None:
        self.closed_in = threading.get_ident()


def test_a_session_with_captured_graphs_is_run_in_one_thread_whoever_asks() -> None:
    telling = Telling()
    runner = InOneThread(telling)
    found = [runner.run(["y"], {})[0].item()]
    asking = threading.Thread(target=lambda: found.append(runner.run(["y"], {})[0].item()))
    asking.start()
    asking.join(5)
    runner.close()
    assert len({*found, telling.closed_in}) == 1
    assert found[0] != threading.get_ident()
