"""Why an instance failed, in the words that a user reads as `currentError`. Pure."""

from __future__ import annotations

import json
import re
import shlex
import signal
from collections.abc import Sequence
from typing import Final

from runtime.contract import INITIALIZER_FAILED
from runtime.words import counted

LOG_LINES_MAX: Final = 10
_LOG_CHARS_MAX: Final = 2000
_BODY_CHARS_MAX: Final = 512
_MESSAGE_CHARS_MAX: Final = 1000
_FRAMES_MAX: Final = 6
_CODE_FOLDER: Final = re.compile(r'".*/code/[0-9a-f]{64}/')
MISSED: Final = "Function instance exited while the node was away"


def exited(status: int | None, command: Sequence[str], log_end: bytes) -> str:
    """`status` is as subprocess has it: negative for a signal; None where nobody could ask."""
    return (
        f"Function instance exited unexpectedly({_how(status)}) with start command '{shlex.join(command)}'. "
        f"Logs: {last_lines(log_end)}"
    )


def out_of_memory(limit_mib: int, log_end: bytes) -> str:
    return f"Function instance ran out of memory: it is over its limit of {limit_mib} MiB. Logs: {last_lines(log_end)}"


def out_of_gpu_memory(used_mib: float, limit_mib: int, log_end: bytes) -> str:
    return (
        f"Function instance ran out of GPU memory: it holds {used_mib:.0f} MiB of the device, and its gpuMemorySize is "
        f"{limit_mib} MiB. Logs: {last_lines(log_end)}"
    )


def device_gone(uuid: str, reason: str) -> str:
    return f"Function instance lost its GPU {uuid}: {reason}"


def card_not_given(uuid: str) -> str:
    return (
        f"the container engine took no notice of the GPU {uuid} that the container was to have (Podman 4 cannot give "
        "one by this API): use Docker with NVIDIA's container toolkit, or gpuMemorySize 0"
    )


def not_listening(port: int, health_path: str, timeout_s: float, last_error: str, log_end: bytes) -> str:
    check = f"GET {health_path}" if health_path else "a connect"
    return (
        f"Function instance health check failed on port {port} in {timeout_s:g} seconds ({check}: {last_error}); "
        f"the server must listen on the port in FC_SERVER_PORT. Logs: {last_lines(log_end)}"
    )


def not_ready(timeout_s: float, log_end: bytes) -> str:
    return f"Function instance did not start within {timeout_s:g} seconds. Logs: {last_lines(log_end)}"


def unhealthy(health_path: str, failures: int, last_error: str, log_end: bytes) -> str:
    return (
        f"Function instance failed its health check GET {health_path} {counted(failures, 'time')} in a row "
        f"({last_error}). Logs: {last_lines(log_end)}"
    )


def initializer_failed(what: str, log_end: bytes) -> str:
    return f"{INITIALIZER_FAILED}: POST /initialize {what}. Logs: {last_lines(log_end)}"


def initializer_refused(status: int, took_s: float, body_start: str, log_end: bytes) -> str:
    """It answered, and not that all is well. An error that it tells with its stack is told so, and needs no log."""
    what = f"answered {status} after {took_s:.2f} s"
    error = _error_told(body_start)
    if error:
        return f"{INITIALIZER_FAILED}: POST /initialize {what}: {error}"
    return initializer_failed(f"{what}: {body_start[:_BODY_CHARS_MAX]!r}", log_end)


def _error_told(body: str) -> str:
    """Of Function Compute's JSON of a failed function (errorMessage, errorType, stackTrace); "" of anything else."""
    try:
        told = json.loads(body)
        message = f"{told['errorType']}: {str(told['errorMessage'])[:_MESSAGE_CHARS_MAX]}".rstrip(": ")
        frames = [[str(part) for part in frame] for frame in told["stackTrace"]]
    except (ValueError, KeyError, TypeError):
        return ""
    shown = frames if len(frames) <= _FRAMES_MAX else [*frames[:2], ["…"], *frames[3 - _FRAMES_MAX :]]
    return "\n".join([message, *(_frame(each) for each in shown)])


def _frame(parts: list[str]) -> str:
    """`File "/…/app.py"`, `line 3`, `in init` and what is in the line, which may be missing."""
    *place, line = parts if len(parts) > 3 else [*parts, ""]
    shown = "  " + _CODE_FOLDER.sub('"', ", ".join(place))
    return f"{shown}\n    {line}" if line else shown


def last_lines(log_end: bytes) -> str:
    """The end of an output, short enough for a message; whole lines where they fit."""
    lines = log_end.decode("utf-8", "replace").strip().splitlines()
    text = "\n".join(lines[-LOG_LINES_MAX:])
    return text[-_LOG_CHARS_MAX:] or "(none)"


def _how(status: int | None) -> str:
    if status is None:
        return "code unknown, message:it ended while nobody watched its exit code"
    if status >= 0:
        return f"code {status}, message:exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"code {128 - status}, message:killed by {name}"
