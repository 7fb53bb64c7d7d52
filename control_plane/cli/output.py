"""What a command prints: its result on stdout, as JSON, YAML or a table, and everything else on stderr.

So `-o json` leaves pure JSON on stdout, and a script may ignore the rest.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Final, TextIO

import yaml
from rich.console import Console
from rich.table import Table

# Wider than any table of ours: a row is one line, so that an id can be copied whole and `grep` finds it.
_TABLE_WIDTH: Final = 1000


class Format(StrEnum):
    JSON = "json"
    YAML = "yaml"
    TABLE = "table"


class Output:
    """Streams and the chosen format. `chosen` is None when the user did not say: each command has its own default."""

    def __init__(self, chosen: Format | None, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.chosen = chosen
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr

    def result(self, value: Any, *, default: Format = Format.YAML, columns: Sequence[str] = ()) -> None:
        """Print a command's result. `columns` picks and orders the fields of a table; [] = those of the first row."""
        match self.chosen or default:
            case Format.JSON:
                print(json.dumps(value, indent=2, ensure_ascii=False), file=self._stdout)
            case Format.YAML:
                text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
                print(text.removesuffix("...\n").rstrip("\n"), file=self._stdout)
            case Format.TABLE:
                self._table(_rows(value), columns)
        self._stdout.flush()

    def line(self, text: str) -> None:
        """One line of plain text on stdout, for commands whose result is text."""
        print(text, file=self._stdout, flush=True)

    def progress(self, text: str) -> None:
        """What is being done or worth knowing; never part of the result."""
        print(text, file=self._stderr, flush=True)

    @contextmanager
    def live(self) -> Iterator[Callable[[str], None]]:
        """A line that changes in place on a terminal; elsewhere each new text is a line of its own."""
        if self._stderr.isatty():
            with Console(file=self._stderr).status("") as status:
                yield status.update
            return
        last = ""

        def update(text: str) -> None:
            nonlocal last
            if text != last:
                self.progress(text)
            last = text

        yield update

    def _table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        names = list(columns) or list(rows[0] if rows else ())
        table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
        for name in names:
            table.add_column(name, no_wrap=True)
        for row in rows:
            table.add_row(*(_cell(row.get(name)) for name in names))
        Console(file=self._stdout, width=_TABLE_WIDTH, highlight=False, markup=False).print(table, soft_wrap=True)


def _rows(value: Any) -> list[dict[str, Any]]:
    """A list is rows already; a mapping of mappings is a row for each key; anything else is one row."""
    if isinstance(value, list):
        return value
    if value and all(isinstance(item, dict) for item in value.values()):
        return [{"name": key, **item} for key, item in value.items()]
    return [value]


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False) if value else "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
