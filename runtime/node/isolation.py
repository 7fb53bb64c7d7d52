"""What shuts an instance in that is a process of the machine. Pure but for looking which programs there are.

No-new-privileges is set in a forked server by itself, and before a user's command by setpriv (util-linux). bubblewrap,
by a setting, gives a command a /tmp of its own as well; it takes some 30 ms, and a forked server cannot have it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Sandbox = Literal["auto", "none", "bubblewrap"]
_TMP = Path("/tmp")  # noqa: S108 - the one that is hidden


@dataclass(frozen=True, slots=True)
class Isolation:
    """`setpriv` and `bubblewrap` are paths of programs, "" = not used."""

    no_new_privileges: bool
    setpriv: str = ""
    bubblewrap: str = ""

    def prefix(self, folder: Path, code: Path, home: Path, binds: Sequence[str] = ()) -> Sequence[str]:
        """What comes before a command. `folder` and `code` stay where they are, even below /tmp; `binds` are
        bubblewrap's arguments for what is mounted."""
        if self.bubblewrap:
            kept = [part for path in dict.fromkeys((folder, code)) for part in _kept(path)]
            return [
                self.bubblewrap,
                "--dev-bind",
                "/",
                "/",
                "--bind",
                str(home),
                str(_TMP),
                *kept,
                *binds,
                "--chdir",
                str(code),
            ]
        return [self.setpriv, "--no-new-privs"] if self.setpriv else []

    @property
    def words(self) -> list[str]:
        """For `stoke status`."""
        if not self.no_new_privileges:
            return []
        commands = "" if self.setpriv or self.bubblewrap else " (not for commands: setpriv is not on PATH)"
        own_tmp = ["a /tmp of its own for commands (bubblewrap)"] if self.bubblewrap else []
        return [f"no new privileges{commands}", *own_tmp]


def find(sandbox: Sandbox, which: Callable[[str], str | None] = shutil.which) -> Isolation:
    """What this machine has of what was asked for. Raises ValueError when it has not what was asked for by name."""
    if sandbox == "none":
        return Isolation(no_new_privileges=False)
    if sandbox == "bubblewrap":
        found = which("bwrap")
        if found is None:
            raise ValueError("sandbox is 'bubblewrap', and bwrap is not on PATH; allowed then: auto, none")
        return Isolation(no_new_privileges=True, bubblewrap=found)
    return Isolation(no_new_privileges=True, setpriv=which("setpriv") or "")


def _kept(path: Path) -> list[str]:
    """Below the /tmp that is hidden, it is brought back to its place."""
    return ["--bind", str(path), str(path)] if path.is_relative_to(_TMP) else []
