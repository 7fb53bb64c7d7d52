"""What is around every WebSocket of the API: who asks is found out before the handshake, and a refusal answers it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import Scope

from control_plane.api.auth import Authenticator
from control_plane.errors import RequestError
from runtime.signature import SignatureRefused


async def authenticate(authenticator: Authenticator, scope: Scope) -> None:
    """A handshake is a GET without a body, and is signed like one. Sets `access`.

    Raises:
        RequestError: with FC's code.
    """
    admitted = await authenticator.authenticate(Request({**scope, "type": "http", "method": "GET"}))
    if admitted.body is not None:
        try:
            admitted.body.check()
        except SignatureRefused as refused:
            raise RequestError(refused.message, code=refused.code, status=refused.status) from None
    scope["state"]["access"] = admitted.access
