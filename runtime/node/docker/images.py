"""Sees to it that an image is on the machine before a container is made of it: pulled, or loaded from a local file."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from runtime.node.docker.engine import Engine, EngineError, segment
from runtime.node.docker.pulls import PullProgress, read_credentials, repository_and_tag
from runtime.node.errors import Failure

log = logging.getLogger(__name__)

Say = Callable[[str], None]
PullPolicy = Literal["missing", "always", "never"]
FILE_PREFIX: Final = "file:"
FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PULL_SILENCE_S: Final = 120.0  # a registry that says nothing for so long has gone
_CHUNK_BYTES: Final = 1024 * 1024
_LOADED: Final = re.compile(r"Loaded image(?: ID)?: (\S+)")


@dataclass(slots=True)
class _Fetch:
    """One pull or load, however many instances wait for it."""

    task: asyncio.Task[str]
    listeners: list[Say] = field(default_factory=list)
    said: str = ""


class Images:
    """`folder` has the files that functions may name as `file:NAME`."""

    def __init__(self, engine: Engine, folder: Path, policy: PullPolicy, credentials: Path | None) -> None:
        self._engine = engine
        self._folder = folder
        self._policy = policy
        self._credentials = credentials
        self._fetches: dict[tuple[str, str], _Fetch] = {}  # by image and credentials
        self._loaded: dict[tuple[str, int, int], str] = {}  # file name, size, time of change -> image

    async def ensure(self, image: str, say: Say, auth: str = "") -> dict[str, Any]:
        """What the engine says of the image, once it is here; `Id` is what to run. `say` is told of progress, and
        `auth` is the function's own X-Registry-Auth, which goes before the node's.

        Raises Failure, EngineAway.
        """
        if image.startswith(FILE_PREFIX):
            return await self._look(await self._shared((image, ""), say, lambda: self._load(image)), image)
        if self._policy != "always":
            found = await self._find(image)
            if found is not None:
                return found
            if self._policy == "never":
                raise Failure(f"image '{image}' is not on this machine, and image_pull is 'never'")
        await self._shared((image, auth), say, lambda: self._pull(image, auth))
        return await self._look(image, image)

    async def _find(self, image: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = await self._engine.call("GET", f"/images/{segment(image)}/json")
        except EngineError as error:
            if error.status == 404:
                return None
            raise Failure(f"image '{image}' cannot be looked at: {error}") from error
        return found

    async def _look(self, name: str, image: str) -> dict[str, Any]:
        found = await self._find(name)
        if found is None:
            raise Failure(f"image '{image}' was fetched, but the engine does not know it")
        return found

    async def _shared(self, key: tuple[str, str], say: Say, work: Callable[[], Any]) -> str:
        """Many instances of a function start together: one of them fetches, all hear of it."""
        fetch = self._fetches.get(key)
        if fetch is None:
            fetch = self._fetches[key] = _Fetch(asyncio.create_task(work()))
            fetch.task.add_done_callback(lambda _: self._fetches.pop(key, None))
        fetch.listeners.append(say)
        if fetch.said:
            say(fetch.said)
        try:
            return await asyncio.shield(fetch.task)
        finally:
            fetch.listeners.remove(say)
            if not fetch.listeners:
                fetch.task.cancel()  # nobody wants it any more

    def _tell(self, key: tuple[str, str], text: str) -> None:
        fetch = self._fetches.get(key)
        if fetch is not None and text != fetch.said:
            fetch.said = text
            for say in list(fetch.listeners):
                say(text)

    async def _pull(self, image: str, own: str) -> str:
        repository, tag = repository_and_tag(image)
        progress, key = PullProgress(image), (image, own)
        self._tell(key, progress.text)
        try:
            auth = own or (read_credentials(self._credentials, image) if self._credentials else "")
            headers = {"X-Registry-Auth": auth} if auth else {}
            pulled = self._engine.lines(
                "POST", "/images/create", headers=headers, silence_s=_PULL_SILENCE_S, fromImage=repository, tag=tag
            )
            async for line in pulled:
                progress.hear(line)  # some ten lines a second
                self._tell(key, progress.text)
        except (EngineError, ValueError) as error:
            raise Failure(f"image '{image}' could not be pulled: {error}") from error
        log.info("image.pulled image=%s", image)
        return image

    async def _load(self, image: str) -> str:
        name = image.removeprefix(FILE_PREFIX)
        path = self._folder / name
        try:
            stat = path.stat()
        except OSError as error:
            raise Failure(f"image '{image}': {path} cannot be read: {error.strerror}") from error
        key = (name, stat.st_size, stat.st_mtime_ns)
        known = self._loaded.get(key)
        if known is not None and await self._find(known) is not None:
            return known
        self._tell((image, ""), f"loading image '{image}': {stat.st_size / 2**20:.1f} MiB")
        said = ""
        headers = {"Content-Type": "application/x-tar", "Content-Length": str(stat.st_size)}
        try:
            loaded = self._engine.lines("POST", "/images/load", headers=headers, content=_pieces(path), quiet=1)
            async for line in loaded:
                said += str(line.get("stream", ""))
        except EngineError as error:
            raise Failure(f"image '{image}' could not be loaded: {error}") from error
        names = _LOADED.findall(said)
        if not names:
            raise Failure(f"image '{image}' has no image in it: it must be what `docker save` writes")
        self._loaded[key] = names[-1]
        log.info("image.loaded image=%s as=%s", image, names[-1])
        return str(names[-1])


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield piece
