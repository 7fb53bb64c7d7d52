"""Stoke's own settings in a deployment file, which Function Compute does not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.cli.failures import BadInput
from control_plane.cli.manifest import load_manifest

OWN = "stoke: {priority: 9, sessionAffinity: {type: Cookie, key: sid}}"
FIRST = """
edition: 1.0.0
services:
  one:
    component: fc
    props:
      service: {name: svc}
      function: {name: fn, runtime: custom, handler: not-used}
      triggers: [{name: http, type: http, config: {methods: [GET]}}]
"""
THIRD = """
edition: 3.0.0
resources:
  one:
    component: fc3
    props:
      region: cn-local
      functionName: fn
      runtime: custom
      triggers: [{triggerName: http, triggerType: http, triggerConfig: {methods: [GET]}}]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "s.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", [FIRST, THIRD], ids=["1.0.0", "3.0.0"])
def test_those_of_a_trigger_are_read_in_either_edition(text: str, tmp_path: Path) -> None:
    path = written(tmp_path, text.replace("methods: [GET]", f"methods: [GET], {OWN}"))
    (plan,) = load_manifest(path, {}).plans
    (made,) = plan.triggers
    assert made["triggerConfig"]["stoke"] == {"priority": 9, "sessionAffinity": {"type": "Cookie", "key": "sid"}}


def test_wrong_ones_are_named_with_what_is_wrong(tmp_path: Path) -> None:
    text = FIRST.replace("methods: [GET]", "methods: [GET], stoke: {priority: 10, sessions: 1}")
    text = text.replace("handler: not-used", "handler: not-used, stoke: {importBeforeForks: false}")
    with pytest.raises(BadInput) as caught:
        load_manifest(written(tmp_path, text), {})
    said = str(caught.value).splitlines()
    assert any(line.endswith("function.stoke.importBeforeForks: unknown field") for line in said)
    assert any("config.stoke.priority: 10 is not allowed" in line for line in said)
    assert any(line.endswith("config.stoke.sessions: unknown field") for line in said)
