"""Asks Prometheus for what policies track, beside the autoscaler's loop: a decision never waits for an answer.

Each query is asked every few seconds while a policy has it (`/api/v1/query`, an instant query). What it said last is
kept with its time; an error is kept beside it and changes no number. Only servers that the settings name are asked, as
whoever may put a provision config could otherwise make the control plane fetch what it can reach and they cannot.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from control_plane.ports import Clock
from provision.config import MetricType, ProvisionConfig
from provision.decide import Reading

log = logging.getLogger(__name__)

ASKED_EVERY_S: Final = 5.0  # half a step of a forecast, a sixth of the age that a reading may have
FORGOTTEN_AFTER_S: Final = 60.0  # a query that no policy has had for so long is asked no more
LOOKED_EVERY_S: Final = 1.0  # whether one is due
AT_ONCE_MAX: Final = 8  # of one server
QUERIES_MAX: Final = 1000
ERROR_LENGTH_MAX: Final = 200
_PORTS: Final = {"http": 80, "https": 443}


class Source(Protocol):
    """Where values come from."""

    async def value(self, url: str, query: str) -> float:
        """The one number that a query gives now, 0 or more. Raises ValueError, in words that users read."""

    async def close(self) -> None: ...


@dataclass(slots=True)
class _Asked:
    reading: Reading
    wanted_at_s: float  # monotonic, as the next
    due_s: float = 0.0


class Prometheus:
    """The newest readings of all queries that policies have. `run` asks; `of` never waits."""

    def __init__(self, clock: Clock, allowed: Iterable[str], make_source: Callable[[], Source]) -> None:
        self._clock = clock
        self._allowed = tuple(allowed)
        self._make_source = make_source  # called when the first query is asked
        self._source: Source | None = None
        self._asked: dict[tuple[str, str], _Asked] = {}
        self._under_way: dict[tuple[str, str], asyncio.Task[None]] = {}
        # By server, so that one that hangs makes nobody wait but those who ask it.
        self._turns: defaultdict[tuple[str | int, ...], asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(AT_ONCE_MAX)
        )
        self._new = asyncio.Event()

    def of(self, config: ProvisionConfig) -> tuple[Reading, ...]:
        """The newest reading of each query of a config's policies; asks for them from now on."""
        return tuple(
            self._reading(policy.url, policy.query)
            for policy in config.target_tracking_policies
            if policy.metric_type is MetricType.PROMETHEUS and policy.url and policy.query
        )

    def _reading(self, url: str, query: str) -> Reading:
        asked = self._asked.get((url, query))
        if asked is None:
            reading = Reading(url, query, None, 0.0)
            if not is_allowed(url, self._allowed):
                return replace(reading, error=refusal(url, self._allowed))
            if len(self._asked) >= QUERIES_MAX:
                return replace(reading, error=f"{QUERIES_MAX} queries are asked already: no more are allowed")
            asked = self._asked[url, query] = _Asked(reading, 0.0)
            self._new.set()
        asked.wanted_at_s = self._clock.monotonic_s()
        return asked.reading

    async def run(self) -> None:
        """Ask for ever: a new query at once, each again and again. Nobody waits for another server's answers."""
        try:
            while True:
                self._new.clear()
                now_s = self._clock.monotonic_s()
                self.forget(now_s)
                for key in [key for key, task in self._under_way.items() if task.done()]:
                    self._under_way.pop(key).result()
                for key, asked in self._asked.items():
                    if asked.due_s <= now_s and key not in self._under_way:
                        asked.due_s = now_s + ASKED_EVERY_S
                        self._under_way[key] = asyncio.create_task(self._ask_in_turn(asked))
                await self._pause(LOOKED_EVERY_S if self._asked else ASKED_EVERY_S)
        finally:
            for task in self._under_way.values():
                task.cancel()
            self._under_way.clear()

    async def _pause(self, wait_s: float) -> None:
        waits = [asyncio.ensure_future(self._clock.sleep(wait_s)), asyncio.ensure_future(self._new.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def forget(self, now_s: float) -> None:
        """Drop the queries that no policy has had lately; `now_s` is monotonic."""
        for key in [k for k, asked in self._asked.items() if now_s - asked.wanted_at_s > FORGOTTEN_AFTER_S]:
            del self._asked[key]

    async def ask_all(self) -> None:
        """Ask each query once, some at a time."""
        await asyncio.gather(*(self._ask_in_turn(asked) for asked in list(self._asked.values())))

    async def _ask_in_turn(self, asked: _Asked) -> None:
        """When its server is asked for few enough others."""
        before = asked.reading
        async with self._turns[(_parts(before.url) or ())[:3]]:
            asked.reading = await self._ask(before)
        if asked.reading.error != before.error:
            log.warning("prometheus.asked url=%s error=%s", before.url, asked.reading.error or "-")

    async def _ask(self, before: Reading) -> Reading:
        at = self._clock.utc_s()
        if self._source is None:
            self._source = self._make_source()
        try:
            value = await self._source.value(before.url, before.query)
        except ValueError as error:
            return replace(before, error=_shortened(f"{before.url}: {error}"))
        return replace(before, value=value, at=at, error="")

    async def close(self) -> None:
        if self._source is not None:
            await self._source.close()


# -- who may be asked -------------------------------------------------------------------------------------------------


def is_allowed(url: str, allowed: Iterable[str]) -> bool:
    """The same scheme, host and port as one of those, and a path under its path."""
    asked = _parts(url)
    return asked is not None and any(
        one is not None and asked[:3] == one[:3] and f"{asked[3]}/".startswith(f"{one[3]}/")
        for one in map(_parts, allowed)
    )


def refusal(url: str, allowed: Iterable[str]) -> str:
    """In words, why a URL is not asked."""
    names = ", ".join(allowed)
    return f"url is {url}: must be under one of {names}" if names else f"url is {url}: no server is allowed"


def refused_urls(config: ProvisionConfig, allowed: Iterable[str]) -> list[str]:
    """What is wrong with the URLs of a config, a line each."""
    allowed = tuple(allowed)
    return [
        f"targetTrackingPolicies[{index}].{refusal(policy.url, allowed)} (setting prometheus_urls)"
        for index, policy in enumerate(config.target_tracking_policies)
        if policy.url is not None and not is_allowed(policy.url, allowed)
    ]


def _parts(url: str) -> tuple[str, str, int, str] | None:
    """Scheme, host, port and path without a slash at its end; None where the path could lead out of itself."""
    try:
        split = urlsplit(url)
        port = split.port or _PORTS[split.scheme]
    except (ValueError, KeyError):
        return None
    path = split.path.rstrip("/")
    plain = unquote(unquote(path))
    if split.username is not None or "\\" in url or ".." in plain.split("/") or "//" in plain:
        return None
    return split.scheme, (split.hostname or "").lower(), port, path


def _shortened(text: str) -> str:
    """In one line, as it stands in the log and among the reasons of a decision."""
    text = " ".join(text.split())
    return text if len(text) <= ERROR_LENGTH_MAX else text[: ERROR_LENGTH_MAX - 1] + "…"
