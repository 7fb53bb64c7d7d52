"""An exception of a function as its caller sees it: errorMessage, errorType and stackTrace, without our own frames."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Final

UNHANDLED: Final = "UnhandledInvocationError"  # FC's word for an exception that the function did not catch
_OUR_FOLDER: Final = str(Path(__file__).parent)


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
