"""Why a request is not taken for signed."""

from __future__ import annotations

from typing import Final

SKEW_S_MAX: Final = 900.0  # between the client's clock and ours


class SignatureRefused(Exception):
    """A request is not signed as it must be. `code` is FC's ErrorCode."""

    def __init__(self, code: str, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def missing(header: str, allowed: str) -> SignatureRefused:
    return SignatureRefused("MissingRequiredHeader", f"header {header} is missing: {allowed} is allowed", 400)


def not_matching(made_of: str) -> SignatureRefused:
    return SignatureRefused("SignatureNotMatch", f"the signature does not match the request; it is made of {made_of}")
