"""Whether a caller wants the end of the log with the answer. Pure."""

from __future__ import annotations

from typing import Final

from runtime.contract import HEADER_LOG_TYPE
from runtime.gateway.headers import RequestHead
from runtime.gateway.refusal import invalid

_NAME: Final = HEADER_LOG_TYPE.encode()


def pass_log_type(head: RequestHead) -> None:
    """Let an instance know that the log's end is wanted. Raises Refusal for a word that means nothing."""
    value = head.fc_value(_NAME)
    if value is None:
        return
    word = value.strip().lower()
    if word == b"tail":
        head.passed += (_NAME, b": ", b"Tail", b"\r\n")
    elif word not in (b"none", b""):
        raise invalid(f"header {HEADER_LOG_TYPE} '{value[:100].decode('latin-1')}': None and Tail are allowed")
