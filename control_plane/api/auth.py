"""Who may ask. The seam is here so that signatures can come in without a change to any operation."""

from __future__ import annotations

from typing import Protocol

from starlette.requests import Request


class Authenticator(Protocol):
    async def authenticate(self, request: Request) -> None:
        """Return if the request may be answered.

        Raises:
            RequestError: with FC's code (MissingRequiredHeader, SignatureNotMatch, InvalidAccessKeyID, AccessDenied).
        """


class LoopbackAuthenticator:
    """Lets every request in: right only where nobody but the gateway reaches the socket, and it has checked."""

    async def authenticate(self, request: Request) -> None:
        del request
