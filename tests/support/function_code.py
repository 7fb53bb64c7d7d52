"""Imports a sample function's module the way an instance does: its folder is the first place to look."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

FUNCTIONS = Path(__file__).parents[2] / "functions"


@contextlib.contextmanager
def imported(function: str, *modules: str) -> Iterator[list[ModuleType]]:
    """The named modules of functions/<function>/; at the end all that came from that folder is forgotten again, as
    functions use the same names."""
    folder = FUNCTIONS / function
    sys.path.insert(0, str(folder))
    try:
        yield [importlib.import_module(name) for name in modules]
    finally:
        sys.path.remove(str(folder))
        for name, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or "/").is_relative_to(folder):
                del sys.modules[name]
