"""The pages hold together: headings that links name, whole tables, snippets that the real readers take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from control_plane.cli.manifest import load_manifest
from loadtests.shapes import SHAPES
from runtime.models.spec import parse_spec

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("functions/*/README.md")])


def outside_of_fences(page: Path) -> Iterator[tuple[int, str]]:
    is_inside = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.startswith("```"):
            is_inside = not is_inside
        elif not is_inside:
            yield number, line


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    headings = (line.lstrip("# ") for _, line in outside_of_fences(page) if re.match("#+ ", line))
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def cells(row: str) -> int:
    """Of a table's row; a bar inside of code is none of its own."""
    return re.sub(r"`[^`]*`|\\\|", "", row).count("|")


def test_a_link_to_a_heading_leads_to_one() -> None:
    broken = [
        f"{page.relative_to(ROOT)} → {link}#{anchor}"
        for page in PAGES
        for link, anchor in re.findall(r"\]\(([^)#:\s]*)#([^)]*)\)", page.read_text())
        if anchor not in anchors(page.parent / link if link else page)
    ]
    assert broken == []


def test_a_table_has_a_head_and_rows_of_one_width() -> None:
    broken = []
    for page in PAGES:
        width, before = 0, 0
        lines = dict(outside_of_fences(page))
        for number, line in lines.items():
            if not line.startswith("|"):
                continue
            if number != before + 1:
                width = cells(line) if re.fullmatch(r"\|[-: |]+\|", lines.get(number + 1, "")) else 0
            if cells(line) != width:
                broken.append(f"{page.relative_to(ROOT)}:{number}")
            before = number
    assert broken == []


def test_code_in_a_line_is_closed_in_its_paragraph() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {paragraph[:60]}"
        for page in PAGES
        for paragraph in re.split(r"\n\s*\n|\n(?=\|)", "\n".join(line for _, line in outside_of_fences(page)))
        if paragraph.count("`") % 2
    ]
    assert broken == []


def test_every_page_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    pages = [str(page.relative_to(ROOT)) for page in PAGES if page.is_relative_to(ROOT / "docs")]
    assert [page for page in pages if f"({page})" not in readme] == []


def test_deployment_files_in_the_pages_can_be_deployed(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def handler(event, context): return event\n")
    for folder in ("digits", "gpu"):
        (tmp_path / "functions" / folder).mkdir(parents=True)
    found = 0
    for page in PAGES:
        for block in re.findall(r"(?:^    edition: .*\n)(?:^(?:    .*)?\n)+", page.read_text(), re.M):
            path = tmp_path / "s.yaml"
            path.write_text(re.sub("^    ", "", block, flags=re.M))
            assert load_manifest(path, {}).plans, page
            found += 1
    assert found >= 3, "getting started has one, the page of s.yaml one for each edition"


def test_fenced_snippets_can_be_read() -> None:
    for page in PAGES:
        for block in re.findall(r"```(?:yaml|json)\n(.*?)```", page.read_text(), re.DOTALL):
            assert yaml.safe_load(block) is not None, page


def test_the_model_yaml_with_every_field_is_one() -> None:
    page = (ROOT / "docs" / "models.md").read_text().partition("## model.yaml")[2]
    block = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert block
    spec = parse_spec(yaml.safe_load(block[1]))
    assert (spec.name, spec.batching.max_batch_size) == ("digits", 32)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_load_is_in_the_page(shape: str) -> None:
    assert re.search(rf"^    {shape} ", (ROOT / "docs" / "load-testing.md").read_text(), re.M)


def test_what_troubleshooting_quotes_is_said_by_the_programs() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    sources = [*ROOT.glob("control_plane/**/*.py"), *ROOT.glob("runtime/**/*.py"), *ROOT.glob("provision/**/*.py")]
    said = "".join(path.read_text() for path in sources)
    said = re.sub(r'"\s*\n\s*f?"', "", said)  # a text over several lines
    quoted = [re.sub(r"\d+→\d+", "…", quote) for quote in re.findall(r'"([^"|]+)"', page)]
    assert len(quoted) > 20
    pieces = {piece.strip(" :") for quote in quoted for piece in quote.split("…")} - {""}
    assert sorted(piece for piece in pieces if piece not in said) == []
