"""Whether a signed request may enter, by the access key of this machine's credentials file."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import NamedTuple

from runtime.gateway.refusal import Refusal
from runtime.http.exchange import Exchange
from runtime.signature import SignatureRefused, verify

log = logging.getLogger(__name__)


class AccessKey(NamedTuple):
    access_key_id: str
    secret: str


class Credentials:
    """The key in a file that may be written, or written anew, while the gateway runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at_ns = -1
        self._key: AccessKey | None = None

    def current(self) -> AccessKey | None:
        """The key as the file has it now; None without one. Costs a stat, so it is asked for signed triggers only."""
        try:
            changed_at_ns = self._path.stat().st_mtime_ns
        except OSError:
            return None
        if changed_at_ns != self._read_at_ns:
            try:
                values = json.loads(self._path.read_bytes())
                self._key = AccessKey(str(values["access_key_id"]), str(values["access_key_secret"]))
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.error("credentials-unreadable path=%s error=%r", self._path, str(error))
                self._key = None
            self._read_at_ns = changed_at_ns
        return self._key


def authorize(exchange: Exchange, target: bytes, base_path: bytes, credentials: Credentials) -> None:
    """Let a request to a trigger of authType function pass, or not.

    Raises:
        Refusal: 403, with what is wrong about its signature.
    """
    key = credentials.current()
    if key is None:
        raise Refusal(403, "AccessDenied", "the trigger asks for a signature, and this machine has no access key")
    path, _, query = target.decode("latin-1").partition("?")
    try:
        verify(
            exchange.method.decode("latin-1"),
            path,
            {name.decode("latin-1"): value.decode("latin-1") for name, value in exchange.headers},
            access_key_id=key.access_key_id,
            secret=key.secret,
            now_s=time.time(),
            resource_query=query,
            base_path=base_path.decode("latin-1"),
        )
    except SignatureRefused as refused:
        raise Refusal(403, refused.code, refused.message) from None
