"""Watches instances come up after a provision config was put, and decides when that is done or has failed. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Final

POLL_S: Final = 0.25
# A decision is at most one tick old; two looks in a row that agree are not from before the change.
SETTLED_LOOKS: Final = 2
# A launch that failed is tried again after a while, and one that works clears the error; three failed tries take about
# this long, as FC's own tool gives up after three polls with an error.
ERROR_PATIENCE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a provision config is."""

    target: int
    current: int
    starting: int
    current_error: str = ""
    waits_for: str = ""  # what those that start wait for, such as an image

    @classmethod
    def from_reply(cls, reply: dict[str, Any]) -> Progress:
        error = str(reply.get("currentError") or "")
        return cls(
            int(reply.get("target") or 0),
            int(reply.get("current") or 0),
            int(reply.get("starting") or 0),
            "" if error == reply.get("reading_error") else error,  # a figure that is missing stops no launch
            "; ".join(reply.get("progress") or ()),
        )

    def __str__(self) -> str:
        text = f"target {self.target} · current {self.current}"
        if self.starting:
            text += f" · {self.starting} starting"
        return f"{text} · {self.waits_for}" if self.waits_for else text


class Verdict(Enum):
    WAIT = auto()
    DONE = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class Watch:
    """What was seen so far. `error_since_s` is when the error that still stands was first seen."""

    settled_looks: int = 0
    best: int = 0  # the most ready instances seen
    error_since_s: float | None = None


def judge(watch: Watch, seen: Progress, now_s: float) -> tuple[Watch, Verdict]:
    """Take in one look. FAILED when an error stands for ERROR_PATIENCE_S while no further instance gets ready.

    What those that start wait for is no such error, though it is shown as one: a node with room may be added yet.
    """
    if seen.current >= seen.target:
        watch = replace(watch, settled_looks=watch.settled_looks + 1, error_since_s=None)
        return watch, Verdict.DONE if watch.settled_looks >= SETTLED_LOOKS else Verdict.WAIT
    advanced = seen.current > watch.best
    since = watch.error_since_s
    is_wrong = bool(seen.current_error) and seen.current_error not in seen.waits_for
    if not is_wrong or advanced:
        since = None
    if is_wrong and since is None:
        since = now_s
    watch = Watch(settled_looks=0, best=max(watch.best, seen.current), error_since_s=since)
    failed = since is not None and now_s - since >= ERROR_PATIENCE_S
    return watch, Verdict.FAILED if failed else Verdict.WAIT
