"""What every command starts from: the options they all have, and a Session that finds the file, Stoke and the key.

`command` gives a function those options, so that they may stand before or after the command's name, and hands it a
Session in their place.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from control_plane.cli.endpoint import data_folder, find_credentials, find_endpoint, find_trust
from control_plane.cli.failures import BadInput
from control_plane.cli.output import Format, Output

if TYPE_CHECKING:
    from control_plane.cli.client import Client
    from control_plane.cli.manifest import Manifest

_PANEL = "Common options"

Template = Annotated[
    Path | None,
    typer.Option("--template", "-t", help="The deployment file (default: ./s.yaml or ./s.yml)", rich_help_panel=_PANEL),
]
Access = Annotated[
    str | None,
    typer.Option(
        "--access", "-a", help="A credential's name, as FC's tools take; there is one key here", rich_help_panel=_PANEL
    ),
]
OutputFormat = Annotated[
    Format | None, typer.Option("--output", "-o", help="How to print the result", rich_help_panel=_PANEL)
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        help="Stoke's URL (default: STOKE_ENDPOINT, else what DATA/stoke.json says)",
        rich_help_panel=_PANEL,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="The data folder (default: STOKE_DATA, else ~/.stoke)", rich_help_panel=_PANEL),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show requests and tracebacks on stderr", rich_help_panel=_PANEL)]


@dataclass(frozen=True, slots=True)
class Options:
    """The options every command has. None and False mean: not said."""

    template: Path | None = None
    access: str | None = None
    output: Format | None = None
    endpoint: str | None = None
    data: Path | None = None
    debug: bool = False

    def over(self, outer: Options) -> Options:
        """These, with `outer` for what they do not say."""
        return Options(*(getattr(self, f.name) or getattr(outer, f.name) for f in fields(self)))


class Session:
    """One run of a command. `environment` is read once, by whoever makes the session."""

    def __init__(self, options: Options, environment: Mapping[str, str], output: Output | None = None) -> None:
        self.options = options
        self.environment = environment
        self.output = output or Output(options.output)

    @property
    def data(self) -> Path:
        return data_folder(self.options.data, self.environment)

    def client(self) -> Client:
        """Raises Unreachable when nothing says where Stoke is."""
        from control_plane.cli.client import Client  # httpx takes longer to import than most commands to run

        endpoint = find_endpoint(self.options.endpoint, self.data, self.environment)
        trust = find_trust(self.options.endpoint, self.data, self.environment)
        return Client(endpoint, find_credentials(self.data, self.environment), debug=self.options.debug, trust=trust)

    def manifest(self) -> Manifest | None:
        """The deployment file, checked; None when there is none. Raises BadInput."""
        from control_plane.cli.manifest import find_template, load_manifest

        path = find_template(self.options.template, Path.cwd())
        return load_manifest(path, self.environment) if path else None

    def required_manifest(self) -> Manifest:
        """As manifest, but without a file: BadInput."""
        manifest = self.manifest()
        if manifest is None:
            raise BadInput("no s.yaml or s.yml in this folder: name the deployment file with -t")
        return manifest


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make `function(session, …)` a typer command function that also takes the common options."""

    def run(**values: Any) -> None:
        context: typer.Context = values.pop("context")
        own = Options(**{f.name: values.pop(f.name) for f in fields(Options)})
        outer = context.obj if isinstance(context.obj, Options) else Options()
        function(Session(own.over(outer), os.environ), **values)

    keyword = inspect.Parameter.KEYWORD_ONLY
    common = (Template, Access, OutputFormat, Endpoint, Data)
    parameters = [inspect.Parameter("context", keyword, annotation=typer.Context)]
    parameters += [
        parameter.replace(kind=keyword)
        for parameter in list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    ]
    names = [f.name for f in fields(Options)]
    parameters += [
        inspect.Parameter(name, keyword, default=None, annotation=annotation)
        for name, annotation in zip(names, common, strict=False)
    ]
    parameters.append(inspect.Parameter("debug", keyword, default=False, annotation=Debug))
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
