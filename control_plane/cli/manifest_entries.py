"""What the readers of both editions begin with: the file's entries, an entry's component, and the lists inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from control_plane.cli import manifest_parts as parts
from control_plane.cli.problems import Problems
from control_plane.cli.yaml_source import Path as FieldPath

Trigger = dict[str, Any]
Plan = TypeVar("Plan")


def checked(value: dict[str, Any], fields: frozenset[str], path: FieldPath, problems: Problems) -> dict[str, Any]:
    """`value` again; fields that nobody knows, and those without effect, are told of."""
    problems.known_fields(value, fields, path)
    parts.note_without_effect(value, path, problems)
    return value


def read_all(
    top: dict[str, Any],
    section: str,
    fields: frozenset[str],
    of_what: str,
    read: Callable[[str, Any], Plan | None],
    problems: Problems,
) -> tuple[Plan, ...]:
    """The plan of each entry under `section`; problems are added, and only without any is the result whole."""
    checked(top, fields, (), problems)
    entries = problems.mapping(top.get(section), (section,)) if section in top else {}
    if not entries:
        problems.add((), f"{section} is required: a mapping of at least one {of_what}")
    plans = [read(key, value) for key, value in entries.items()]
    return tuple(plan for plan in plans if plan is not None)


def component_of(value: Any, fields: frozenset[str], path: FieldPath, problems: Problems) -> tuple[dict[str, Any], str]:
    """An entry as a mapping, and its component without the version it may be pinned to (`fc@0.1.35`)."""
    entry = checked(problems.mapping(value, path), fields, path, problems)
    return entry, str(entry.get("component") or "").partition("@")[0]


def triggers(
    value: Any, path: FieldPath, read: Callable[[Any, FieldPath], Trigger], problems: Problems
) -> tuple[Trigger, ...]:
    """Each trigger of a list that may be missing. No two have one name, or lead to one qualifier."""
    if value is None:
        return ()
    found = tuple(read(item, (*path, index)) for index, item in enumerate(problems.items(value, path)))
    for what, key in (("name", "triggerName"), ("qualifier", "qualifier")):
        seen: set[str] = set()
        for index, one in enumerate(found):
            if one[key] and one[key] in seen:
                problems.add((*path, index), f"another trigger has the {what} {one[key]}: must be another one")
                return found
            seen.add(one[key])
    return found


def trigger(value: Trigger, config: Any, spelled: dict[str, str], path: FieldPath, problems: Problems) -> Trigger:
    """The request that makes a trigger; `spelled` maps its fields to the file's names for them."""
    body = {
        "triggerName": problems.text(value, spelled["triggerName"], path),
        "triggerType": problems.text(value, spelled["triggerType"], path),
        "triggerConfig": config,
        "qualifier": str(value.get("qualifier") or "LATEST"),
        "description": value.get("description") or "",
        "sourceArn": value.get("sourceArn"),
        "invocationRole": value.get(spelled["invocationRole"]),
    }
    return parts.http_trigger(body, path, spelled, problems)
