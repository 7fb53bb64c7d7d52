"""s.yaml → what to deploy. Reads either edition, checks all of it, and says everything that is wrong at once.

The result speaks FC 2.0 (service → function → triggers), whichever edition the file has; the readers of the two
editions live in `manifest_fc.py` and `manifest_fc3.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_plane.cli import manifest_domains, manifest_fc, manifest_fc3
from control_plane.cli.failures import BadInput
from control_plane.cli.interpolation import interpolate
from control_plane.cli.plans import DomainPlan, FunctionPlan
from control_plane.cli.problems import Problems, shown
from control_plane.cli.yaml_source import read_source

DEFAULT_NAMES: Final = ("s.yaml", "s.yml")
EDITIONS: Final = ("1.0.0", "3.0.0")


@dataclass(frozen=True, slots=True)
class Manifest:
    path: Path
    edition: str
    name: str
    plans: tuple[FunctionPlan, ...]
    notes: tuple[str, ...] = ()  # fields that are accepted and have no effect
    domains: tuple[DomainPlan, ...] = ()  # custom domains that are entries of their own


def find_template(template: Path | None, folder: Path) -> Path | None:
    """The file to read: what the user named, else ./s.yaml or ./s.yml, else None.

    Raises:
        BadInput: the file the user named does not exist.
    """
    if template is not None:
        if not template.is_file():
            raise BadInput(f"{template}: no such file")
        return template
    return next((folder / name for name in DEFAULT_NAMES if (folder / name).is_file()), None)


def load_manifest(path: Path, environment: Mapping[str, str]) -> Manifest:
    """Read and check the file; `environment` fills `${env(…)}`. Reads no code yet, but checks that it is there.

    Raises:
        BadInput: one line for each problem, with file, line, field, value and what is allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from error
    source = read_source(text, str(path))
    problems = Problems(source)
    top = problems.mapping(interpolate(source, environment, problems), ())
    problems.raise_if_any()

    edition = str(top.get("edition") or ("3.0.0" if "resources" in top else "1.0.0"))
    if edition not in EDITIONS:
        problems.add(("edition",), f"{shown(edition)} is not allowed: must be one of {', '.join(EDITIONS)}")
        problems.raise_if_any()
    reader = manifest_fc.read if edition == "1.0.0" else manifest_fc3.read
    entries = reader(top, source, problems, path.resolve().parent)
    plans = tuple(entry for entry in entries if isinstance(entry, FunctionPlan))
    domains = tuple(entry for entry in entries if isinstance(entry, DomainPlan))
    _check_names(plans, edition, problems)
    manifest_domains.check_together(plans, domains, problems)
    problems.raise_if_any()
    return Manifest(path, edition, str(top.get("name") or ""), plans, problems.notes, domains)


def _check_names(plans: tuple[FunctionPlan, ...], edition: str, problems: Problems) -> None:
    """No function twice; and a service that several entries describe has one description."""
    group = "services" if edition == "1.0.0" else "resources"
    services: dict[str, FunctionPlan] = {}
    functions: dict[tuple[str, str], FunctionPlan] = {}
    for plan in plans:
        where = (group, plan.key, "props")
        first = services.setdefault(plan.service_name, plan)
        if first.service != plan.service:
            different = sorted(k for k in first.service | plan.service if first.service.get(k) != plan.service.get(k))
            problems.add(
                (*where, "service"),
                f"the service {plan.service_name} is also described under {first.key}, differently "
                f"({', '.join(different)}): must be the same in both",
            )
        name = (plan.service_name, plan.function_name)
        other = functions.setdefault(name, plan)
        if other is not plan:
            problems.add(where, f"the function {name[1]} of the service {name[0]} is also described under {other.key}")
