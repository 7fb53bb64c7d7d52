"""Signs what an httpx client sends, with the scheme FC, whichever URL it asks for."""

from __future__ import annotations

from collections.abc import Generator
from email.utils import formatdate

import httpx

from runtime.signature import authorization


class FcAuth(httpx.Auth):
    """`httpx.Client(auth=FcAuth(id, secret))`. Meant for the API: a trigger's query would have to be signed too."""

    def __init__(self, access_key_id: str, secret: str) -> None:
        self._key = (access_key_id, secret)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["date"] = formatdate(usegmt=True)
        path = request.url.raw_path.partition(b"?")[0].decode("ascii")
        request.headers["authorization"] = authorization(request.method, path, request.headers, *self._key)
        yield request
