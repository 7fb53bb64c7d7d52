"""Why a function's code could not be imported, as its owner reads it: the error first, then the way to it from the
function's own file on. What of it is Stoke's or Python's own is left out. Pure."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final

FRAMES_MAX: Final = 6
_FIRST_FRAMES: Final = 2  # of these, where there are more: where it began; the rest is where it ended
_MESSAGE_CHARS_MAX: Final = 1000
_PACKAGES: Final = "/site-packages/"
_MACHINERY: Final = "<frozen importlib"


def told(error: BaseException, code: str) -> str:
    """`code` is the folder of the function's code. Files in it are named by their path there."""
    lines = [_message(error)]
    if isinstance(error, SyntaxError):
        lines += _place(error, code)
    else:
        lines += _frames(error, code)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        lines.append(f"caused by {_message(cause).splitlines()[0]}")
    return "\n".join(lines)


def _message(error: BaseException) -> str:
    """As Python says it; a syntax error without the line, which comes after it."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    text = "".join(traceback.format_exception_only(error)).strip()
    return text if len(text) <= _MESSAGE_CHARS_MAX else text[: _MESSAGE_CHARS_MAX - 1] + "…"


def _place(error: SyntaxError, code: str) -> list[str]:
    """The file, the line and what is in it, with a caret below where it is wrong."""
    lines = "".join(traceback.format_exception_only(error)).splitlines()
    at = [line for line in lines if not line.startswith(type(error).__name__)]
    if at and error.filename:
        at[0] = at[0].replace(error.filename, _named(error.filename, code))
    return at


def _frames(error: BaseException, code: str) -> list[str]:
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith(_MACHINERY)]
    begins = next((at for at, frame in enumerate(frames) if _is_in(frame.filename, code)), len(frames))
    shown = [_shown(frame, code) for frame in frames[begins:]]
    if len(shown) > FRAMES_MAX:
        left_out = len(shown) - FRAMES_MAX
        shown[_FIRST_FRAMES : _FIRST_FRAMES + left_out] = [f"  … and {left_out} between …"]
    return shown


def _shown(frame: traceback.FrameSummary, code: str) -> str:
    place = f'  File "{_named(frame.filename, code)}", line {frame.lineno}, in {frame.name}'
    return f"{place}\n    {frame.line}" if frame.line else place


def _named(filename: str, code: str) -> str:
    if _is_in(filename, code):
        return str(Path(filename).relative_to(code))
    return filename.rpartition(_PACKAGES)[2]


def _is_in(filename: str, code: str) -> bool:
    return Path(filename).is_relative_to(code) and _PACKAGES not in filename
