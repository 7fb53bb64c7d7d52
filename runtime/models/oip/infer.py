"""One inference: what of a request the model is given, and the answer made of its results.

`Direct` takes a request without a task, a future or a timer where none is asked for. Around a long run that is most of
what a request costs: the run leaves nothing of this process in the processor's caches, so each step is slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from runtime.models.batching import Job
from runtime.models.errors import ModelError
from runtime.models.oip import codec
from runtime.models.oip.check import inputs_for, outputs_for
from runtime.models.oip.classification import classified
from runtime.models.oip.codec import BINARY_TYPE, JSON_TYPE, Encoded, InferRequest, OutputTensor, RequestedOutput
from runtime.models.oip.datatypes import BF16, BYTES
from runtime.models.oip.ports import ServedModel
from runtime.models.oip.problems import UNAVAILABLE, OipError
from runtime.models.routes import Answer, Body, Reply
from runtime.models.tensors import Array, TensorSpec, widened

TIMED_OUT: Final = "Request timeout expired"
_TIMEOUT_US_MAX: Final = 365 * 24 * 3600 * 10**6  # nobody waits longer, and clocks of loops need not reach further

Wanted = Sequence[tuple[RequestedOutput, TensorSpec]]


class Inference:
    """A request that was read, by the model that it is for."""

    __slots__ = ("asked", "inputs", "model", "wanted")

    def __init__(self, model: ServedModel, asked: InferRequest) -> None:
        """Raises OipError, InvalidInput: it is not one that the model takes."""
        self.model = model
        self.asked = asked
        self.inputs = inputs_for(model, asked)
        self.wanted: Wanted = outputs_for(model, asked)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the outputs that the model is asked for."""
        return tuple(dict.fromkeys([spec.name for _, spec in self.wanted]))

    def outputs(self, results: dict[str, Array]) -> list[tuple[OutputTensor, bool]]:
        """What is sent, each with whether it is sent as binary data. Raises OipError."""
        outputs = []
        for requested, spec in self.wanted:
            array, datatype = results[spec.name], spec.datatype
            if requested.classes:
                array = widened(array) if datatype == BF16 else array
                batched = self.model.max_batch_size > 0
                array = classified(spec.name, array, requested.classes, spec.labels, is_batched=batched)
                datatype = BYTES
            outputs.append((OutputTensor(spec.name, datatype, array), requested.is_binary))
        return outputs

    def encoded(self, results: dict[str, Array]) -> Encoded:
        """Raises OipError."""
        return codec.encode(self.model.name, self.model.version, self.asked, self.outputs(results))


def timeout_s(asked: InferRequest) -> float | None:
    """The caller's, which it says in microseconds; 0 is none. Raises OipError."""
    timeout_us = asked.parameters.get("timeout", 0)
    if type(timeout_us) is not int or timeout_us < 0:
        raise OipError(f"parameter 'timeout' is {timeout_us!r}: a number of microseconds is allowed")
    return min(timeout_us, _TIMEOUT_US_MAX) / 1e6 or None


def headers_of(encoded: Encoded) -> list[tuple[str, str]]:
    if encoded.header_length is None:
        return [("content-type", JSON_TYPE)]
    return [("content-type", BINARY_TYPE), (codec.HEADER_LENGTH, str(encoded.header_length))]


def refused(message: str, status: int) -> Answer:
    return Answer(status, [("content-type", JSON_TYPE)], [codec.write_json({"error": message})])


class Direct:
    """Requests that have one head: for one model, with bodies and answers that are not compressed."""

    __slots__ = ("_header_length", "_limits", "_model")

    def __init__(self, model: Callable[[], ServedModel], header_length: str | None, limits: codec.CodecLimits) -> None:
        """`model` raises OipError while there is none to be asked; `header_length` as codec.HEADER_LENGTH has it."""
        self._model = model
        self._header_length = header_length
        self._limits = limits

    def __call__(self, pieces: list[bytes], reply: Reply) -> Callable[[], None]:
        """As `runtime.models.routes.Direct` says."""
        try:
            model = self._model()
            body, begin = codec.joined(pieces, self._header_length)
            asked = codec.decode(body[begin:], self._header_length, self._limits)
            return _Asked(Inference(model, asked), reply).begin()
        except (OipError, ModelError) as error:
            reply(refused(str(error), error.status))
            return _nothing


class _Asked:
    """One such request, while it is inside."""

    __slots__ = ("_inference", "_job", "_reply", "_timer")

    def __init__(self, inference: Inference, reply: Reply) -> None:
        self._inference = inference
        self._reply = reply
        self._job: Job | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> Callable[[], None]:
        """Gives how to cancel it. Raises OipError, ModelError."""
        inference = self._inference
        wait_s = timeout_s(inference.asked)
        self._job = inference.model.submit(inference.inputs, self._done, inference.names)
        if wait_s is not None:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._late)
        return self.cancel

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._job is not None:
            self._job.cancel()

    def _late(self) -> None:
        self.cancel()
        self._reply(refused(TIMED_OUT, UNAVAILABLE))

    def _done(self, job: Job) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if job.error is not None:
            self._reply(refused(str(job.error), job.error.status))
            return
        assert job.results is not None, "a job without an error has results"
        try:
            encoded = self._inference.encoded(job.results)
            buffers: list[Body] = list(encoded.buffers)
            self._reply(Answer(200, headers_of(encoded), buffers))
        except OipError as error:
            self._reply(refused(str(error), error.status))
        except Exception as error:  # a mistake of ours: the requests of the same batch are answered all the same
            self._reply(error)


def _nothing() -> None: ...
