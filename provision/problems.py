"""What is wrong with a provision config, as sentences: the field's path, its value, and what is allowed."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

VALUE_LENGTH_MAX: Final = 80  # of a value that is shown
# Keys of FC's replies. A config that was read and is sent back has them; they are no slips.
REPLIED: Final = ("resource", "functionArn", "current", "currentError")


class ConfigError(ValueError):
    """A provision config that cannot be taken. `problems` has everything that is wrong, the text a line for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def sentence(path: str, value: object, allowed: str) -> str:
    """`path is value: must be …`; `allowed` begins with its verb."""
    return f"{path} is {_shown(value)}: {allowed}"


def sentences(error: ValidationError, allowed: Callable[[str, str], str | None]) -> list[str]:
    """One for each problem. `allowed` says what a field may be: of the config itself (""), or of a list's items."""
    return [text for detail in error.errors(include_url=False) for text in _sentences(detail, allowed)]


def unknown_in(given: Mapping[str, Any], known: Mapping[str, Sequence[str]]) -> list[str]:
    """Keys that are none of the known ones. `known` has the config's own under "", those of each part by its path."""
    found = list(_unknown(given, "", [*known[""], *REPLIED], known[""]))
    for path in filter(None, known):
        for place, item in _parts(given, path.split(".")):
            found += _unknown(item, f"{place}.", known[path], known[path])
    return found


def _parts(given: Mapping[str, Any], path: Sequence[str], place: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects under a path of keys, those in lists one by one, each with its place."""
    if not path:
        yield place, given
        return
    at, under = f"{place}.{path[0]}" if place else path[0], given.get(path[0])
    if isinstance(under, dict):
        yield from _parts(under, path[1:], at)
    for index, item in enumerate(under if isinstance(under, list) else ()):
        if isinstance(item, dict):
            yield from _parts(item, path[1:], f"{at}[{index}]")


def _unknown(given: Mapping[str, Any], prefix: str, known: Sequence[str], likely: Sequence[str]) -> Iterator[str]:
    spelled = {name.lower(): name for name in likely}
    for key in given:
        if key not in known:
            close = difflib.get_close_matches(str(key).lower(), spelled, n=1)
            meant = f"did you mean {spelled[close[0]]}?" if close else f"must be one of {', '.join(likely)}"
            yield f"{prefix}{key} is not a field: {meant}"


def _sentences(detail: ErrorDetails, allowed: Callable[[str, str], str | None]) -> list[str]:
    where = detail["loc"]
    path = _path(where)
    own = detail.get("ctx", {}).get("error")
    if isinstance(own, ValueError):  # raised by a model about several of its fields
        return [f"{path}.{text}" if path else text for text in own.args]
    what = _what(where, allowed)
    if detail["type"] == "missing":
        return [f"{path} is missing: must be {what}"]
    return [sentence(path or "the provision config", detail["input"], f"must be {what}")]


def _what(where: Sequence[str | int], allowed: Callable[[str, str], str | None]) -> str:
    if not where or isinstance(where[-1], int):
        return "a JSON object"
    parent = ".".join(part for part in where[:-1] if isinstance(part, str))
    return allowed(parent, str(where[-1])) or "another value"


def _path(where: Sequence[str | int]) -> str:
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _shown(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    text = text.encode(errors="backslashreplace").decode()  # half a surrogate pair could not be sent on
    return text if len(text) <= VALUE_LENGTH_MAX else text[: VALUE_LENGTH_MAX - 1] + "…"
