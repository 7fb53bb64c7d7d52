"""What instances print: asked of the API server while they run, kept in a folder when they end and their Pods go."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from control_plane.backends.kubernetes.client import ApiAway, ApiError, KubernetesClient
from control_plane.backends.kubernetes.pods import CONTAINER

log = logging.getLogger(__name__)

_LINE_BYTES: Final = 100  # the API counts lines from the end, not bytes: this many are thought to be in one
_SAFE: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


class OutputFolder:
    """One file for each instance that has ended, the newest `files_max` of them."""

    def __init__(self, folder: Path, files_max: int) -> None:
        self._folder = folder
        self._files_max = files_max

    async def keep(self, instance_id: str, said: bytes) -> None:
        await asyncio.to_thread(self._keep, instance_id, said)

    async def read(self, instance_id: str) -> bytes | None:
        """None: nothing is."""
        return await asyncio.to_thread(self._read, instance_id)

    def _keep(self, instance_id: str, said: bytes) -> None:
        if not _SAFE.fullmatch(instance_id):
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._path(instance_id).write_bytes(said)
            by_age = sorted(self._folder.glob("*.log"), key=lambda path: path.stat().st_mtime)
            for path in by_age[: max(0, len(by_age) - self._files_max)]:
                path.unlink(missing_ok=True)
        except OSError as error:  # a full disk ends no life
            log.error("kubernetes.output_not_kept instance=%s error=%r", instance_id, error)

    def _read(self, instance_id: str) -> bytes | None:
        if not _SAFE.fullmatch(instance_id):
            return None
        try:
            return self._path(instance_id).read_bytes()
        except OSError:
            return None

    def _path(self, instance_id: str) -> Path:
        return self._folder / f"{instance_id}.log"


class Outputs:
    """What Pods say, the last `bytes_max` of it. Ends are `kept`."""

    def __init__(self, client: KubernetesClient, kept: OutputFolder, bytes_max: int) -> None:
        self._client = client
        self._bytes_max = bytes_max
        self.kept = kept

    async def end(self, pod_path: str) -> bytes:
        """The last of what a Pod has printed; b"" where that cannot be had."""
        try:
            said = await self._client.text(f"{pod_path}/log", container=CONTAINER, tailLines=self._lines())
        except (ApiError, ApiAway) as error:
            log.debug("kubernetes.no_output path=%s error=%s", pod_path, error)
            return b""
        return said[-self._bytes_max :]

    async def to_the_end(self, pod_path: str) -> bytes:
        """As `end`, and what it still prints until it has ended."""
        said = b""
        try:
            asked = self._client.stream(
                f"{pod_path}/log", silence_s=None, container=CONTAINER, follow="true", tailLines=self._lines()
            )
            async for chunk in asked:
                said = (said + chunk)[-self._bytes_max :]
        except (ApiError, ApiAway) as error:
            log.debug("kubernetes.no_output path=%s error=%s", pod_path, error)
        return said

    async def live(self, pod_path: str, tail_bytes: int, *, follow: bool) -> AsyncIterator[bytes]:
        """What a Pod has printed and prints. `tail_bytes` is kept to in whole lines, as far as lines are alike."""
        lines = max(1, tail_bytes // _LINE_BYTES)
        if not follow:
            said = await self._client.text(f"{pod_path}/log", container=CONTAINER, tailLines=lines)
            if said and tail_bytes:
                yield said[-tail_bytes:]
            return
        asked = self._client.stream(
            f"{pod_path}/log", silence_s=None, container=CONTAINER, follow="true", tailLines=lines
        )
        async for chunk in asked:
            yield chunk

    def _lines(self) -> int:
        return max(1, self._bytes_max // _LINE_BYTES)
