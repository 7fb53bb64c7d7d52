"""Collects everything that is wrong with a file, so that the user sees it all at once, each with its line and field."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from control_plane.cli.failures import BadInput
from control_plane.cli.yaml_source import Path, Source

_SHOWN_CHARS_MAX = 60


def dotted(path: Path) -> str:
    """("services", "gpu", "triggers", 0) → "services.gpu.triggers[0]"."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def shown(value: Any) -> str:
    """A value as an error message shows it: as JSON, and short."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARS_MAX else text[: _SHOWN_CHARS_MAX - 1] + "…"


def suggestion(word: str, allowed: Collection[str]) -> str:
    """ "did you mean `timeout`?", or the whole list when nothing is near."""
    by_lower = {name.lower(): name for name in allowed}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.7)
    return f"did you mean {by_lower[near[0]]}?" if near else f"allowed: {', '.join(sorted(allowed))}"


class Problems:
    """What is wrong (`add`), and what is right but does nothing here (`note`), of one source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._found: list[tuple[int, str]] = []
        self._notes: list[tuple[int, str]] = []

    def add(self, path: Path, message: str) -> None:
        line = self._source.line_of(path)
        self._found.append((line, f"{self._source.name}:{line}: {dotted(path) or 'the file'}: {message}"))

    def note(self, path: Path, message: str) -> None:
        line = self._source.line_of(path)
        self._notes.append((line, f"{self._source.name}:{line}: {dotted(path)}: {message}"))

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(text for _, text in sorted(self._notes)))

    def raise_if_any(self) -> None:
        """Raises BadInput with one line a problem, in the order of the file."""
        if self._found:
            raise BadInput("\n".join(dict.fromkeys(text for _, text in sorted(self._found))))

    def mapping(self, value: Any, path: Path) -> dict[str, Any]:
        """`value` when it is a mapping, else a problem and {}."""
        if isinstance(value, dict):
            return value
        self.add(path, f"{shown(value)} is not allowed: must be a mapping")
        return {}

    def items(self, value: Any, path: Path) -> list[Any]:
        """`value` when it is a list, else a problem and []."""
        if isinstance(value, list):
            return value
        self.add(path, f"{shown(value)} is not allowed: must be a list")
        return []

    def known_fields(self, value: Mapping[str, Any], allowed: Collection[str], path: Path) -> None:
        for key in value:
            if key not in allowed:
                self.add((*path, key), f"unknown field; {suggestion(key, allowed)}")

    def text(self, value: Mapping[str, Any], key: str, path: Path) -> str:
        """A required, non-empty text; "" and a problem otherwise."""
        found = value.get(key)
        if isinstance(found, str) and found:
            return found
        if found is None:
            self.add(path, f"the field {key} is required")
        else:
            self.add((*path, key), f"{shown(found)} is not allowed: must be a text that is not empty")
        return ""

    def validate(
        self, model: type[BaseModel], body: Mapping[str, Any], path: Path, renamed: Mapping[str, Path] | None = None
    ) -> None:
        """Check `body` against one of the control plane's nouns.

        `renamed` says where in the file a field of the noun was written, for those that are called otherwise there.
        """
        try:
            model.model_validate(dict(body))
        except ValidationError as error:
            for item in error.errors():
                location = tuple(item["loc"])
                first = str(location[0]) if location else ""
                place = (*(renamed or {}).get(first, (first,)), *location[1:])
                self.add((*path, *place), _pydantic_message(item))


def _pydantic_message(item: Any) -> str:
    rule = re.sub(r"^(Input|String|List|Value) should ", "must ", str(item["msg"]))
    if item["type"] == "missing":
        return "this field is required"
    if item["type"] == "extra_forbidden":
        return "unknown field"
    return f"{shown(item['input'])} is not allowed: {rule}"
