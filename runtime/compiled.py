"""The hot path as machine code: mypyc (https://mypyc.readthedocs.io) makes it of the very sources that lie here.

The modules below are what each request passes. `scripts/compile` builds them where there is a C compiler; a process
that serves requests calls `use` before it imports any of them. A build is kept under the digest of its sources, so one
that is out of date is never loaded: the sources are run instead, and do the same, only more slowly.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import platform
import sys
from pathlib import Path
from typing import Final

MODULES: Final = (
    "runtime.gateway.affinity",
    "runtime.gateway.answer_lines",
    "runtime.gateway.answers",
    "runtime.gateway.api",
    "runtime.gateway.bucket",
    "runtime.gateway.claim",
    "runtime.gateway.drain_rate",
    "runtime.gateway.gate",
    "runtime.gateway.gateway",
    "runtime.gateway.hall",
    "runtime.gateway.headers",
    "runtime.gateway.invocation",
    "runtime.gateway.line",
    "runtime.gateway.metrics",
    "runtime.gateway.outliers",
    "runtime.gateway.passage",
    "runtime.gateway.pick",
    "runtime.gateway.relay",
    "runtime.gateway.retry_budget",
    "runtime.gateway.room",
    "runtime.gateway.sharing",
    "runtime.gateway.upstreams",
    "runtime.gateway.usage",
    "runtime.gateway.wait",
    "runtime.http.beginnings",
    "runtime.http.chunked",
    "runtime.http.client",
    "runtime.http.connection",
    "runtime.http.deadlines",
    "runtime.http.exchange",
    "runtime.http.fields",
    "runtime.http.framing",
    "runtime.http.head",
    "runtime.http.incoming",
    "runtime.http.last_head",
    "runtime.http.pool",
    "runtime.http.problems",
    "runtime.http.server",
    "runtime.http.turns",
    "runtime.models.batch_rules",
    "runtime.models.batching",
    "runtime.models.heads",
    "runtime.models.json_api",
    "runtime.models.model",
    "runtime.models.oip.binary",
    "runtime.models.oip.check",
    "runtime.models.oip.codec",
    "runtime.models.oip.infer",
    "runtime.models.server",
    "runtime.models.statistics",
)
GROUP: Final = "stoke"
"""Names the one library that all of them are in."""

SWITCH: Final = "STOKE_COMPILED"
"""The environment variable that, set to 0, lets the sources run though there is a build."""

_ROOT: Final = Path(__file__).parents[1]


def is_used() -> bool:
    """Whether this process runs the build."""
    return f"{GROUP}__mypyc" in sys.modules


def source(module: str) -> Path:
    return _ROOT.joinpath(*module.split(".")).with_suffix(".py")


def folder() -> Path:
    """Where the build of these sources for this interpreter is, if it was made."""
    digest = hashlib.sha256(f"{sys.implementation.cache_tag} {platform.machine()}".encode())
    for module in MODULES:
        digest.update(source(module).read_bytes())
    return _ROOT / "build" / "compiled" / digest.hexdigest()[:16]


def use() -> bool:
    """Let the modules be imported from their build. Gives whether they are; without one nothing changes."""
    if os.environ.get(SWITCH) == "0" or any(module in sys.modules for module in MODULES):
        return False
    built = folder()
    if not built.is_dir():
        return False
    sys.path.append(str(built))
    importlib.import_module(f"{GROUP}__mypyc")  # the library behind the modules
    sys.path.pop()
    for package in {module.rpartition(".")[0] for module in MODULES}:
        importlib.import_module(package).__path__.insert(0, str(built.joinpath(*package.split("."))))
    return True
