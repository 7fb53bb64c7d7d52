"""What an instance's /metrics shows of its models, by Triton's names and rules of counting."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runtime.models.oip.machine import Machine
from runtime.models.oip.metrics import Gauge, exposition, handler
from runtime.models.routes import Request
from runtime.models.statistics import Statistics
from tests.support.fake_model import FakeModel, adder

pytestmark = pytest.mark.asyncio(loop_scope="module")


def figures(model: FakeModel, *gauges: Gauge) -> dict[tuple[str, ...], float]:
    """By name, and reason where it has one."""
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(exposition([model], gauges).decode()):
        for sample in family.samples:
            if "model" in sample.labels:
                assert (sample.labels["model"], sample.labels["version"]) == (model.name, "1")
            reason = sample.labels.get("reason")
            name = sample.name.removesuffix("_total")  # the reader adds it to counters
            found[(name, reason) if reason else (name,)] = sample.value
    return found


async def test_every_series_is_there_with_0_before_the_first_request() -> None:
    found = figures(adder())
    assert set(found.values()) == {0}
    assert {name[0] for name in found} == {
        "nv_inference_request_success", "nv_inference_request_failure", "nv_inference_count",
        "nv_inference_exec_count", "nv_inference_request_duration_us", "nv_inference_queue_duration_us",
        "nv_inference_compute_input_duration_us", "nv_inference_compute_infer_duration_us",
        "nv_inference_compute_output_duration_us", "nv_inference_pending_request_count"}  # fmt: skip
    assert {name[1] for name in found if len(name) == 2} == {"REJECTED", "CANCELED", "BACKEND", "OTHER"}


@pytest.mark.parametrize(
    ("requests", "rows", "expected"), [(1, 8, (1, 8, 1)), (2, 2, (2, 2, 1))], ids=["one of eight", "two together"]
)
async def test_requests_rows_and_runs_are_counted_apart(requests: int, rows: int, expected: tuple[int, ...]) -> None:
    model = adder()
    counted = model.statistics = Statistics()
    counted.executed(rows=rows, requests=requests, input_ns=1_000, infer_ns=5_000, output_ns=2_000)
    for _ in range(requests):
        counted.success.add(10_000)
    found = figures(model)
    names = ("nv_inference_request_success", "nv_inference_count", "nv_inference_exec_count")
    assert tuple(found[(name,)] for name in names) == expected
    assert found[("nv_inference_compute_infer_duration_us",)] == 5 * requests
    assert found[("nv_inference_request_duration_us",)] == 10 * requests


async def test_failures_are_counted_by_their_reason() -> None:
    model = adder()
    model.statistics.failed("REJECTED", 1000)
    model.statistics.pending = 3
    found = figures(model)
    assert found[("nv_inference_request_failure", "REJECTED")] == 1
    assert found[("nv_inference_request_failure", "OTHER")] == 0
    assert found[("nv_inference_pending_request_count",)] == 3


async def test_names_of_models_are_escaped() -> None:
    model = adder()
    model.name = 'a"\\\n'
    assert figures(model)


async def test_the_machines_cpu_is_told_since_it_was_asked_before(tmp_path: Path) -> None:
    stat, memory = tmp_path / "stat", tmp_path / "meminfo"
    stat.write_text("cpu  10 0 10 70 10 0 0 0 0 0\ncpu0 1 2 3\n")
    memory.write_text("MemTotal:  100 kB\nMemFree: 1 kB\nMemAvailable:  25 kB\n")
    machine = Machine((), stat, memory)
    assert [gauge.value for gauge in machine.gauges()] == [0.2, 100 * 1024, 75 * 1024]
    stat.write_text("cpu  40 0 10 120 20 0 0 0 0 0\n")
    gauges = machine.gauges()
    assert gauges[0].value == pytest.approx(30 / 90)
    assert figures(adder(), *gauges)[("nv_cpu_memory_total_bytes",)] == 100 * 1024


async def test_a_machine_without_proc_has_no_gauges(tmp_path: Path) -> None:
    assert Machine((), tmp_path / "stat", tmp_path / "meminfo").gauges() == []


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/metrics", 200), ("POST", "/metrics", 405),
                                                        ("GET", "/metrics/more", 404)])  # fmt: skip
async def test_metrics_are_at_their_path(method: str, path: str, status: int) -> None:
    answer = await handler([adder()], list)(Request(method, path, "", {}, []))
    assert answer.status == status
    if status == 200:
        assert answer.headers == [("content-type", "text/plain; charset=utf-8")]


class FakeNvml(ModuleType):
    """One card that is busy by half, and counts no power."""

    class NVMLError(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.is_open = False

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's names
        self.is_open = True

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.is_open = False

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if uuid != "GPU-1":
            raise self.NVMLError("not found")
        return uuid

    def nvmlDeviceGetUtilizationRates(self, card: str) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(gpu=50)

    def nvmlDeviceGetMemoryInfo(self, card: str) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(total=1000, used=300)

    def nvmlDeviceGetPowerUsage(self, card: str) -> int:  # noqa: N802
        raise self.NVMLError("not supported")

    nvmlDeviceGetEnforcedPowerLimit = nvmlDeviceGetPowerUsage  # noqa: N815


async def test_the_cards_that_an_instance_was_given_are_told_by_what_they_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    gauges = Machine(("GPU-1", "GPU-gone"), tmp_path / "stat", tmp_path / "meminfo").gauges()
    assert {(gauge.name, gauge.labels["gpu_uuid"]): gauge.value for gauge in gauges} == {
        ("nv_gpu_utilization", "GPU-1"): 0.5,
        ("nv_gpu_memory_total_bytes", "GPU-1"): 1000,
        ("nv_gpu_memory_used_bytes", "GPU-1"): 300,
    }
    assert not nvml.is_open


async def test_without_a_driver_no_card_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()

    def fail() -> None:
        raise nvml.NVMLError("no driver")

    monkeypatch.setattr(nvml, "nvmlInit", fail)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert Machine(("GPU-1",), tmp_path / "stat", tmp_path / "meminfo").gauges() == []
