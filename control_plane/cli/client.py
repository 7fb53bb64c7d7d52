"""A small client for the FC API (2016-08-15) and for Stoke's own pages under /stoke/v1. Signs what it sends.

Every answer that is not 2xx becomes a ServerError, every failure to get one an Unreachable.
"""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

import httpx

from control_plane.cli.endpoint import START_HINT, Credentials, Trust
from control_plane.cli.failures import BadInput, ServerError, Unreachable
from runtime.contract import LATEST
from runtime.signature import authorization

API: Final = "/2016-08-15"
OWN: Final = "/stoke/v1"
CONNECT_TIMEOUT_S: Final = 5.0
# A deploy may carry 100 MiB of code, which the server unpacks and syncs to disk before it answers.
READ_TIMEOUT_S: Final = 120.0
PAGE_LIMIT: Final = 100
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class Client:
    """One connection pool to one endpoint; a context manager. `transport` is for tests."""

    def __init__(
        self,
        endpoint: str,
        credentials: Credentials | None,
        *,
        debug: bool = False,
        transport: httpx.BaseTransport | None = None,
        trust: Trust | None = None,
    ) -> None:
        """Raises BadInput: what `trust` names holds no certificates."""
        self.endpoint = endpoint
        self._credentials = credentials
        self._debug = debug
        self._http = httpx.Client(
            base_url=endpoint,
            timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            transport=transport,
            verify=_verification(trust or Trust()),
            # A proxy from the environment cannot reach this machine's own loopback.
            trust_env=urlsplit(endpoint).hostname not in _LOOPBACK,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        return _json(self.send("GET", path, query=query))

    def get_or_none(self, path: str, query: Mapping[str, str] | None = None) -> Any | None:
        """As get, but None for 404."""
        return self._unless_missing(lambda: self.get(path, query))

    def put(self, path: str, body: Any) -> Any:
        return _json(self.send("PUT", path, content=_encoded(body)))

    def post(self, path: str, body: Any, query: Mapping[str, str] | None = None) -> Any:
        return _json(self.send("POST", path, query=query, content=_encoded(body)))

    def delete(self, path: str) -> bool:
        """False when there was nothing to delete."""
        return self._unless_missing(lambda: self.send("DELETE", path)) is not None

    def put_or_create(self, path: str, update: Any, collection: str, create: Any) -> tuple[Any, bool]:
        """PUT `update`; where there is nothing yet, POST `create` to the collection. Gives (reply, was created)."""
        reply = self._unless_missing(lambda: self.put(path, update))
        return (reply, False) if reply is not None else (self.post(collection, create), True)

    def pages(self, path: str, key: str, query: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
        """Every item of a listing, page by page."""
        asked = {"limit": str(PAGE_LIMIT), **(query or {})}
        while True:
            page = self.get(path, asked)
            yield from page.get(key) or ()
            token = page.get("nextToken")
            if not token:
                return
            asked["nextToken"] = token

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        read_timeout_s: float | None = None,
    ) -> httpx.Response:
        """One exchange, its body read.

        Raises:
            ServerError: the answer is not 2xx.
            Unreachable: no connection, or no whole answer in time.
        """
        timeout = httpx.Timeout(read_timeout_s or READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        with self._translated():
            response = self._http.request(
                method,
                path,
                params=query,
                content=content,
                headers=self._headers(method, path, content, headers),
                timeout=timeout,
            )
        self._trace(method, path, response)
        if not response.is_success:
            raise server_error(response)
        return response

    @contextmanager
    def stream(self, path: str, query: Mapping[str, str]) -> Iterator[Iterator[bytes]]:
        """A GET whose body comes for as long as it comes. Raises as send does."""
        timeout = httpx.Timeout(None, connect=CONNECT_TIMEOUT_S)
        with (
            self._translated(),
            self._http.stream(
                "GET", path, params=query, headers=self._headers("GET", path, None, None), timeout=timeout
            ) as response,
        ):
            if not response.is_success:
                response.read()
                raise server_error(response)
            yield response.iter_bytes()

    def signed_headers(self, method: str, path: str) -> dict[str, str]:
        """For a request without a body that somebody else sends."""
        return self._headers(method, path, None, None)

    def _headers(
        self, method: str, path: str, content: bytes | None, extra: Mapping[str, str] | None
    ) -> dict[str, str]:
        headers = {"date": formatdate(usegmt=True), **(extra or {})}
        if content is not None:
            headers.setdefault("content-type", "application/json")
        if self._credentials is not None:
            key = self._credentials
            headers["authorization"] = authorization(method, path, headers, key.access_key_id, key.access_key_secret)
        return headers

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise Unreachable(f"no answer in time from {self.endpoint}: {_reason(error)}") from error
        except httpx.TransportError as error:
            raise Unreachable(f"Stoke does not answer at {self.endpoint} ({_reason(error)}): {START_HINT}") from error

    def _trace(self, method: str, path: str, response: httpx.Response) -> None:
        if self._debug:
            request_id = response.headers.get("x-fc-request-id", "-")
            took_ms = response.elapsed.total_seconds() * 1000
            print(f"{method} {path} → {response.status_code} {took_ms:.0f} ms, request {request_id}", file=sys.stderr)

    @staticmethod
    def _unless_missing(call: Callable[[], Any]) -> Any | None:
        try:
            return call()
        except ServerError as error:
            if error.status == 404 and error.code.endswith("NotFound"):
                return None
            raise


def service_path(service: str, qualifier: str | None = None) -> str:
    """/2016-08-15/services/S, or S.Q with a qualifier: FC 2.0 has it in the path."""
    name = quote(service, safe="")
    return f"{API}/services/{name}.{quote(qualifier, safe='')}" if qualifier else f"{API}/services/{name}"


def function_path(service: str, function: str, qualifier: str | None = None) -> str:
    return f"{service_path(service, qualifier)}/functions/{quote(function, safe='')}"


def trigger_path(service: str, function: str, trigger: str) -> str:
    return f"{function_path(service, function)}/triggers/{quote(trigger, safe='')}"


def provision_path(service: str, function: str, qualifier: str = LATEST) -> str:
    return f"{function_path(service, function, qualifier)}/provision-config"


def async_invoke_path(service: str, function: str, qualifier: str = LATEST) -> str:
    return f"{function_path(service, function, qualifier)}/async-invoke-config"


def domain_path(name: str) -> str:
    return f"{API}/custom-domains/{quote(name, safe='')}"


def _encoded(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _json(response: httpx.Response) -> Any:
    if not response.content:
        return {}
    try:
        return response.json()
    except ValueError as error:
        raise ServerError(response.status_code, "InvalidAnswer", f"not JSON: {response.text[:200]!r}") from error


def server_error(response: httpx.Response) -> ServerError:
    request_id = response.headers.get("x-fc-request-id", "")
    try:
        body = response.json()
    except ValueError:
        body = {}
    body = body if isinstance(body, dict) else {}
    code = body.get("ErrorCode") or body.get("errorCode") or body.get("Code") or f"HTTP{response.status_code}"
    message = body.get("ErrorMessage") or body.get("errorMessage") or body.get("Message") or response.text[:500]
    return ServerError(response.status_code, str(code), str(message) or response.reason_phrase, request_id)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _verification(trust: Trust) -> ssl.SSLContext | bool:
    if trust.file is None:
        return True
    try:
        context = ssl.create_default_context(cafile=str(trust.file))
    except OSError as error:
        raise BadInput(f"{trust.file}: no certificates can be read: {error}; PEM is allowed") from error
    if trust.is_the_certificate:
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it may be no authority's, and its issuer not be there
    return context
