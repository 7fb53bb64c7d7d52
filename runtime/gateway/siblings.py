"""The figures of all gateways at one port, whichever of them is asked: each tells its own over a unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

from runtime.gateway import answers
from runtime.gateway.metrics import CONTENT_TYPE
from runtime.http.exchange import Exchange

log = logging.getLogger(__name__)

ANSWER_S: Final = 1.0  # a gateway that is silent for longer is left out, and said to be
TEXT_BYTES_MAX: Final = 64 << 20

_SAMPLE: Final = re.compile(r"^(\w+)(\{)?")


class Siblings:
    """This gateway among them. `text` gives its own figures."""

    def __init__(self, number: int, gateways: int, folder: Path, text: Callable[[], str]) -> None:
        self._number = number
        self._gateways = gateways
        self._folder = folder
        self._text = text

    async def serve(self) -> None:
        """Tell whoever connects, until cancelled. Where the socket cannot be made, the others say that it is down."""
        path = self._path(self._number)
        try:
            path.unlink(missing_ok=True)  # of a gateway that was killed
            server = await asyncio.start_unix_server(self._tell, path)
            path.chmod(0o600)
        except OSError as error:
            log.error("figures-untold socket=%s error=%r", path, str(error))
            return
        async with server:
            await server.serve_forever()

    def answer(self, exchange: Exchange, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """Answer whoever watches; alone, with the figures as they are."""
        if self._gateways == 1:
            answers.whole(exchange, CONTENT_TYPE, self._text().encode())
        else:
            exchange.owner = _Asked()
            spawn(self._answer(exchange))

    async def _answer(self, exchange: Exchange) -> None:
        text = await self.text()
        if not exchange.gone:
            answers.whole(exchange, CONTENT_TYPE, text.encode())

    async def text(self) -> str:
        """The figures of all, each with the number of its gateway."""
        others = [number for number in range(1, self._gateways + 1) if number != self._number]
        told = await asyncio.gather(*(self._ask(number) for number in others))
        return merged({self._number: self._text(), **dict(zip(others, told, strict=True))})

    async def _tell(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(self._text().encode())
            await writer.drain()
        writer.close()

    async def _ask(self, number: int) -> str | None:
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(self._path(number), limit=TEXT_BYTES_MAX)
                try:
                    return (await reader.read()).decode()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return None

    def _path(self, number: int) -> Path:
        return self._folder / f"gateway-{number}.sock"


class _Asked:
    """Owns an exchange while the others are asked: nothing that its client does changes the answer."""

    def body_arrived(self) -> None: ...

    def client_gone(self) -> None: ...

    def client_paused(self) -> None: ...

    def client_resumed(self) -> None: ...


def merged(texts: Mapping[int, str | None]) -> str:
    """Several texts of Prometheus's format as one: each sample with a label that says whose it is, each family once.

    Not a sum: when one process starts again its counters begin at zero, and a sum of them would go back.
    """
    families: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for number, text in sorted(texts.items()):
        family = ""
        for line in (text or "").splitlines():
            if line.startswith("#"):
                family = line.split(" ", 3)[2]
                head = families.setdefault(family, [])
                if line not in head:
                    head.append(line)
            elif line:
                samples.setdefault(family, []).append(_labelled(line, number))
    lines = []
    for family, head in families.items():
        lines += [*head, *samples.get(family, ())]
    lines += ["# HELP stoke_gateway_up Whether this gateway told its figures.", "# TYPE stoke_gateway_up gauge"]
    lines += [
        f'stoke_gateway_up{{gateway="{number}"}} {int(text is not None)}' for number, text in sorted(texts.items())
    ]
    return "\n".join((*lines, ""))


def _labelled(line: str, number: int) -> str:
    label = f'gateway="{number}"'
    return _SAMPLE.sub(lambda m: f"{m[1]}{{{label}," if m[2] else f"{m[1]}{{{label}}}", line, count=1)
