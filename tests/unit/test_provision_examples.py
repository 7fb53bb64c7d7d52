"""The examples can be put as they are, and the reference page knows every field."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from provision.config import MODELS, MetricType, parse, spelled_fields, unknown_fields
from provision.decide import Memory, Seen, step
from tests.unit.provision_story import START

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "provision" / "examples").glob("*.json"))
PAGE = (ROOT / "docs" / "provision.md").read_text()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_taken_without_a_slip(path: Path) -> None:
    given = json.loads(path.read_text())
    assert unknown_fields(given) == []
    parse(path.read_text())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_in_force(path: Path) -> None:
    _, decision = step(parse(path.read_text()), Memory(), Seen(START + 366 * 86_400, 0))
    assert not decision.static


def test_the_default_example_is_the_demos_policy() -> None:
    config = parse((ROOT / "provision" / "examples" / "default.json").read_text())
    (policy,) = config.target_tracking_policies
    assert (config.static_target, policy.metric_type, policy.metric_target) == (2, MetricType.CONCURRENCY, 0.5)
    assert (policy.min_capacity, policy.max_capacity) == (2, 8)


def test_every_field_is_on_the_reference_page_with_what_is_allowed() -> None:
    missing = [
        f"{field}: {info.description}"
        for model in MODELS.values()
        for field, info in zip(spelled_fields(model), model.model_fields.values(), strict=True)
        if not re.search(rf"^\| `{field}`.*\| .*{re.escape(str(info.description).split(', ')[0])}", PAGE, re.MULTILINE)
    ]
    assert missing == []


def test_every_metric_and_every_example_is_on_the_reference_page() -> None:
    names = [*MetricType, *(path.name for path in EXAMPLES)]
    assert [name for name in names if f"`{name}`" not in PAGE and f"({name})" not in PAGE] == []


def test_the_pages_own_examples_can_be_put() -> None:
    blocks = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert blocks
    for block in blocks:
        assert unknown_fields(json.loads(block)) == []
        parse(block)
