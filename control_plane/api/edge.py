"""The outermost layer: a request id on every response, and every failure turned into FC's error body, in this place."""

from __future__ import annotations

import logging
import secrets
import time

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control_plane.api import handshake
from control_plane.api.auth import Authenticator, checked
from control_plane.errors import PlatformError, StokeError, Unavailable
from runtime.contract import HEADER_REQUEST_ID
from runtime.error_body import error_body

log = logging.getLogger(__name__)

RETRY_AFTER_S = 1  # said with 503: FC's clients try again only where this header stands


def new_request_id() -> str:
    """Shaped like FC's: `1-`, the time in hex, and two groups of chance."""
    return f"1-{int(time.time()):08x}-{secrets.token_hex(4)}-{secrets.token_hex(6)}"


class Edge:
    """Wraps the whole application; authenticates before any operation runs."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = new_request_id()
        begun = False

        async def send_named(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "websocket.accept"
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                begun = True
                message["headers"] = [*message["headers"], (HEADER_REQUEST_ID.encode(), request_id.encode())]
            await send(message)

        scope.setdefault("state", {})["request_id"] = request_id
        try:
            if scope["type"] == "websocket":
                await handshake.authenticate(self._authenticator, scope)
            else:
                admitted = await self._authenticator.authenticate(Request(scope))
                scope["state"]["access"] = admitted.access
                if admitted.body is not None:
                    receive = checked(receive, admitted.body)
            await self._app(scope, receive, send_named)
        except ClientDisconnect:
            log.debug("client gone request_id=%s path=%s", request_id, scope["path"])
        except StokeError as error:
            if begun:
                raise  # half a response: breaking the connection is all that tells
            await failed(error, request_id)(scope, receive, send_named)
        except Exception:
            if begun:
                raise
            log.exception("unexpected failure request_id=%s path=%s", request_id, scope["path"])
            await failed(PlatformError("an internal error has occurred"), request_id)(scope, receive, send_named)


def failed(error: StokeError, request_id: str) -> Response:
    if isinstance(error, PlatformError):
        log.warning("refused request_id=%s code=%s message=%s", request_id, error.code, error.message)
    headers = {"retry-after": str(RETRY_AFTER_S)} if isinstance(error, Unavailable) else {}
    body = error_body(error.code, error.message, request_id)
    return Response(body, error.status, headers, media_type="application/json")


async def answer_stoke_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StokeError)
    return failed(error, request.state.request_id)


async def answer_http_error(request: Request, error: Exception) -> Response:
    """The router's own: no such path, or no such method on it."""
    assert isinstance(error, HTTPException)
    message = f"'{request.method}' against '{request.url.path}' is not supported"
    body = error_body("PathNotSupported", message, request.state.request_id)
    return Response(body, error.status_code, error.headers, media_type="application/json")
