"""An exception of a function as its caller sees it: errorMessage, errorType and stackTrace, without our own frames."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Final

from runtime.contract import CONTROL_PATH_HTTP, HEADER_ERROR_TYPE, PATH_INITIALIZE, PATH_PRE_STOP
from runtime.instance.envelope import HttpAnswer

UNHANDLED: Final = "UnhandledInvocationError"  # FC's word for an exception that the function did not catch
_STATUSES: Final = {CONTROL_PATH_HTTP: 502, PATH_INITIALIZE: 500, PATH_PRE_STOP: 500}
_OUR_FOLDER: Final = str(Path(__file__).parent)


def answer(error: BaseException, control_path: str) -> HttpAnswer:
    """A failed invocation is a 200 with an error type, as in FC; HTTP callers and hooks are told by the status."""
    headers = [(HEADER_ERROR_TYPE, UNHANDLED), ("content-type", "application/json")]
    return HttpAnswer(_STATUSES.get(control_path, 200), headers, error_json(error))


def error_json(error: BaseException) -> bytes:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_ours(frame.filename)]
    return json.dumps(
        {
            "errorMessage": str(error),
            "errorType": type(error).__name__,
            "stackTrace": [
                [f'File "{frame.filename}"', f"line {frame.lineno}", f"in {frame.name}", frame.line or ""]
                for frame in frames
            ],
        }
    ).encode()


def _is_ours(filename: str) -> bool:
    return filename.startswith(_OUR_FOLDER) or "concurrent/futures" in filename
