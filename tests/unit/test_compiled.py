"""A build is found by its sources, and only before they run."""

from __future__ import annotations

import socket
import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from runtime import compiled
from runtime.compiled import DECISIONS, GROUPS, REQUESTS
from runtime.node import forks


def test_each_module_that_is_listed_is_there_and_listed_once() -> None:
    modules = [module for group in GROUPS for module in group.modules]
    assert [module for module in modules if not compiled.source(module).is_file()] == []
    assert len(set(modules)) == len(modules)


def test_each_group_has_a_build_of_its_own() -> None:
    assert len({group.folder() for group in GROUPS}) == len({group.name for group in GROUPS}) == len(GROUPS)


def test_a_change_to_any_source_leads_away_from_the_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before, others = REQUESTS.folder(), DECISIONS.folder()
    changed = tmp_path / "pool.py"
    original = compiled.source
    changed.write_bytes(original("runtime.http.pool").read_bytes() + b"#")
    monkeypatch.setattr(compiled, "source", lambda module: changed if module.endswith(".pool") else original(module))
    assert REQUESTS.folder() != before
    assert DECISIONS.folder() == others


def test_what_was_imported_from_its_source_stays_so() -> None:
    import provision.decide  # noqa: F401

    for group in GROUPS:
        assert not group.use()
        assert not group.is_used()


def test_builds_that_are_made_side_by_side_share_no_cache_of_types(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = spec_from_file_location("compile_script", Path(__file__).parents[2] / "scripts" / "compile.py")
    assert spec is not None
    assert spec.loader is not None
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    caches: list[str | None] = []

    def run(command: Any, **how: Any) -> subprocess.CompletedProcess[str]:
        caches.append((how.get("env") or {}).get("MYPY_CACHE_DIR"))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    for group in GROUPS:
        script._built(tmp_path, group)
    assert None not in caches
    assert len(set(caches)) == len(GROUPS)


def test_instances_run_the_sources_too_where_the_node_was_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, str]] = []

    def start(command: Any, **how: Any) -> None:
        started.append(how["env"])

    monkeypatch.setenv(compiled.SWITCH, "0")
    monkeypatch.setattr(subprocess, "Popen", start)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        forks.start_interpreter(theirs)
    assert started[0][compiled.SWITCH] == "0"
