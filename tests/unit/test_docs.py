"""The documents name what there is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from control_plane.settings import ControlPlaneSettings
from runtime.gateway.settings import GatewaySettings
from runtime.node.settings import NodeSettings

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("functions/*/README.md")])

SETTINGS = {
    "control plane": list(ControlPlaneSettings.model_fields),
    "gateway": [field.name for field in dataclasses.fields(GatewaySettings)],
    "node": [field.name for field in dataclasses.fields(NodeSettings)],
}


@pytest.mark.parametrize("part", SETTINGS)
def test_every_setting_is_in_the_operations_page(part: str) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    section = page.partition(f"## Settings of the {part}")[2].partition("\n## ")[0]
    assert [name for name in SETTINGS[part] if f"`{name}`" not in section] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_what_the_specification_names_as_evidence_exists() -> None:
    text = (ROOT / "SPECIFICATION.md").read_text()
    for path, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text):
        assert (ROOT / path).exists(), path
        assert not name or f"def {name}(" in (ROOT / path).read_text(), name
    for module in re.findall(r"`python -m ([\w.]+)`", text):
        assert (ROOT / (module.replace(".", "/") + ".py")).exists(), module
