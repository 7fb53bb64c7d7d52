"""An access key as it is stored, and as it is in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

from runtime.access.roles import Access, Role
from runtime.access.sealing import Box, SealBroken
from runtime.contract import Message

FIELD_PREFIX: Final = "key/"  # of the fields of ROUTES_KEY that hold access keys


@dataclass(frozen=True, slots=True)
class KeyRecord(Message):
    """An access key as the store has it: its secret is sealed with a key that is not there."""

    access_key_id: str
    sealed: str  # of {"secret", "token"}, see `sealing`
    role: str = Role.READ.value
    services: list[str] = field(default_factory=list)  # none: all
    enabled: bool = True
    description: str = ""
    created_time: str = ""  # RFC 3339, UTC


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key, ready to check a signature with."""

    access: Access
    secret: str
    token: str = ""
    enabled: bool = True


def key_field(access_key_id: str) -> str:
    return FIELD_PREFIX + access_key_id


def seal(box: Box, access_key_id: str, secret: str, token: str) -> str:
    return box.seal(json.dumps({"secret": secret, "token": token}), access_key_id)


def unsealed(box: Box, record: KeyRecord) -> AccessKey:
    """Raises SealBroken; ValueError for a role that there is not."""
    try:
        values = json.loads(box.open(record.sealed, record.access_key_id))
        secret, token = str(values["secret"]), str(values["token"])
    except (KeyError, TypeError) as error:
        raise SealBroken("what was sealed is no secret") from error
    access = Access(record.access_key_id, Role(record.role), tuple(record.services))
    return AccessKey(access, secret, token, record.enabled)
