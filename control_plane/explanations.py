"""The last decisions of each provision config, kept in the store so that `explain` knows them after a restart.

Only decisions that changed something are written, together, every few seconds; what nobody has written for a week goes.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from control_plane.explain import EXPLAINED_MAX, Explained, Inputs, PolicyExplained
from control_plane.model import QualifiedFunction
from control_plane.ports import Clock

log = logging.getLogger(__name__)

KEY_PREFIX: Final = "stoke:explained:"
KEPT_S: Final = 7 * 86_400


class Explanations:
    """A list of EXPLAINED_MAX decisions for each provision config."""

    def __init__(self, redis: Redis, clock: Clock, saved_every_s: float) -> None:
        self._redis = redis
        self._clock = clock
        self._saved_every_s = saved_every_s
        self._unwritten: defaultdict[str, deque[Explained]] = defaultdict(lambda: deque(maxlen=EXPLAINED_MAX))

    def noted(self, name: QualifiedFunction, explained: Explained) -> None:
        """A decision that changed something."""
        self._unwritten[str(name)].append(explained)

    async def run(self) -> None:
        """Write for ever. While the store is away the newest ones wait here."""
        while True:
            await self._clock.sleep(self._saved_every_s)
            await self.flush()

    async def flush(self) -> None:
        """Write what is new, if there is anything; what the store does not take is tried again."""
        taken, self._unwritten = self._unwritten, defaultdict(lambda: deque(maxlen=EXPLAINED_MAX))
        if not taken:
            return
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                for name, changes in taken.items():
                    key = KEY_PREFIX + name
                    pipe.rpush(key, *(json.dumps(asdict(one), separators=(",", ":")) for one in changes))
                    pipe.ltrim(key, -EXPLAINED_MAX, -1)
                    pipe.expire(key, KEPT_S)
                await pipe.execute()
        except RedisError as error:
            log.warning("explain.unwritten error=%s", error)
            for name, later in self._unwritten.items():
                taken[name].extend(later)
            self._unwritten = taken

    async def before(self, name: QualifiedFunction, known: Sequence[Explained]) -> tuple[Explained, ...]:
        """`known`, newest first, and after them those that were written earlier; EXPLAINED_MAX at most.

        While the store does not answer, no more than `known`.
        """
        try:
            values: list[Any] = await self._redis.lrange(KEY_PREFIX + str(name), 0, -1)
        except RedisError as error:
            log.warning("explain.unread error=%s", error)
            values = []
        oldest_s = known[-1].at_s if known else float("inf")
        earlier: dict[float, Explained] = {}  # a write that was tried twice may have left some twice
        for value in values:
            one = _explained(json.loads(value))
            if one.at_s < oldest_s:
                earlier[one.at_s] = one
        return (*known, *(earlier[at_s] for at_s in sorted(earlier, reverse=True)))[:EXPLAINED_MAX]


def _explained(values: dict[str, Any]) -> Explained:
    """Unknown keys are left out: another version may have written them."""
    policies = tuple(
        PolicyExplained(one["name"], one["wanted"], tuple(one["reasons"])) for one in values.get("policies", ())
    )
    known = {name: value for name, value in values.items() if name in Explained.__dataclass_fields__}
    inputs = {name: value for name, value in values["inputs"].items() if name in Inputs.__dataclass_fields__}
    return Explained(**known | {"reasons": tuple(values["reasons"]), "policies": policies, "inputs": Inputs(**inputs)})
