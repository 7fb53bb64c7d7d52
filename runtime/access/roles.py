"""Which operation needs which right, and which role has it. Pure.

right    | operations                                                    | admin | deploy | invoke | read
MANAGE   | access keys                                                   |  yes  |        |        |
CHANGE   | whatever creates, changes or deletes; a shell in an instance  |  yes  |  yes   |        |
INVOKE   | invocations; HTTP triggers of authType function               |  yes  |  yes   |  yes   |
LOOK     | whatever only reads: resources, code, status, logs, metrics   |  yes  |  yes   |        | yes
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl


class Role(StrEnum):
    ADMIN = "admin"
    DEPLOY = "deploy"
    INVOKE = "invoke"
    READ = "read"


class Right(StrEnum):
    MANAGE = "manage"
    CHANGE = "change"
    INVOKE = "invoke"
    LOOK = "look"


RIGHTS: Final[dict[Role, frozenset[Right]]] = {
    Role.ADMIN: frozenset(Right),
    Role.DEPLOY: frozenset((Right.CHANGE, Right.INVOKE, Right.LOOK)),
    Role.INVOKE: frozenset((Right.INVOKE,)),
    Role.READ: frozenset((Right.LOOK,)),
}

KEYS_PATH: Final = "/stoke/v1/keys"
_LOOKING: Final = ("GET", "HEAD", "OPTIONS")
_UPLOAD_TOKEN: Final = ["tempBucketToken"]  # what code may be uploaded with


@dataclass(frozen=True, slots=True)
class Need:
    """What a request needs: a right, and that on a service. `service` is "" where the path names none; `asks_later`
    where the operation knows it only from the body or from an id, and asks `Access.check_service` itself."""

    right: Right
    service: str = ""
    asks_later: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """Who asks. No services: all of them."""

    access_key_id: str
    role: Role
    services: tuple[str, ...] = ()

    def refusal(self, need: Need) -> str:
        """Why this key may not do it; "" when it may."""
        if need.right not in RIGHTS[self.role]:
            allowed = ", ".join(role for role in Role if need.right in RIGHTS[role])
            return f"access key '{self.access_key_id}' has the role {self.role}: this needs one of {allowed}"
        return "" if need.asks_later else self.service_refusal(need.service)

    def service_refusal(self, service: str) -> str:
        """Why this key may not touch a service; "" when it may. "" as a service is whatever belongs to none."""
        if not self.services or service in self.services:
            return ""
        named = f"service '{service}'" if service else "what belongs to no single service"
        return f"access key '{self.access_key_id}' may not touch {named}: it is for {', '.join(self.services)}"


EVERYTHING: Final = Access("", Role.ADMIN)


def need_of(method: str, path: str, query: str = "") -> Need:
    """What a request to the API needs. `path` is decoded, as the router sees it."""
    if path == KEYS_PATH or path.startswith(f"{KEYS_PATH}/"):
        return Need(Right.MANAGE)
    parts = path.strip("/").split("/")
    if method == "POST" and parts[-1] == "invocations":
        right = Right.INVOKE
    elif method in _LOOKING and not _is_shell(parts) and parts[1:] != _UPLOAD_TOKEN:
        right = Right.LOOK
    else:
        right = Right.CHANGE
    return Need(right, _service_of(parts, query), _asks_later(method, parts))


def _is_shell(parts: list[str]) -> bool:
    """…/instances/{id}/exec, which a GET opens."""
    return parts[-1] == "exec" and parts[-3:-2] == ["instances"]


def _service_of(parts: list[str], query: str) -> str:
    match parts:
        case [_, "services", name, *_]:
            return name.partition(".")[0]
        case ["2023-03-30", "functions", name, *_]:
            # FC 3.0 shows a function of a service as service$function; `f` alone is function f of service f.
            return name.partition("$")[0]
        case ["stoke", "v1", *_]:
            return _asked(query, "service")
        case [_, "provision-configs"]:
            return _asked(query, "serviceName")
    return ""


def _asks_later(method: str, parts: list[str]) -> bool:
    """A new service, and FC 3.0's new function, is named in the body; an instance's logs belong to its service. Code is
    uploaded for whatever function is made of it."""
    if method == "POST" and parts[1:] in (["services"], ["functions"]):
        return True
    if parts[1:] == _UPLOAD_TOKEN:
        return True
    return parts[:3] == ["stoke", "v1", "instances"] and len(parts) > 3


def _asked(query: str, name: str) -> str:
    """A query parameter's value; "" unless it is there exactly once, as readers differ about which one counts."""
    values = [value for key, value in parse_qsl(query, keep_blank_values=True) if key == name]
    return values[0] if len(values) == 1 else ""
