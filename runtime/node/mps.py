"""NVIDIA's Multi-Process Service, one control daemon a card: started, found again, and told to quit.

The daemons outlive a node, as instances do, since they run through them;
they end with `stop`, when no instance is left.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

PROGRAM: Final = "nvidia-cuda-mps-control"
_PATIENCE_S: Final = 10.0
_PID_FILE: Final = "nvidia-cuda-mps-control.pid"  # in the pipe folder, by the daemon


class MpsError(Exception):
    """MPS does not serve a card; the message says why, for users."""


class Mps:
    """All calls block for a moment. `folder` has a short name: unix sockets are made in it."""

    def __init__(self, folder: Path, path: str) -> None:
        self._folder = folder
        self._path = path
        self._program = shutil.which(PROGRAM, path=path)

    def serve(self, uuid: str) -> str:
        """Have a daemon for this card, an earlier node's or a new one; gives its pipe folder. Raises MpsError."""
        if self._program is None:
            raise MpsError(f"{PROGRAM} is not in PATH")
        pipe = self._pipe(uuid)
        if not self.lives(uuid):
            try:
                for folder in (pipe, self._log(uuid)):
                    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise MpsError(f"its folder cannot be made: {error}") from error
            self._run(uuid, "-d")
            log.info("mps.started card=%s pipe=%s", uuid, pipe)
        return str(pipe)

    def lives(self, uuid: str) -> bool:
        """Is there a daemon for this card? Its pid may be another's by now, so the program's name counts too."""
        try:
            pid = int((self._pipe(uuid) / _PID_FILE).read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return False
        return PROGRAM.encode() in command

    def stop(self, uuid: str) -> None:
        """End a card's daemon; one that is not there is no error."""
        if self._program is None or not self.lives(uuid):
            return
        try:
            self._run(uuid, say="quit\n")
            log.info("mps.stopped card=%s", uuid)
        except MpsError as error:
            log.warning("mps.not_stopped card=%s error=%s", uuid, error)
        shutil.rmtree(self._folder_of(uuid), ignore_errors=True)
        with suppress(OSError):
            self._folder.rmdir()  # with the last of them

    def _run(self, uuid: str, *arguments: str, say: str = "") -> None:
        assert self._program is not None
        try:
            subprocess.run(
                [self._program, *arguments],
                env=self._environment(uuid),
                input=say.encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                timeout=_PATIENCE_S,
                check=True,
            )
        except subprocess.TimeoutExpired as error:
            raise MpsError(f"{PROGRAM} did not answer within {_PATIENCE_S:g} s") from error
        except subprocess.CalledProcessError as error:
            raise MpsError(f"{PROGRAM} ended with {error.returncode}; its log is in {self._log(uuid)}") from error
        except OSError as error:
            raise MpsError(f"{PROGRAM} cannot be run: {error}") from error

    def _environment(self, uuid: str) -> dict[str, str]:
        return {
            "PATH": self._path,
            "CUDA_VISIBLE_DEVICES": uuid,
            "CUDA_MPS_PIPE_DIRECTORY": str(self._pipe(uuid)),
            "CUDA_MPS_LOG_DIRECTORY": str(self._log(uuid)),
        }

    def _folder_of(self, uuid: str) -> Path:
        return self._folder / hashlib.sha256(os.fsencode(uuid)).hexdigest()[:8]

    def _pipe(self, uuid: str) -> Path:
        return self._folder_of(uuid) / "pipe"

    def _log(self, uuid: str) -> Path:
        return self._folder_of(uuid) / "log"
