"""What runs often, as machine code: mypyc (https://mypyc.readthedocs.io) makes it of the very sources that lie here.

`REQUESTS` are the modules that each request passes, `DECISIONS` those that each decision of the autoscaler does.
`scripts/compile` builds both where there is a C compiler; a process that does such work calls `use` before it imports
any of them. A build is kept under the digest of its sources, so one that is out of date is never loaded: the sources
are run instead, and do the same, only more slowly.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SWITCH: Final = "STOKE_COMPILED"
"""The environment variable that, set to 0, lets the sources run though there is a build."""

_ROOT: Final = Path(__file__).parents[1]


def source(module: str) -> Path:
    return _ROOT.joinpath(*module.split(".")).with_suffix(".py")


@dataclass(frozen=True, slots=True)
class Group:
    """Modules that are built together, into one library of that name, and call each other as C functions."""

    name: str
    modules: tuple[str, ...]

    def is_used(self) -> bool:
        """Whether this process runs the build."""
        return f"{self.name}__mypyc" in sys.modules

    def folder(self) -> Path:
        """Where the build of these sources for this interpreter is, if it was made."""
        digest = hashlib.sha256(f"{self.name} {sys.implementation.cache_tag} {platform.machine()}".encode())
        for module in self.modules:
            digest.update(source(module).read_bytes())
        return _ROOT / "build" / "compiled" / digest.hexdigest()[:16]

    def use(self) -> bool:
        """Let the modules be imported from their build. Gives whether they are; without one nothing changes."""
        if os.environ.get(SWITCH) == "0" or any(module in sys.modules for module in self.modules):
            return False
        built = self.folder()
        if not built.is_dir():
            return False
        sys.path.append(str(built))
        importlib.import_module(f"{self.name}__mypyc")  # the library behind the modules
        sys.path.pop()
        for package in {module.rpartition(".")[0] for module in self.modules}:
            importlib.import_module(package).__path__.insert(0, str(built.joinpath(*package.split("."))))
        return True


REQUESTS: Final = Group(
    "stoke",
    (
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
    ),
)
DECISIONS: Final = Group(
    "stoke_decisions",
    (
        "provision.columns",
        "provision.decide",
        "provision.memory",
        "provision.policies",
        "provision.together",
        "provision.tracking",
        "provision.traffic",
        "provision.windows",
        "provision.wishes",
    ),
)
GROUPS: Final = (REQUESTS, DECISIONS)
