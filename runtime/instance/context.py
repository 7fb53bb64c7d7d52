"""The second argument of a plain handler, made of the `x-fc-*` headers of its request."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

# Which request the running code belongs to, for the log lines it writes.
REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id", default="-")


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key_id: str = ""
    access_key_secret: str = ""
    security_token: str = ""


@dataclass(frozen=True, slots=True)
class FunctionMeta:
    name: str = ""
    handler: str = ""
    memory: int = 0  # MB
    timeout: int = 0  # s


@dataclass(frozen=True, slots=True)
class ServiceMeta:
    name: str = ""
    log_project: str = ""
    log_store: str = ""
    qualifier: str = ""
    version_id: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """Named as in Function Compute's Python runtime."""

    request_id: str
    credentials: Credentials
    function: FunctionMeta
    service: ServiceMeta
    region: str
    account_id: str
    logger: logging.Logger = field(default_factory=logging.getLogger, repr=False)


def context_from(headers: Mapping[str, str]) -> Context:
    """`headers` by lower-case name; a missing one is an empty text, or 0."""

    def text(name: str) -> str:
        return headers.get(f"x-fc-{name}", "")

    return Context(
        request_id=text("request-id"),
        credentials=Credentials(text("access-key-id"), text("access-key-secret"), text("security-token")),
        function=FunctionMeta(
            text("function-name"),
            text("function-handler"),
            _number(text("function-memory")),
            _number(text("function-timeout")),
        ),
        service=ServiceMeta(
            text("service-name"),
            text("service-logproject"),
            text("service-logstore"),
            text("qualifier"),
            text("version-id"),
        ),
        region=text("region"),
        account_id=text("account-id"),
    )


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
