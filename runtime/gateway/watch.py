"""Who may see the gateway's figures: HTTP Basic with an access key's id and secret, as Prometheus cannot sign."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from runtime.access.admit import admit_by_secret
from runtime.access.roles import Need, Right
from runtime.gateway.authorize import Keyring
from runtime.gateway.refusal import Refusal
from runtime.http.exchange import Exchange
from runtime.http.fields import find
from runtime.signature import SignatureRefused

METRICS_PATH: Final = b"/stoke/v1/gateway/metrics"
_BASIC: Final = b"Basic "


def check_watcher(exchange: Exchange, keys: Keyring) -> None:
    """Raises Refusal: 403 for a key that may not look, or is none; 405 for other methods than GET and HEAD."""
    if exchange.method not in (b"GET", b"HEAD"):
        method = exchange.method.decode("latin-1")
        raise Refusal(405, "MethodNotAllowed", f"method '{method}': GET, HEAD is allowed", (("allow", "GET, HEAD"),))
    given = find(exchange.headers, b"authorization") or b""
    try:
        key_id, _, secret = base64.b64decode(given.removeprefix(_BASIC), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        key_id = secret = ""
    if not given.startswith(_BASIC) or not key_id:
        raise Refusal(403, "AccessDenied", "header Authorization: Basic with ID:SECRET in base64 is needed")
    try:
        admit_by_secret(key_id, secret, keys.find(key_id), Need(Right.LOOK, asks_later=True))
    except SignatureRefused as refused:
        raise Refusal(refused.status, refused.code, refused.message) from None
