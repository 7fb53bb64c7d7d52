"""What callers are told who asked for what cannot be had: always `{"error": …}`, with one of Triton's statuses."""

from __future__ import annotations

from typing import Final

INVALID: Final = 400
NOT_FOUND: Final = 404
METHOD_NOT_ALLOWED: Final = 405
TOO_LARGE: Final = 413
INTERNAL: Final = 500
UNSUPPORTED: Final = 501
UNAVAILABLE: Final = 503


class OipError(Exception):
    """The text is for the caller: it names the field, what came and what is allowed."""

    def __init__(self, message: str, status: int = INVALID) -> None:
        super().__init__(message)
        self.status = status
