"""Makes room for a function's own modules: its `runtime/` or `provision.py` must not meet ours.

A function finds its own modules first. Of ours it finds `runtime` (for `runtime.instance`) if it has none of that name
itself; the others are not there for it.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Final

OURS: Final = ("runtime", "provision", "control_plane", "loadtests")
OFFERED: Final = "runtime"
_OUR_ROOT: Final = str(Path(__file__).parents[2])


class OurNames:
    """An import finder, asked first, for the names in OURS alone."""

    def __init__(self, root: str) -> None:
        self._root = root

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the import system's
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Raises ModuleNotFoundError for one of our names that a function has not and shall not see."""
        if name not in OURS:
            return None
        # A folder without __init__.py would lose against our package if both were searched at once.
        theirs = [entry for entry in sys.path if os.path.realpath(entry or os.curdir) != self._root]
        spec = PathFinder.find_spec(name, theirs, target)
        if spec is None and name == OFFERED:
            spec = PathFinder.find_spec(name, [self._root], target)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return spec


def enter(code: str, python_path: str = "", root: str = _OUR_ROOT) -> None:
    """From here on imports are the function's. What we have imported goes on working, but is not found any more."""
    for name in list(sys.modules):
        if name.partition(".")[0] in OURS:
            del sys.modules[name]
    ahead = [code, *(entry for entry in python_path.split(os.pathsep) if entry)]
    sys.path[:0] = [entry for entry in ahead if entry not in sys.path]
    sys.meta_path.insert(0, OurNames(os.path.realpath(root)))
    importlib.invalidate_caches()
