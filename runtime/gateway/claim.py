"""What a request asks of its gate beyond a slot: how urgent it is, how long it can wait, where it would like to go.

Read once for a request's head and kept with its passage. Pure. Two fields of the client's count beside what the
trigger and the function say:

* `x-stoke-priority: 0…9`. Nobody knows the client of an open trigger, so it may only stand back behind the trigger's
  own priority; a signed request may take any.
* `request-timeout` or `x-request-timeout`, in seconds: how long the client waits for its answer. Other spellings are
  the function's affair: the field is passed on and means nothing here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf
from typing import Final

from runtime.gateway.headers import RequestHead
from runtime.gateway.refusal import invalid

PRIORITY: Final = 5  # of whoever says nothing: as many places above as below
PRIORITY_MAX: Final = 9

_PRIORITY_FIELD: Final = b"x-stoke-priority"
_TIMEOUT_FIELDS: Final = (b"request-timeout", b"x-request-timeout")
_SECONDS: Final = re.compile(rb"[0-9]{1,9}(?:\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class Claim:
    priority: int = PRIORITY  # higher ones leave the queue first
    wait_s_max: float = inf  # that it may wait for a slot
    session: bytes = b""  # requests with the same one like to go to the same instance; b"" = any


PLAIN: Final = Claim()


def claim_of(
    head: RequestHead,
    *,
    priority: int = PRIORITY,
    wait_s_max: float = inf,
    session: bytes = b"",
    is_known: bool = False,
) -> Claim:
    """The claim of a request with this head. `priority` is its trigger's; `is_known`: it is signed.

    Raises:
        Refusal: 400, the priority is none.
    """
    for name, value in head.steering or ():
        if name == _PRIORITY_FIELD:
            asked = _priority(value)
            priority = asked if is_known else min(asked, priority)
        elif name in _TIMEOUT_FIELDS and _SECONDS.fullmatch(value):
            wait_s_max = min(wait_s_max, float(value))
    return Claim(priority, wait_s_max, session)


def _priority(value: bytes) -> int:
    if len(value) == 1 and value.isdigit():
        return int(value)
    shown = value[:40].decode("latin-1")
    raise invalid(f"header x-stoke-priority '{shown}': a digit is allowed, 0 (last) to {PRIORITY_MAX} (first)")
