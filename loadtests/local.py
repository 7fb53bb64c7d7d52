"""A Stoke of one's own: started on a free port with its own data folder, and always stopped again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, Self

from runtime.processes import start_time

STOKE: Final = Path(sys.executable).with_name("stoke")
UP_TIMEOUT_S: Final = 60.0
DOWN_TIMEOUT_S: Final = 150.0  # more than `stoke down` gives a drain
COMMAND_TIMEOUT_S: Final = 150.0


class StokeFailed(Exception):
    """A `stoke` command did not succeed; the message has what it printed."""


class LocalStoke:
    """`stoke up --detach` on entering, `stoke down` on leaving, whatever happened in between.

    Raises StokeFailed on entering when one runs on that folder already: it is somebody's, and is left alone.
    """

    def __init__(self, data: Path, listen: str = "127.0.0.1:0", *options: str) -> None:
        """`options` are more of `stoke up`."""
        self.data = data.expanduser().absolute()
        self.endpoint = ""
        self._listen = listen
        self._options = options

    def __enter__(self) -> Self:
        self.data.mkdir(parents=True, exist_ok=True)
        if self._runs():
            raise StokeFailed(f"Stoke already runs on {self.data}; stop it with: stoke down --data {self.data}")
        try:
            self.stoke("up", "--listen", self._listen, *self._options, "--detach", timeout_s=UP_TIMEOUT_S)
            self.endpoint = str(self.facts()["endpoint"])
        except BaseException:
            self._down()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._down()

    def facts(self) -> dict[str, Any]:
        """What `stoke up` wrote down: endpoint, pid, sockets."""
        values: dict[str, Any] = json.loads((self.data / "stoke.json").read_text(encoding="utf-8"))
        return values

    def stoke(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Run a `stoke` command on this Stoke and give what it printed. Raises StokeFailed when it does not succeed."""
        # Of the environment, only the data folder says which Stoke is meant, and with it the access key to use.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("STOKE_")}
        try:
            done = subprocess.run(
                [str(STOKE), *arguments],
                env={**environment, "STOKE_DATA": str(self.data)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=timeout_s,
                start_new_session=True,  # a Ctrl-C is ours to handle
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise StokeFailed(f"stoke {' '.join(arguments)}: no end after {timeout_s:g} s") from error
        if done.returncode != 0:
            raise StokeFailed(f"stoke {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout.strip()}")
        return done.stdout

    def _runs(self) -> bool:
        try:
            return start_time(int(self.facts()["pid"])) != 0
        except (OSError, ValueError, KeyError):
            return False

    def _down(self) -> None:
        self.stoke("down", timeout_s=DOWN_TIMEOUT_S)
