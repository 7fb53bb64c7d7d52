"""Makes room for a function's own modules: its `runtime/` or `provision.py` must not meet ours.

A function finds its own modules first. Of ours it finds `runtime` (for `runtime.instance`) if it has none of that name
itself; the others are not there for it.
"""

from __future__ import annotations

import importlib.machinery
import os
import site
import sys
from collections.abc import Iterator, Sequence
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


def enter(code: str, python_path: str = "", packages: str = "", root: str = _OUR_ROOT) -> None:
    """From here on imports are the function's. What we have imported goes on working, but is not found any more.

    `packages` is where the function's own environment has its packages: they come after its code and PYTHONPATH, and
    before what is installed beside us. One that we have imported already is imported anew, from there; and so is one
    that the code has itself.
    """
    if any(isinstance(finder, OurNames) for finder in sys.meta_path):
        return  # it is a fork of one that has entered already
    own = set(top_level_names(packages)) if packages else set()
    own = own.union(_modules_of(code)) - sys.stdlib_module_names - {"__main__"}
    for name in list(sys.modules):
        if name.partition(".")[0] in own.union(OURS):
            del sys.modules[name]
    ahead = [code, *(entry for entry in python_path.split(os.pathsep) if entry), *_added(packages)]
    sys.path[:0] = [entry for entry in ahead if entry not in sys.path]
    sys.meta_path.insert(0, OurNames(os.path.realpath(root)))
    importlib.invalidate_caches()


def top_level_names(packages: str) -> Iterator[str]:
    """What can be imported from a folder of packages, by the names of what lies in it."""
    with os.scandir(packages) as entries:
        for entry in entries:
            name, _, suffix = entry.name.partition(".")
            if name.isidentifier() and (not suffix or suffix == "py" or suffix.endswith(("so", "pyd"))):
                yield name


def _modules_of(code: str) -> Iterator[str]:
    """What of the modules that are there already the code has itself. A mere folder of that name is none."""
    there = {name.partition(".")[0] for name in sys.modules}
    with os.scandir(code) as entries:
        for entry in entries:
            name, _, suffix = entry.name.partition(".")
            if name in there and (suffix == "py" or os.path.isfile(os.path.join(entry.path, "__init__.py"))):
                yield name


def _added(packages: str) -> list[str]:
    """The folder of an environment, and what its .pth files add; what lies beside us is in the path already."""
    if not packages:
        return []
    before = list(sys.path)
    site.addsitedir(packages)
    added = [entry for entry in sys.path if entry not in before]
    sys.path[:] = before
    return added
