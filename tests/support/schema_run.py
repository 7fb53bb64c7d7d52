"""Requests that schemathesis makes from the API's own OpenAPI document, and what of it the server does not keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks

from control_plane.api.app import create_app
from control_plane.code_store import FolderCodeStore
from control_plane.registry.memory import MemoryRegistry
from control_plane.settings import ControlPlaneSettings
from control_plane.testing import FakeFleet

EXAMPLES_MAX = 3  # of each operation: a few hundred requests in all
# 2016-08-15 is the tree of 2021-04-06 under another prefix.
PREFIXES = ("/2021-04-06", "/2023-03-30", "/stoke/v1/status", "/stoke/v1/provision", "/stoke/v1/instances")
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


def broken_promises(folder: Path) -> list[str]:
    """One line for each operation that answered otherwise than the document says; the first failure of each."""
    app = create_app(MemoryRegistry(), FakeFleet(), FolderCodeStore(folder), ControlPlaneSettings(data=folder))
    schema = schemathesis.openapi.from_asgi("/stoke/v1/openapi.json", app)
    broken = []
    for found in schema.get_all_operations():
        if not isinstance(found, Ok):
            broken.append(f"the document cannot be read: {found.err()}")
            continue
        operation = found.ok()
        if operation.path.startswith(PREFIXES):
            try:
                _try(operation)
            except Exception as error:
                broken.append(f"{operation.method} {operation.path}: {error}")
    return broken


def _try(operation: Any) -> None:
    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES_MAX,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def answers(case: Any) -> None:
        response = case.call()
        case.validate_response(response, checks=CHECKS)

    answers()
