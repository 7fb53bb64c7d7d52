"""Reads YAML as plain values together with the line each of them came from, so that a problem can name its line.

Scalars follow YAML 1.2's core schema, as the FC tools read s.yaml: `yes` and `on` are words, `2023-01-01` is text.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from control_plane.cli.failures import BadInput

Path = tuple[str | int, ...]

# Anchors let a small file stand for an enormous one; no real s.yaml comes near either limit.
SOURCE_BYTES_MAX: Final = 1024 * 1024
NODES_MAX: Final = 50_000
DEPTH_MAX: Final = 64

_TAG: Final = "tag:yaml.org,2002:"


class _CoreLoader(yaml.SafeLoader):
    """SafeLoader with the implicit types of YAML 1.2 instead of 1.1."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - filled once, below, and declared so by PyYAML


for _name, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
    ("merge", r"^<<$", ["<"]),
):
    _CoreLoader.add_implicit_resolver(_TAG + _name, re.compile(_pattern), _first)


@dataclass(slots=True)
class Source:
    """One file: its values, the line (from 1) of every path in it, and how each scalar was spelled."""

    name: str
    value: Any
    lines: dict[Path, int] = field(default_factory=dict)
    texts: dict[Path, str] = field(default_factory=dict)

    def line_of(self, path: Path) -> int:
        """The line of `path`, or of the nearest thing around it that the file has."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_source(text: str, name: str) -> Source:
    """Parse `text`.

    Raises:
        BadInput: not YAML, a key given twice, a recursive anchor, or larger than the limits above; names the line.
    """
    if len(text.encode()) > SOURCE_BYTES_MAX:
        raise BadInput(f"{name}: larger than {SOURCE_BYTES_MAX} bytes, the most a deployment file may have")
    try:
        root = yaml.compose(text, Loader=_CoreLoader)
    except yaml.YAMLError as error:
        raise BadInput(_yaml_message(name, error)) from error
    source = Source(name, None)
    if root is not None:
        source.value = _Reader(source).read(root, ())
    return source


def _yaml_message(name: str, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    what = " ".join(part for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part)
    line = f":{mark.line + 1}" if mark is not None else ""
    return f"{name}{line}: not valid YAML: {what or error}"


class _Reader:
    """Turns composed nodes into values, noting lines. One object reads one file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._nodes = 0

    def read(self, node: yaml.Node, path: Path) -> Any:
        self._nodes += 1
        if self._nodes > NODES_MAX or len(path) > DEPTH_MAX:
            raise self._bad(node, f"more than {NODES_MAX} values, or nested deeper than {DEPTH_MAX}")
        self._source.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        self._source.texts[path] = node.value
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                self._merge(value_node, path, merged)
                continue
            key = self._key(key_node)
            if key in own:
                raise self._bad(key_node, f"the key {key!r} is given twice")
            self._source.lines[(*path, key)] = key_node.start_mark.line + 1
            own[key] = self.read(value_node, (*path, key))
        # A key of the mapping itself wins over the same key merged with `<<`, wherever it stands.
        return {**merged, **own}

    def _merge(self, node: yaml.Node, path: Path, into: dict[str, Any]) -> None:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for part in parts:
            value = self.read(part, path)
            if not isinstance(value, dict):
                raise self._bad(part, "`<<` merges a mapping, or a list of mappings")
            for key, item in value.items():
                into.setdefault(key, item)

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._bad(node, "a key must be a word")
        return str(node.value)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        kind = node.tag.removeprefix(_TAG)
        text: str = node.value
        try:
            match kind:
                case "null":
                    return None
                case "bool":
                    return text.lower() == "true"
                case "int":
                    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
                case "float":
                    return _float(text)
                case "str" | "merge":
                    return text
        except ValueError as error:
            raise self._bad(node, f"{text!r} is not a YAML {kind}") from error
        raise self._bad(node, f"the tag {node.tag!r} is not known here")

    def _bad(self, node: yaml.Node, what: str) -> BadInput:
        return BadInput(f"{self._source.name}:{node.start_mark.line + 1}: {what}")


def _float(text: str) -> float:
    word = text.lower().lstrip("+-")
    if word == ".inf":
        return -math.inf if text.startswith("-") else math.inf
    return math.nan if word == ".nan" else float(text)
