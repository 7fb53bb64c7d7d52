"""Answers gateways to which the store is away: an ASGI application around the API's, for one path.

Nothing here asks the store, and no access key is involved: a question has the seal of the installation's secret.key,
and so has its answer. What is decided is the lessor's (`fleet.lessor.Lessor.vouch`).
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from control_plane.api.edge import failed
from control_plane.errors import AccessDenied, InvalidArgument, MethodNotAllowed, StokeError
from runtime.leasing import LEASE_SEAL_HEADER, LEASE_WORD_BYTES_MAX, LEASE_WORD_PATH, LeaseQuestion, LeaseWord, seal

Vouch = Callable[[LeaseQuestion], LeaseWord]


class LeaseWords:
    """Whoever does not lead passes this on like any request (`standby.ToLeader`)."""

    def __init__(self, app: ASGIApp, vouch: Vouch, key: bytes) -> None:
        """`vouch` raises Unavailable where the word cannot be given."""
        self._app = app
        self._vouch = vouch
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != LEASE_WORD_PATH:
            return await self._app(scope, receive, send)
        try:
            answer = await self._answer(scope, receive)
        except StokeError as error:
            answer = failed(error, str(uuid.uuid4()))
        return await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        if scope["method"] != "POST":
            raise MethodNotAllowed(f"{scope['method']} {LEASE_WORD_PATH}: POST is allowed")
        body = await _body(receive)
        try:
            question = LeaseQuestion.from_json(body)
        except (ValueError, TypeError, AttributeError) as error:
            raise InvalidArgument(f"the body {body[:100]!r}: a question about a lease is allowed") from error
        told = Headers(scope=scope).get(LEASE_SEAL_HEADER, "")
        if not hmac.compare_digest(told.encode(), seal(self._key, question, body).encode()):
            raise AccessDenied(
                f"{LEASE_SEAL_HEADER} {told[:100]!r}: the seal that this installation's secret.key makes is allowed"
            )
        word = self._vouch(question)
        text = word.to_json().encode()
        return Response(text, 200, {LEASE_SEAL_HEADER: seal(self._key, word, text)}, media_type="application/json")


async def _body(receive: Receive) -> bytes:
    """Raises InvalidArgument: it is larger than a question."""
    body, goes_on = b"", True
    while goes_on:
        message = await receive()
        body += message.get("body", b"")
        goes_on = message.get("more_body", False)
        if len(body) > LEASE_WORD_BYTES_MAX:
            raise InvalidArgument(f"a body of more than {LEASE_WORD_BYTES_MAX} bytes: a question is smaller")
    return body
