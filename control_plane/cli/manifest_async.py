"""What an s.yaml says of asynchronous invocations, as the API takes it: `asyncConfiguration`, `asyncInvokeConfig`."""

from __future__ import annotations

from typing import Any, Final

from control_plane.cli.manifest_fields import ASYNC_1, ASYNC_3
from control_plane.cli.problems import Problems
from control_plane.cli.yaml_source import Path as FieldPath
from control_plane.settings_nouns import AsyncInvokeConfig
from runtime.async_invocation import destinations
from runtime.contract import LATEST

_OUTCOMES: Final = ("onSuccess", "onFailure")

Configs = dict[str, dict[str, Any]]
"""By qualifier."""


def configuration(value: Any, path: FieldPath, problems: Problems) -> Configs:
    """Edition 1.0.0: for LATEST, with its destinations as texts, or as the API has them."""
    config = _fields(value, ASYNC_1, path, problems)
    plain = config.pop("destination", None)
    if plain is not None:
        given = problems.mapping(plain, (*path, "destination"))
        problems.known_fields(given, _OUTCOMES, (*path, "destination"))
        for outcome, to in given.items():
            _check_destination(to, (*path, "destination", outcome), problems)
        config["destinationConfig"] = {outcome: {"destination": to} for outcome, to in given.items() if to}
    return _checked(config, LATEST, path, problems)


def invoke_config(value: Any, path: FieldPath, problems: Problems) -> Configs:
    """Edition 3.0.0: for its `qualifier`, LATEST if it has none."""
    config = _fields(value, ASYNC_3, path, problems)
    qualifier = str(config.pop("qualifier", None) or LATEST)
    return _checked(config, qualifier, path, problems)


def _fields(value: Any, known: frozenset[str], path: FieldPath, problems: Problems) -> dict[str, Any]:
    given = problems.mapping(value, path) if value is not None else {}
    problems.known_fields(given, known, path)
    return {key: item for key, item in given.items() if item is not None}


def _checked(config: dict[str, Any], qualifier: str, path: FieldPath, problems: Problems) -> Configs:
    if not config:
        return {}
    place = (*path, "destinationConfig")
    given = config.get("destinationConfig")
    known = given if isinstance(given, dict) else {}
    problems.known_fields(known, _OUTCOMES, place)
    for outcome, to in known.items():
        if isinstance(to, dict):
            problems.known_fields(to, ("destination",), (*place, outcome))
            _check_destination(to.get("destination"), (*place, outcome, "destination"), problems)
    problems.validate(AsyncInvokeConfig, config, path)
    return {qualifier: config}


def _check_destination(to: Any, path: FieldPath, problems: Problems) -> None:
    if to is None or (isinstance(to, str) and not to):
        return
    try:
        destinations.parse(str(to))
    except ValueError:
        problems.add(path, f"{to!r} is not allowed: must be {destinations.ALLOWED}")
