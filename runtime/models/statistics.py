"""What a model counts: by request and by execution, in the phases that Triton has. Adding is all that happens here."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

REASONS: Final = ("REJECTED", "CANCELED", "BACKEND", "OTHER")  # why a request failed, as Triton's metrics say it


@dataclass(slots=True)
class Duration:
    """How often, and for how long in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int, count: int = 1) -> None:
        self.count += count
        self.ns += ns


@dataclass(slots=True)
class BatchStatistics:
    """Executions of one batch size."""

    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)


@dataclass(slots=True)
class Statistics:
    """Durations are of requests: one execution of a batch of eight adds its time to each of the eight.

    `success` and `fail` are of the whole way through the model; `inference_count` counts rows of batches,
    `execution_count` runs of the model. Runs of the warm-up are counted, too.
    """

    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    failures: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    batches: dict[int, BatchStatistics] = field(default_factory=dict)
    inference_count: int = 0
    execution_count: int = 0
    last_inference_ms: int = 0  # UTC
    pending: int = 0  # requests that wait for an execution now

    def executed(self, *, rows: int, requests: int, input_ns: int, infer_ns: int, output_ns: int) -> None:
        """One run of the model, for so many requests with so many rows together, has succeeded."""
        self.execution_count += 1
        self.inference_count += rows
        self.last_inference_ms = time.time_ns() // 1_000_000
        self.compute_input.add(input_ns * requests, requests)
        self.compute_infer.add(infer_ns * requests, requests)
        self.compute_output.add(output_ns * requests, requests)
        batch = self.batches.get(rows)
        if batch is None:
            batch = self.batches[rows] = BatchStatistics()
        batch.compute_input.add(input_ns)
        batch.compute_infer.add(infer_ns)
        batch.compute_output.add(output_ns)

    def failed(self, reason: str, ns: int) -> None:
        """One request was not answered with a result; `reason` is one of REASONS."""
        self.failures[reason] += 1
        self.fail.add(ns)
