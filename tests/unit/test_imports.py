"""Imports point one way, and whoever points back is named."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The control plane shares the contract with the data plane, and what speaks for it: how a request is signed and by
# which keys, how errors are spelled, which process a pid names, how the private store is started and where sockets
# lie whose paths would be too long, how a node is called
# and a shell spoken to, how asynchronous invocations are kept, what files TLS takes, how an alias's rules are read, and
# what an instance is called with, sees and fails of, on whichever backend; and how builds of modules are found.
SHARED = (
    "runtime.compiled",
    "runtime.contract",
    "runtime.node_contract",
    "runtime.error_body",
    "runtime.leasing",
    "runtime.mounts",
    "runtime.processes",
    "runtime.access",
    "runtime.signature",
    "runtime.store",
    "runtime.node.client",
    "runtime.node.docker.asked",
    "runtime.node.environment",
    "runtime.node.hooks",
    "runtime.node.reasons",
    "runtime.shell",
    "runtime.short_folder",
    "runtime.async_invocation",
    "runtime.http.tls",
    "runtime.traffic",
)
OURS = ("control_plane", "functions", "loadtests", "provision", "runtime")
ALLOWED = {
    "provision": ("provision",),
    "runtime": ("runtime",),
    "control_plane": ("control_plane", "provision", *SHARED),
    "loadtests": OURS,
}
# The parts of the data plane share the contract and the protocol code, and know nothing else of each other.
PURE = ("plan.py", "leases.py", "sharing.py", "pools.py")
RUNTIME_PARTS = ("gateway", "node", "instance", "http")


@cache
def imports(path: Path) -> tuple[str, ...]:
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def is_within(module: str, allowed: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in allowed)


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    allowed = ALLOWED[package]
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for module in imports(path)
        if module.split(".")[0] in OURS
        and not is_within(module, allowed)
        and not any(name.startswith(module + ".") or module == name.rpartition(".")[0] for name in SHARED)
    ]
    assert wrong == []


def test_the_pure_parts_of_the_gateway_know_no_loop() -> None:
    pure = [ROOT / "runtime" / "gateway" / name for name in (
        "resolve.py", "pick.py", "gate.py", "affinity.py", "bucket.py", "claim.py", "drain_rate.py", "hall.py",
        "leases.py", "line.py", "outliers.py", "retry_budget.py", "room.py",
    )]  # fmt: skip
    pure += sorted((ROOT / "runtime" / "traffic").glob("*.py"))
    pure += [*sorted((ROOT / "provision").glob("*.py")), *(ROOT / "control_plane" / "fleet" / n for n in PURE)]
    wrong = [
        f"{p.relative_to(ROOT)}" for p in pure if is_within_any(imports(p), ("asyncio", "socket", "redis", "time"))
    ]
    assert wrong == []


def is_within_any(modules: Iterable[str], names: tuple[str, ...]) -> bool:
    return any(is_within(module, names) for module in modules)
