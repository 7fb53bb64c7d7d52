"""The record of one asynchronous invocation, and the store's keys. Pure.

An invocation is named by its service, its function and its id; an id is given once per function. Its state moves only
along `NEXT`.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from runtime.contract import Message

ID_PATTERN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")
EVENTS_MAX: Final = 50  # kept of an invocation's history: the first ones, and the last

PREFIX: Final = "stoke:async:"
QUEUES: Final = f"{PREFIX}queues"  # set of `Queue.name`s that have events
DUE: Final = f"{PREFIX}due"  # sorted set of "QUEUE/ID" by the UTC milliseconds at which they are tried again
GROUP: Final = "gateways"


class Status(StrEnum):
    """Where an invocation is, in FC's words."""

    ENQUEUED = "Enqueued"  # in its queue
    DEQUEUED = "Dequeued"  # taken from it for a slot that a synchronous request was faster at
    RUNNING = "Running"
    RETRYING = "Retrying"  # an attempt has failed, and another one will follow
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"  # no attempt is left
    STOPPING = "Stopping"  # to be stopped when the attempt that runs has ended
    STOPPED = "Stopped"
    EXPIRED = "Expired"  # too old before it had succeeded
    INVALID = "Invalid"  # its function is no more

    @property
    def is_final(self) -> bool:
        return self in FINAL


FINAL: Final = frozenset({Status.SUCCEEDED, Status.FAILED, Status.STOPPED, Status.EXPIRED, Status.INVALID})
_GIVEN_UP: Final = frozenset({Status.STOPPED, Status.EXPIRED, Status.INVALID})

# RUNNING may follow RUNNING: the gateway that ran the first attempt has died.
NEXT: Final[dict[Status, frozenset[Status]]] = {
    Status.ENQUEUED: frozenset({Status.DEQUEUED, Status.RUNNING}) | _GIVEN_UP,
    Status.DEQUEUED: frozenset({Status.DEQUEUED, Status.RUNNING}) | _GIVEN_UP,
    Status.RUNNING: frozenset(
        {Status.RUNNING, Status.RETRYING, Status.SUCCEEDED, Status.FAILED, Status.STOPPING, Status.DEQUEUED}
    )
    | _GIVEN_UP,
    Status.RETRYING: frozenset({Status.DEQUEUED, Status.RUNNING}) | _GIVEN_UP,
    Status.STOPPING: frozenset({Status.STOPPED}),
    **{status: frozenset() for status in FINAL},
}


class Delivery(StrEnum):
    """How far the result has come on its way to the destination."""

    NONE = ""  # there is no destination
    PENDING = "Pending"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Queue:
    """The events of one function version."""

    service: str
    version: str
    function: str

    @property
    def name(self) -> str:
        return f"{self.service}/{self.version}/{self.function}"

    @property
    def key(self) -> str:
        """The stream of its events: each has the fields "id" and "enqueued" (UTC seconds)."""
        return f"{PREFIX}queue/{self.name}"

    @classmethod
    def named(cls, name: str) -> Queue:
        service, version, function = name.split("/")
        return cls(service, version, function)


@dataclass(frozen=True, slots=True)
class Invocation(Message):
    """One asynchronous invocation. Times are UTC seconds, 0.0 = not yet."""

    invocation_id: str
    request_id: str
    service: str
    function: str
    qualifier: str
    version: str
    enqueued_at_s: float
    status: Status = Status.ENQUEUED
    started_at_s: float = 0.0  # of the first attempt
    ended_at_s: float = 0.0
    attempts: int = 0  # begun
    function_errors: int = 0
    platform_errors: int = 0
    instance_id: str = ""  # of the last attempt
    error: str = ""  # why the last attempt failed, "" after one that did not
    error_type: str = ""  # of the function's own errors, as in x-fc-error-type
    delivery: Delivery = Delivery.NONE
    hops: int = 0  # how many invocations this one is the destination of, one after the other
    stateful: bool = False
    events: list[dict[str, Any]] = field(default_factory=list)  # {"status", "at_s", "detail"}, oldest first

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", Status(self.status))
        object.__setattr__(self, "delivery", Delivery(self.delivery))

    @property
    def queue(self) -> Queue:
        return Queue(self.service, self.version, self.function)

    @property
    def key(self) -> str:
        return record_key(self.service, self.function, self.invocation_id)

    def to(self, status: Status, now_s: float, detail: str = "", **changes: Any) -> Invocation:
        """The record in its next state, with that in its history. A step that `NEXT` has not is a mistake of ours."""
        assert status in NEXT[self.status], f"{self.status} → {status}"
        events = [*self.events, {"status": status.value, "at_s": now_s, "detail": detail}]
        if len(events) > EVENTS_MAX:
            del events[EVENTS_MAX // 2]
        if status.is_final:
            changes.setdefault("ended_at_s", now_s)
        return dataclasses.replace(self, status=status, events=events, **changes)


def new_invocation(now_s: float, **values: Any) -> Invocation:
    """An accepted one; `values` are the fields that have no default."""
    events = [{"status": Status.ENQUEUED.value, "at_s": now_s, "detail": ""}]
    return Invocation(enqueued_at_s=now_s, events=events, **values)


def record_key(service: str, function: str, invocation_id: str) -> str:
    """A hash: "record" (JSON), "revision" (counts the changes), "payload", "head", "result", "entry" and "enqueued"."""
    return f"{PREFIX}record/{service}/{function}/{invocation_id}"


def index_key(service: str, function: str) -> str:
    """The ids of one function, by the UTC milliseconds at which they were accepted."""
    return f"{PREFIX}index/{service}/{function}"
