"""The pages say what there is: each command, option and field of a deployment file, and nothing that there is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.cli import manifest_fields as fields
from control_plane.cli.commands import app
from control_plane.cli.package import SKIPPED_FILES, SKIPPED_FOLDERS, SKIPPED_SUFFIXES

DOCS = Path(__file__).parents[2] / "docs"
OBVIOUS = {"--help"}


def options(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from (name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("-"))
    for name in getattr(command, "commands", {}):
        yield from options(command.commands[name])


def test_every_option_of_every_command_is_in_the_page() -> None:
    page = (DOCS / "cli.md").read_text()
    written = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", page))
    missing = set(options(app())) - written - OBVIOUS
    assert missing == set()


def test_the_page_names_no_option_that_there_is_not() -> None:
    page = (DOCS / "cli.md").read_text()
    written = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page))
    assert written - set(options(app())) - OBVIOUS == set()


def test_every_command_has_a_heading_or_a_line_in_the_page() -> None:
    page = (DOCS / "cli.md").read_text()
    assert [name for name in app().commands if f"stoke {name}" not in page] == []


@pytest.mark.parametrize("table", [name for name in vars(fields) if name.isupper()])
def test_every_field_of_a_deployment_file_is_in_the_page(table: str) -> None:
    page = set(re.findall(r"[A-Za-z0-9]+", (DOCS / "s-yaml.md").read_text()))
    value: Any = getattr(fields, table)
    names = set(value)
    if isinstance(value, dict) and table != "NO_EFFECT":
        names |= {name for nested in value.values() for name in nested}
    assert names - page == set()


def test_what_is_left_out_of_a_code_package_is_in_the_page() -> None:
    page = (DOCS / "s-yaml.md").read_text()
    left_out = {*SKIPPED_FOLDERS, *SKIPPED_FILES, *(f"*{suffix}" for suffix in SKIPPED_SUFFIXES)}
    assert [name for name in left_out if f"`{name}`" not in page] == []
