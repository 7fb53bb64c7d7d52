"""`stoke invoke`: sends one event to a function and prints its answer."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from control_plane.cli.choosing import FunctionName, ServiceName, choose_one
from control_plane.cli.context import Session, command
from control_plane.cli.failures import BadInput, Failed
from control_plane.cli.output import Format
from runtime.contract import (
    HEADER_COLD_START,
    HEADER_ERROR_TYPE,
    HEADER_INSTANCE_ID,
    HEADER_LOG_RESULT,
    HEADER_LOG_TYPE,
    HEADER_REQUEST_ID,
    LATEST,
)

if TYPE_CHECKING:
    import httpx

INVOCATION_TYPES: Final = ("sync",)
LOG_TYPES: Final = ("Tail", "None")
_TIMEOUT_S: Final = 600.0


@command
def invoke(
    session: Session,
    event: Annotated[str | None, typer.Option("--event", "-e", help="The event, as text")] = None,
    event_file: Annotated[
        Path | None, typer.Option("--event-file", "-f", help="A file with the event; - reads stdin")
    ] = None,
    qualifier: Annotated[str, typer.Option("--qualifier", help="LATEST, a version, or an alias")] = LATEST,
    invocation_type: Annotated[str, typer.Option("--invocation-type", help="sync")] = "sync",
    log_type: Annotated[
        str, typer.Option("--log-type", help="Tail prints the end of what the invocation has logged on stderr")
    ] = "None",
    timeout_s: Annotated[
        float, typer.Option("--timeout-s", min=1.0, help="How long to wait for the answer")
    ] = _TIMEOUT_S,
    service_name: ServiceName = None,
    function_name: FunctionName = None,
) -> None:
    """Invoke a function and print what it answers. A function's error goes to stderr, with exit code 1."""
    from control_plane.cli.client import function_path

    if invocation_type.lower() not in INVOCATION_TYPES:
        raise BadInput(f"--invocation-type: {invocation_type!r} is not allowed: must be sync")
    if log_type.capitalize() not in LOG_TYPES:
        raise BadInput(f"--log-type: {log_type!r} is not allowed: must be Tail or None")
    content = read_event(event, event_file)
    chosen = choose_one(session, service_name, function_name)
    with session.client() as client:
        response = client.send(
            "POST",
            f"{function_path(chosen.service, chosen.function, qualifier)}/invocations",
            content=content,
            headers={
                "content-type": content_type(content),
                "x-fc-invocation-type": "Sync",
                HEADER_LOG_TYPE: log_type.capitalize(),
            },
            read_timeout_s=timeout_s,
        )
    _print(session, response)


def read_event(event: str | None, event_file: Path | None) -> bytes:
    """Raises BadInput: both given, or a file that cannot be read. Neither: an empty event."""
    if event is not None and event_file is not None:
        raise BadInput("--event and --event-file: give one of them, not both")
    if event is not None:
        return event.encode()
    if event_file is None:
        return b""
    if str(event_file) == "-":
        return sys.stdin.buffer.read()
    try:
        return event_file.read_bytes()
    except OSError as error:
        raise BadInput(f"--event-file: {event_file} cannot be read: {error.strerror}") from error


def content_type(event: bytes) -> str:
    """JSON when it is JSON, else plain bytes: an HTTP function may look at it."""
    try:
        json.loads(event)
    except ValueError:
        return "application/octet-stream"
    return "application/json"


def log_of(response: httpx.Response) -> str:
    """The end of the log that came with an answer, "" for none."""
    return base64.b64decode(response.headers.get(HEADER_LOG_RESULT, "")).decode(errors="replace")


def _print(session: Session, response: httpx.Response) -> None:
    error_type = response.headers.get(HEADER_ERROR_TYPE)
    log = log_of(response)
    if session.output.chosen is not None:
        session.output.result(_described(response), default=Format.JSON)
    elif not error_type:
        sys.stdout.flush()
        sys.stdout.buffer.write(response.content)
        if not response.content.endswith(b"\n") and sys.stdout.isatty():
            sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()
    if log and session.output.chosen is None:
        sys.stderr.write(log if log.endswith("\n") else f"{log}\n")
    if error_type:
        raise Failed(f"{error_type}: {response.text}")


def _described(response: httpx.Response) -> dict[str, Any]:
    try:
        body = {"body": response.content.decode()}
    except UnicodeDecodeError:
        body = {"bodyBase64": base64.b64encode(response.content).decode()}
    return {
        "statusCode": response.status_code,
        "requestId": response.headers.get(HEADER_REQUEST_ID, ""),
        "instanceId": response.headers.get(HEADER_INSTANCE_ID, ""),
        "errorType": response.headers.get(HEADER_ERROR_TYPE, ""),
        "coldStart": response.headers.get(HEADER_COLD_START) == "true",
        **({"log": log_of(response)} if HEADER_LOG_RESULT in response.headers else {}),
        **body,
    }
