"""Fills in `${vars.x}`, `${env('X')}` and `${env.X}` in a deployment file.

A value that is nothing but one reference takes the type of what it refers to; inside a text it becomes text. `$${`
stands for a plain `${`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from control_plane.cli.problems import Problems
from control_plane.cli.yaml_source import Path, Source

ALLOWED: Final = "allowed: ${vars.NAME}, ${env('NAME')}, ${env('NAME', 'default')}, ${env.NAME}"
_DEPTH_MAX: Final = 16

_REFERENCE: Final = re.compile(r"\$?\$\{([^{}]*)\}")
_VARS: Final = re.compile(r"vars((?:\.[A-Za-z0-9_-]+)+)")
_ENV_CALL: Final = re.compile(r"env\(\s*(['\"])([A-Za-z_][A-Za-z0-9_]*)\1\s*(?:,\s*(['\"])(.*)\3\s*)?\)")
_ENV_DOT: Final = re.compile(r"env\.([A-Za-z_][A-Za-z0-9_]*)")


def interpolate(source: Source, environment: Mapping[str, str], problems: Problems) -> Any:
    """The source's value with every reference filled in; what cannot be is a problem and stays as it was written."""
    variables = source.value.get("vars") if isinstance(source.value, dict) else None
    return _Filler(variables if isinstance(variables, dict) else {}, environment, problems).fill(source.value, ())


class _Filler:
    def __init__(self, variables: dict[str, Any], environment: Mapping[str, str], problems: Problems) -> None:
        self._variables = variables
        self._environment = environment
        self._problems = problems

    def fill(self, value: Any, path: Path, depth: int = 0) -> Any:
        if isinstance(value, dict):
            return {key: self.fill(item, (*path, key), depth) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item, (*path, index), depth) for index, item in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            return self._text(value, path, depth)
        return value

    def _text(self, text: str, path: Path, depth: int) -> Any:
        whole = _REFERENCE.fullmatch(text)
        if whole and not text.startswith("$$"):
            return self._resolve(whole, path, depth)
        return _REFERENCE.sub(lambda match: self._inside(match, path, depth), text)

    def _inside(self, match: re.Match[str], path: Path, depth: int) -> str:
        if match.group().startswith("$$"):
            return match.group()[1:]
        value = self._resolve(match, path, depth)
        if isinstance(value, dict | list):
            self._problems.add(path, f"{match.group()} is a mapping or a list and cannot stand inside a text")
            return match.group()
        if isinstance(value, bool):
            return "true" if value else "false"
        return "" if value is None else str(value)

    def _resolve(self, match: re.Match[str], path: Path, depth: int) -> Any:
        expression = match.group(1).strip()
        if depth >= _DEPTH_MAX:
            self._problems.add(path, f"{match.group()} refers to itself")
            return match.group()
        if found := _VARS.fullmatch(expression):
            return self._variable(found.group(1)[1:].split("."), match.group(), path, depth)
        if found := _ENV_CALL.fullmatch(expression):
            return self._environment_value(found.group(2), found.group(4), match.group(), path)
        if found := _ENV_DOT.fullmatch(expression):
            return self._environment_value(found.group(1), None, match.group(), path)
        self._problems.add(path, f"{match.group()} is not understood; {ALLOWED}")
        return match.group()

    def _variable(self, names: list[str], written: str, path: Path, depth: int) -> Any:
        value: Any = self._variables
        for name in names:
            if not isinstance(value, dict) or name not in value:
                have = ", ".join(sorted(self._variables)) or "none"
                self._problems.add(path, f"{written}: no such variable under vars; there: {have}")
                return written
            value = value[name]
        return self.fill(value, path, depth + 1)

    def _environment_value(self, name: str, default: str | None, written: str, path: Path) -> str:
        value = self._environment.get(name, default)
        if value is None:
            self._problems.add(path, f"{written}: the environment variable {name} is not set")
            return written
        return value
