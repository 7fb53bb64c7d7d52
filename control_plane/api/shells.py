"""A shell in an instance, over a WebSocket: what is asked for, and who speaks to the process meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any, Final

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from control_plane.api import wire
from control_plane.api.auth import access_of
from control_plane.api.context import context
from control_plane.api.talk import SUBPROTOCOL, FcTalk, OwnTalk, Talk
from control_plane.errors import InvalidArgument, NotFound, RequestError
from control_plane.ports import Shell
from control_plane.registry.keys import fc3_split
from runtime.contract import HEADER_REQUEST_ID
from runtime.shell import FROM_CLIENT, ShellOrder, Stream

log = logging.getLogger(__name__)

IDLE_S_MAX: Final = 86_400
_YES_NO: Final[Mapping[str, bool]] = {"true": True, "1": True, "false": False, "0": False}


async def not_upgraded(request: Request) -> Response:
    """Open a shell in an instance: a request for a WebSocket, which this one is not."""
    del request
    raise RequestError("header Upgrade is missing: 'websocket' is required", code="InvalidArgument", status=426)


async def run(websocket: WebSocket) -> None:
    """From the handshake, which is refused like any request, to the end of the process."""
    request = Request({**websocket.scope, "type": "http", "method": "GET"})
    order = await _asked(request)
    shells = context(request).shells
    if shells is None:
        raise NotFound("Instance", f"instance '{order.instance_id}' runs where no process can be started beside it")
    shell = await shells.open(order)
    access = access_of(request)
    log.info(
        "exec.began instance=%s key=%s request_id=%s command=%r",
        order.instance_id,
        access.access_key_id if access else "",
        request.state.request_id,
        order.command,
    )
    try:
        talk: Talk = OwnTalk() if SUBPROTOCOL in websocket.scope["subprotocols"] else FcTalk()
        headers = [(HEADER_REQUEST_ID.encode(), request.state.request_id.encode())]
        await websocket.accept(talk.subprotocol, headers)
        await _between(websocket, shell, talk)
    finally:
        await shell.close()
        log.info("exec.ended instance=%s request_id=%s", order.instance_id, request.state.request_id)


def order_of(instance_id: str, asked: QueryParams) -> ShellOrder:
    """What a query asks for. Pure. Raises InvalidArgument."""
    columns, rows = (_whole(asked, name, default, 65_535) for name, default in (("columns", 80), ("rows", 24)))
    # FC's tools have two names for it.
    idle_s = _whole(asked, "idleTimeout", 0, IDLE_S_MAX) or _whole(asked, "FC_INSTANCE_EXEC_TIMEOUT", 0, IDLE_S_MAX)
    return ShellOrder(
        instance_id,
        [word for word in asked.getlist("command") if word],
        stdin=_flag(asked, "stdin", default=True),
        stdout=_flag(asked, "stdout", default=True),
        stderr=_flag(asked, "stderr", default=True),
        tty=_flag(asked, "tty", default=False),
        columns=columns or 80,
        rows=rows or 24,
        idle_s=float(idle_s),
    )


# -- inside ------------------------------------------------------------------------------------------------------------


async def _asked(request: Request) -> ShellOrder:
    """Raises InvalidArgument, NotFound: the instance is none of this function's."""
    at, given = context(request), request.path_params
    if "name" in given:  # the FC 3.0 API has a function's name alone
        given["service"], given["function"] = fc3_split(str(given["name"]))
    service, qualifier = wire.service_and_qualifier(request)
    function = wire.path_name(request, "function")
    await at.registry.get_function(service, function, qualifier)
    instance_id = wire.path_name(request, "instance")
    if instance_id not in {view.instance_id for view in at.fleet.instances(service, function)}:
        raise NotFound("Instance", f"instance '{instance_id}' is none of function '{function}' in service '{service}'")
    return order_of(instance_id, request.query_params)


async def _between(websocket: WebSocket, shell: Shell, talk: Talk) -> None:
    """Pass on both ways until the process has ended, or the client has left."""
    from_client = asyncio.create_task(_from_client(websocket, shell, talk))
    to_client = asyncio.create_task(_to_client(websocket, shell, talk))
    try:
        await asyncio.wait((from_client, to_client), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (from_client, to_client):
            task.cancel()
        results = await asyncio.gather(from_client, to_client, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, OSError | WebSocketDisconnect):
            raise result


async def _from_client(websocket: WebSocket, shell: Shell, talk: Talk) -> None:
    while True:
        message: Mapping[str, Any] = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        stream, data = talk.heard(message.get("text"), message.get("bytes"))
        if stream not in FROM_CLIENT:
            await websocket.close(1008, f"stream {int(stream)} is not for clients to send on")
            return
        try:
            await shell.send(stream, data)
        except OSError:
            await asyncio.Event().wait()  # it has ended: the other direction has what there is to say


async def _to_client(websocket: WebSocket, shell: Shell, talk: Talk) -> None:
    reason = "the node went away"
    code = 1011
    while (came := await shell.receive()) is not None:
        stream, data = came
        for message in talk.said(stream, data):
            await (websocket.send_text(message) if isinstance(message, str) else websocket.send_bytes(message))
        if stream is Stream.EXIT:
            code, reason = 1000, f"exit status {data.decode('ascii', 'replace')}"
        elif stream is Stream.ERROR:
            reason = data.decode("utf-8", "replace")
    with contextlib.suppress(RuntimeError):  # the client has closed it already
        await websocket.close(code, reason[:100])


def _flag(asked: QueryParams, name: str, *, default: bool) -> bool:
    text = asked.get(name, "")
    if not text:
        return default
    if text.lower() not in _YES_NO:
        raise InvalidArgument(f"{name} is '{text[:40]}': true or false is allowed")
    return _YES_NO[text.lower()]


def _whole(asked: QueryParams, name: str, default: int, high: int) -> int:
    text = asked.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 15 and int(text) <= high):
        raise InvalidArgument(f"{name} is '{text[:40]}': must be a whole number from 0 to {high}")
    return int(text)
