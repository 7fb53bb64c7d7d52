"""The second argument of a plain handler, made of the `x-fc-*` headers of its request."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
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


class Context:
    """Named as in Function Compute's Python runtime. Made for every request and read by few, so each part is made when
    it is asked for.

    `headers` by lower-case name; a missing one is an empty text, or 0.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __repr__(self) -> str:
        return f"Context(request_id={self.request_id!r}, function={self.function!r}, service={self.service!r})"

    @property
    def request_id(self) -> str:
        return self._text("request-id")

    @property
    def credentials(self) -> Credentials:
        text = self._text
        return Credentials(text("access-key-id"), text("access-key-secret"), text("security-token"))

    @property
    def function(self) -> FunctionMeta:
        text = self._text
        memory, timeout = _number(text("function-memory")), _number(text("function-timeout"))
        return FunctionMeta(text("function-name"), text("function-handler"), memory, timeout)

    @property
    def service(self) -> ServiceMeta:
        text = self._text
        return ServiceMeta(
            text("service-name"),
            text("service-logproject"),
            text("service-logstore"),
            text("qualifier"),
            text("version-id"),
        )

    @property
    def region(self) -> str:
        return self._text("region")

    @property
    def account_id(self) -> str:
        return self._text("account-id")

    @property
    def logger(self) -> logging.Logger:
        return logging.getLogger()

    def _text(self, name: str) -> str:
        return self._headers.get(f"x-fc-{name}", "")


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
