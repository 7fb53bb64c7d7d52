"""The key sets (JWKS) that jwt triggers name by URL: fetched beside the requests, kept, and renewed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from time import monotonic
from typing import Any, Final

from runtime.access.jwt import parse_keys

log = logging.getLogger(__name__)

FRESH_S: Final = 300.0  # then it is fetched again, and used meanwhile
RETRY_S: Final = 10.0  # at the least, between two fetches of one URL
FETCH_TIMEOUT_S: Final = 5.0
BYTES_MAX: Final = 256 * 1024
URLS_MAX: Final = 1000

Keys = tuple[Mapping[str, Any], ...]


class _KeySet:
    __slots__ = ("asked_at_s", "fetched_at_s", "keys")

    def __init__(self) -> None:
        self.keys: Keys = ()
        self.asked_at_s = -RETRY_S
        self.fetched_at_s = -FRESH_S


class KeySets:
    """Key sets by URL. Nothing here waits: what is not there yet is fetched for the next request."""

    def __init__(
        self,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        fetch: Callable[[str], bytes] | None = None,
        monotonic_s: Callable[[], float] = monotonic,
    ) -> None:
        self._spawn = spawn
        self._fetch = fetch or fetch_url
        self._monotonic_s = monotonic_s
        self._sets: dict[str, _KeySet] = {}

    def keys(self, url: str) -> Sequence[Mapping[str, Any]]:
        """What is known of a key set, () when nothing is yet. Sees to it that it stays fresh."""
        known = self._of(url)
        if self._monotonic_s() - known.fetched_at_s >= FRESH_S:
            self.refresh(url)
        return known.keys

    def refresh(self, url: str) -> None:
        """Fetch it again, unless that was done a moment ago."""
        known, now_s = self._of(url), self._monotonic_s()
        if now_s - known.asked_at_s >= RETRY_S:
            known.asked_at_s = now_s
            self._spawn(self._renew(url, known))

    def _of(self, url: str) -> _KeySet:
        known = self._sets.get(url)
        if known is None:
            if len(self._sets) >= URLS_MAX:
                self._sets.pop(next(iter(self._sets)))
            known = self._sets[url] = _KeySet()
        return known

    async def _renew(self, url: str, known: _KeySet) -> None:
        try:
            known.keys = parse_keys((await asyncio.to_thread(self._fetch, url)).decode())
            known.fetched_at_s = self._monotonic_s()
            log.info("key-set-fetched url=%s keys=%d", url, len(known.keys))
        except (OSError, ValueError) as error:
            log.warning("key-set-unreachable url=%s error=%r", url, str(error))


def fetch_url(url: str) -> bytes:
    """Raises OSError, and ValueError when there is more than a key set has."""
    import urllib.request  # with http.client and ssl: memory that only a gateway with such triggers should spend

    with urllib.request.urlopen(url, timeout=FETCH_TIMEOUT_S) as answer:  # noqa: S310 (http and https, see parse_config)
        body: bytes = answer.read(BYTES_MAX + 1)
    if len(body) > BYTES_MAX:
        raise ValueError(f"it has more than {BYTES_MAX} bytes")
    return body
