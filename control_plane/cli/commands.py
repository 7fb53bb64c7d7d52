"""The table of commands, and the typer app made from it.

A command's module is imported when the command is used, so that `stoke invoke` does not pay for what `stoke up` needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, Final

import typer

from control_plane.cli.context import Access, Data, Debug, Endpoint, Options, OutputFormat, Template

# name → module, attribute; or a table of its own: a command with commands under it.
Table = Mapping[str, "tuple[str, str] | Table"]

TABLE: Final[Table] = {
    "up": ("up", "up"),
    "down": ("up", "down"),
    "status": ("status", "status"),
    "build": ("build", "build"),
    "deploy": ("deploy", "deploy"),
    "invoke": ("invoke", "invoke"),
    "provision": {
        "put": ("provision", "put"),
        "get": ("provision", "get"),
        "list": ("provision", "list_"),
        "explain": ("explain", "explain"),
        "suggest": ("parts", "suggest"),
    },
    "keys": {
        "create": ("keys", "create"),
        "list": ("keys", "list_"),
        "enable": ("keys", "enable"),
        "disable": ("keys", "disable"),
        "remove": ("keys", "remove"),
    },
    "info": ("info", "info"),
    "instances": ("instances", "instances"),
    "nodes": ("nodes", "nodes"),
    "logs": ("logs", "logs"),
    "usage": ("usage", "usage"),
    "exec": ("shell", "exec_"),
    "remove": ("remove", "remove"),
    "simulate": ("parts", "simulate"),
    "gateway": ("parts", "gateway"),
    "node": ("parts", "node"),
    "control-plane": ("parts", "control_plane"),
}
GROUP_HELP: Final = {
    "provision": "How many instances of a function are kept ready.",
    "keys": "Who may ask Stoke for what.",
}

# Everything after the name of a part, or of the simulator, is for it.
_PASS_THROUGH: Final = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


class LazyCommands(Mapping[str, Any]):
    """Commands by name, each made when it is first asked for."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            entry = self._table[name]
            self._made[name] = _group(name, entry) if isinstance(entry, Mapping) else _single(name, *entry)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


def app() -> Any:
    """The whole of `stoke`, as typer's command object."""
    return _group("stoke", TABLE, "GPU functions in the style of Function Compute, on machines you own.")


def _group(name: str, table: Table, help_text: str | None = None) -> Any:
    group = typer.Typer(
        name=name, help=help_text or GROUP_HELP[name], callback=_common, no_args_is_help=True, add_completion=False
    )
    made = typer.main.get_command(group)
    made.commands = LazyCommands(table)  # type: ignore[attr-defined]
    return made


def _single(name: str, module: str, attribute: str) -> Any:
    function: Callable[..., None] = getattr(import_module(f"control_plane.cli.{module}"), attribute)
    single = typer.Typer(add_completion=False)
    settings = _PASS_THROUGH if module == "parts" else {}
    single.command(name=name, context_settings=settings)(function)
    return typer.main.get_command(single)


def _common(
    context: typer.Context,
    template: Template = None,
    access: Access = None,
    output: OutputFormat = None,
    endpoint: Endpoint = None,
    data: Data = None,
    debug: Debug = False,
) -> None:
    outer = context.obj if isinstance(context.obj, Options) else Options()
    context.obj = Options(template, access, output, endpoint, data, debug).over(outer)
    if data is not None:  # these two have a --data of their own, for which they know an environment variable
        context.default_map = {"up": {"data": str(data)}, "down": {"data": str(data)}}
