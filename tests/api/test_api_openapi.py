"""The OpenAPI document: complete, valid where the validator is installed, and kept to by the server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from control_plane.api.paths import TREES
from tests.api.conftest import Api


async def test_the_document_has_every_path_with_its_parameters(api: Api) -> None:
    status, document = await api.send("GET", "/stoke/v1/openapi.json")
    assert (status, document["openapi"]) == (200, "3.1.0")
    for prefix, table in TREES:
        for path, method, _ in table:
            described = document["paths"][prefix + path][method.lower()]
            named = {found["name"] for found in described["parameters"] if found["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))
            assert "default" in described["responses"]


async def test_every_schema_that_is_referred_to_is_there(api: Api) -> None:
    _, document = await api.send("GET", "/stoke/v1/openapi.json")

    def references(value: Any) -> set[str]:
        if isinstance(value, list):
            return {found for item in value for found in references(item)}
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own | {found for item in value.values() for found in references(item)}
        return set()

    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known


async def test_a_function_of_fc_3_is_described_in_its_groups(api: Api) -> None:
    _, document = await api.send("GET", "/stoke/v1/openapi.json")
    schema = document["components"]["schemas"]["Function3"]
    assert {"gpuConfig", "customContainerConfig", "logConfig", "timeout"} <= set(schema["properties"])
    assert not {"gpuMemorySize", "caPort", "serviceName"} & set(schema["properties"])
    assert schema["required"] == ["functionName", "runtime"]


def test_what_the_document_allows_is_answered_as_it_says(tmp_path: Path) -> None:
    """Requests made from the schemas, over an application of its own: nothing ends in a 5xx or in an unknown shape."""
    schemathesis = pytest.importorskip(
        "schemathesis", reason="schemathesis is a development dependency: scripts/install"
    )
    from tests.support.schema_run import broken_promises

    del schemathesis
    assert broken_promises(tmp_path) == []
