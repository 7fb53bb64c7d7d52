"""Who asks, and whether that key may. Signatures are checked before any operation runs; bodies as they are read."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, cast
from urllib.parse import unquote

from starlette.requests import Request
from starlette.types import Message, Receive

from control_plane.errors import AccessDenied, RequestError
from control_plane.ports import AccessKeys
from runtime.access.admit import admit, admit_by_secret, replayed
from runtime.access.roles import EVERYTHING, Access, need_of
from runtime.signature import BodyDigest, RequestHead, SignatureRefused, read_claim

STATUS_PATH: Final = "/stoke/v1/status"
CODE_PATH: Final = "/stoke/v1/code/"
METRICS_PATH: Final = "/stoke/v1/metrics"
UPLOADS: Final = "code-uploads"  # /ACCOUNT/code-uploads/NAME


@dataclass(frozen=True, slots=True)
class Admitted:
    """`access` is None for a request that nobody signed, where that is allowed."""

    access: Access | None
    body: BodyDigest | None = None


class Authenticator(Protocol):
    async def authenticate(self, request: Request) -> Admitted:
        """Tell who asks, if the request may be answered.

        Raises:
            RequestError: with FC's code (MissingRequiredHeader, SignatureNotMatch, InvalidAccessKeyID, AccessDenied).
        """


class SpentNonces(Protocol):
    async def use(self, access_key_id: str, nonce: str, now_s: float) -> bool:
        """True the first time, False when it was used before."""


class LoopbackAuthenticator:
    """Lets every request in, as an admin's: for a socket that only its owner reaches."""

    async def authenticate(self, request: Request) -> Admitted:
        del request
        return Admitted(EVERYTHING)


class SignatureAuthenticator:
    """Asks every request for a signature by one of the three schemes, by a key whose role allows the operation."""

    def __init__(self, keys: AccessKeys, nonces: SpentNonces, utc_s: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._nonces = nonces
        self._utc_s = utc_s

    async def authenticate(self, request: Request) -> Admitted:
        given = request.headers.get("authorization", "")
        if (not given and _may_be_anonymous(request)) or _is_upload(request):
            return Admitted(None)
        try:
            if given.startswith("Basic ") and request.url.path == METRICS_PATH:
                return Admitted(await self._by_secret(given.removeprefix("Basic "), request))
            return await self._by_signature(request)
        except SignatureRefused as refused:
            raise RequestError(refused.message, code=refused.code, status=refused.status) from None

    async def _by_signature(self, request: Request) -> Admitted:
        scope = request.scope
        query = scope["query_string"].decode("latin-1")
        target = scope["raw_path"].partition(b"?")[0] + (b"?" + scope["query_string"] if query else b"")
        head = RequestHead.of(request.method, target, scope["headers"])
        claim = read_claim(head)
        key = await self._keys.find(claim.access_key_id)
        now_s = self._utc_s()
        need = need_of(request.method, unquote(head.path), query)
        proof = admit(head, claim, key, need, now_s)
        if proof.nonce and not await self._nonces.use(claim.access_key_id, proof.nonce, now_s):
            raise replayed(proof.nonce)
        assert key is not None, "admit refuses where there is no key"
        return Admitted(key.access, proof.body)

    async def _by_secret(self, given: str, request: Request) -> Access:
        """HTTP Basic, id and secret: what Prometheus can say, which cannot sign."""
        try:
            key_id, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            raise SignatureRefused("AccessDenied", "header Authorization: Basic needs id:secret in base64") from None
        key = await self._keys.find(key_id)
        return admit_by_secret(key_id, secret, key, need_of(request.method, METRICS_PATH)).access


def access_of(request: Request) -> Access | None:
    """Who asks; None where nobody signed."""
    return cast("Access | None", request.state.access)


def check_service(request: Request, service: str) -> None:
    """For operations that learn of the service from a body or an id. Raises AccessDenied."""
    access = access_of(request)
    refusal = access.service_refusal(service) if access is not None else "the request is not signed"
    if refusal:
        raise AccessDenied(refusal)


def checked(receive: Receive, body: BodyDigest) -> Receive:
    """The request's body as it comes; its end only if it was the one that was signed."""

    async def receive_checked() -> Message:
        message = await receive()
        if message["type"] == "http.request":
            body.update(message.get("body", b""))
            if not message.get("more_body", False):
                try:
                    body.check()
                except SignatureRefused as refused:
                    raise RequestError(refused.message, code=refused.code, status=refused.status) from None
        return message

    return receive_checked


def _is_upload(request: Request) -> bool:
    """Signed by a token of its own, in object storage's way, which its operation checks."""
    path: str = request.scope["path"]  # what the router goes by
    return request.method == "PUT" and path.split("/")[2:3] == [UPLOADS]


def _may_be_anonymous(request: Request) -> bool:
    """Status says next to nothing then; code has a signature in its URL, which its operation checks."""
    path = request.url.path
    return request.method in ("GET", "HEAD") and (path == STATUS_PATH or path.startswith(CODE_PATH))
