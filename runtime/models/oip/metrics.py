"""What an instance's `/metrics` shows of its models: Triton's names, in Prometheus' text format.

A request counts once in `request_success`, each of its rows in `count`, each run of the model in `exec_count`: one
request with a batch of eight is 1, 8 and 1, two requests that were run together are 2, 2 and 1. Every series is there,
with 0, from when a model is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from runtime.models.oip.ports import ServedModel
from runtime.models.routes import Answer, Handler, Request
from runtime.models.statistics import REASONS, Statistics

PATH: Final = "/metrics"
CONTENT_TYPE: Final = "text/plain; charset=utf-8"


class Gauge(NamedTuple):
    """A figure of the machine, read by whoever can."""

    name: str
    help: str
    labels: dict[str, str]
    value: float


class _Counter(NamedTuple):
    name: str
    help: str
    of: Callable[[Statistics], int]


_COUNTERS: Final = (
    _Counter("nv_inference_request_success", "Number of successful inference requests, all batch sizes",
             lambda counted: counted.success.count),
    _Counter("nv_inference_count", "Number of inferences performed (does not include cached requests)",
             lambda counted: counted.inference_count),
    _Counter("nv_inference_exec_count", "Number of model executions performed (does not include cached requests)",
             lambda counted: counted.execution_count),
    _Counter("nv_inference_request_duration_us", "Cumulative inference request duration in microseconds",
             lambda counted: (counted.success.ns + counted.fail.ns) // 1000),
    _Counter("nv_inference_queue_duration_us", "Cumulative inference queuing duration in microseconds",
             lambda counted: counted.queue.ns // 1000),
    _Counter("nv_inference_compute_input_duration_us", "Cumulative compute input duration in microseconds",
             lambda counted: counted.compute_input.ns // 1000),
    _Counter("nv_inference_compute_infer_duration_us", "Cumulative compute inference duration in microseconds",
             lambda counted: counted.compute_infer.ns // 1000),
    _Counter("nv_inference_compute_output_duration_us", "Cumulative inference compute output duration in microseconds",
             lambda counted: counted.compute_output.ns // 1000),
)  # fmt: skip
_FAILURE: Final = ("nv_inference_request_failure", "Number of failed inference requests, by reason")
_PENDING: Final = ("nv_inference_pending_request_count", "Instantaneous number of pending requests per model")


def handler(models: Sequence[ServedModel], gauges: Callable[[], Iterable[Gauge]]) -> Handler:
    """Answers `PATH` with what there is to tell at the time."""

    async def answer(request: Request) -> Answer:
        if request.path != PATH:
            return Answer(404)
        if request.method != "GET":
            return Answer(405, [("allow", "GET")])
        return Answer(200, [("content-type", CONTENT_TYPE)], [exposition(models, gauges())])

    return answer


def exposition(models: Sequence[ServedModel], gauges: Iterable[Gauge] = ()) -> bytes:
    lines: list[str] = []
    for counter in _COUNTERS:
        lines += _head(counter.name, counter.help, "counter")
        lines += [f"{counter.name}{_labels(_of(model))} {counter.of(model.statistics)}" for model in models]
    name, text = _FAILURE
    lines += _head(name, text, "counter")
    lines += [
        f"{name}{_labels({**_of(model), 'reason': reason})} {model.statistics.failures.get(reason, 0)}"
        for model in models
        for reason in REASONS
    ]
    name, text = _PENDING
    lines += _head(name, text, "gauge")
    lines += [f"{name}{_labels(_of(model))} {model.statistics.pending}" for model in models]
    said = ""
    for gauge in gauges:
        if gauge.name != said:
            lines += _head(gauge.name, gauge.help, "gauge")
            said = gauge.name
        lines.append(f"{gauge.name}{_labels(gauge.labels)} {gauge.value:.12g}")
    return ("\n".join(lines) + "\n").encode()


def _of(model: ServedModel) -> dict[str, str]:
    return {"model": model.name, "version": model.version}


def _head(name: str, text: str, kind: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
