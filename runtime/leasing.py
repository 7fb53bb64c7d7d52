"""What gateways that share instances and the control plane say to each other about slots.

A *grant* is how many slots of one instance one gateway may use; all grants of one instance are one entry, so that a
gateway sees what was taken from it and what was given to others as one change. The control plane alone writes them:

* `LEASES_KEY` (hash): instance id → `Grants`, and each change in the feed, in the order of the epochs;
* `LEASEHOLDERS_KEY` (hash): gateway id → `Holder`, every gateway that may hold a slot, written before its first grant;
* `LEASE_ORDER_KEY` (hash): the lessor's term and the last epoch. A write of an earlier term or epoch is refused, so
  one that was thought lost cannot arrive late;
* `LEASE_RENEWALS_KEY` (hash): gateway id → `renewal`: how often it has renewed its lease and the newest lessor's term
  that it knows, by gateways themselves where the control plane's kernel does not know their processes; `LEFT` when one
  has ended in order.

`LEASE_CHANNEL` (pub/sub, nothing stored) has a `LeaseReport` from each such gateway: at once when a request must wait
and when slots were taken back, and at least once a second. Any of them may be lost, late or told twice.

A gateway that cannot reach the store asks the lessor itself: a `LeaseQuestion` to `LEASE_WORD_PATH`, answered by a
`LeaseWord`, each under a `seal` that only who has the installation's secret.key can make.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Any, Final

from runtime.contract import Message

LEASES_KEY: Final = "stoke:leases"
LEASEHOLDERS_KEY: Final = "stoke:leaseholders"
LEASE_ORDER_KEY: Final = "stoke:leases:order"
LEASE_RENEWALS_KEY: Final = "stoke:leases:renewals"
LEFT: Final = "left"  # in the place of a count
LEASE_CHANNEL: Final = "stoke:leases:reports"
LEASE_WORD_PATH: Final = "/stoke/v1/lease-words"
LEASE_SEAL_HEADER: Final = "x-stoke-seal"
LEASE_KEY_PURPOSE: Final = "words about leases"  # of the key that seals, derived from secret.key
LEASE_WORD_BYTES_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Grants(Message):
    """Who may use how many slots of one instance, from this epoch on. A gateway that is not named: none."""

    epoch: int
    slots: dict[str, int]


@dataclass(frozen=True, slots=True)
class Holder(Message):
    """A gateway's process. Pid and start time together name one process for ever, where `host` is the same.

    One with a lease ends by itself when it could not renew it for so long; others do not have to.
    """

    pid: int
    start_time: int  # clock ticks since boot
    host: str = ""  # where pids mean the same (`runtime.processes.host_id`); "" = where the control plane runs
    lease_s: float = 0.0  # 0 = none
    # So long after its last renewal in the store it may still go on by the word of the lessor that it knew then.
    away_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Asked(Message):
    """What one gateway has of one function version now."""

    service: str
    version: str
    function: str
    requests: int  # inside instances and waiting; asynchronous runs are not among them
    waiting: int  # of those, waiting for a slot
    background: int = 0  # asynchronous events that wait for an idle slot


@dataclass(frozen=True, slots=True)
class LeaseReport(Message):
    """One gateway at one instant. `inside` has every instance that holds requests or runs of this gateway."""

    gateway: str
    pid: int
    start_time: int
    sequence: int  # of this gateway's lease reports: an older one than the last is out of date
    epoch: int  # every change of grants up to this one is obeyed
    inside: dict[str, int] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)  # Asked, as dicts
    host: str = ""  # as `Holder` has them
    lease_s: float = 0.0
    away_s: float = 0.0

    @property
    def holder(self) -> Holder:
        return Holder(self.pid, self.start_time, self.host, self.lease_s, self.away_s)


@dataclass(frozen=True, slots=True)
class LeaseQuestion(Message):
    """A gateway, to which the store is away, asks whether its slots are its own for another lease."""

    gateway: str
    count: int  # of its renewals and questions: an answer to another one counts for nothing
    term: int  # of the newest lessor that it knows: the word of an earlier one counts for nothing


@dataclass(frozen=True, slots=True)
class LeaseWord(Message):
    """The lessor of this term gives nobody the gateway's slots for a lease from when it was asked."""

    gateway: str
    count: int
    term: int


def renewal(count: int, term: int) -> str:
    """What a gateway writes: one is told from the next by its count."""
    return f"{count} {term}"


def term_told(written: str) -> int:
    """The newest lessor's term that a gateway knew when it wrote this; 0 for one that did not say."""
    _, _, term = written.partition(" ")
    return int(term) if term.isdecimal() else 0


def seal(key: bytes, message: LeaseQuestion | LeaseWord, text: bytes) -> str:
    """Of a message as it travels. A question's is never an answer's."""
    return hmac.new(key, type(message).__name__.encode() + b"\n" + text, hashlib.sha256).hexdigest()
