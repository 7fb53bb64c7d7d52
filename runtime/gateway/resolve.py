"""What a request asks for, by its path, its Host and one header (FC's three forms of a trigger's URL). Pure.

`ask` reads the request; `runtime.gateway.routes` knows what exists.
"""

from __future__ import annotations

from collections.abc import Collection, Container
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from runtime.contract import LATEST, PROXY_PREFIX
from runtime.gateway.refusal import Refusal, invalid

_PROXY: Final = PROXY_PREFIX.encode()
_API_PREFIXES: Final = (b"/2016-08-15/", b"/2021-04-06/", b"/2023-03-30/", b"/stoke/")
_INVOKE_PREFIXES: Final = (b"/2016-08-15/services/", b"/2021-04-06/services/")
_INVOKE_3_PREFIX: Final = b"/2023-03-30/functions/"
_INVOKE_SUFFIX: Final = b"/invocations"
_UPLOADS: Final = b"code-uploads"  # PUT /ACCOUNT/code-uploads/NAME, as object storage has it


class Names(NamedTuple):
    """A function by a qualifier."""

    service: str
    qualifier: str
    function: str


class TriggerAsk(NamedTuple):
    """An HTTP trigger, by names or by sub-domain."""

    names: Names | None  # None: `subdomain` says which
    subdomain: bytes
    target: bytes  # what the instance is asked for
    base_path: bytes  # what of it belongs to the URL's form, "" if nothing


class DomainAsk(NamedTuple):
    """A custom domain's path: its routes say which function, by the function's trigger."""

    domain: bytes
    target: bytes


class InvokeAsk(NamedTuple):
    """InvokeFunction."""

    names: Names


class ApiAsk(NamedTuple):
    """Any other operation of the API: the control plane's."""


API: Final = ApiAsk()


def ask(
    method: bytes,
    target: bytes,
    host: bytes,
    invocation_target: bytes | None,
    subdomains: Container[bytes],
    domains: Collection[bytes] = (),
) -> TriggerAsk | DomainAsk | InvokeAsk | ApiAsk:
    """Which of the four a request asks for.

    1. The Host is a custom domain: what its path leads to. Its first label is a trigger's sub-domain: that trigger,
       whatever the path.
    2. The header x-fc-invocation-target names a function: its trigger, whatever the path.
    3. /2016-08-15/proxy/…: a trigger; the instance gets the whole path, so a base path tells what to take off.
    4. POST …/invocations. 5. The rest of the API, and code that is uploaded to it.

    Raises:
        Refusal: the path or the header has none of the forms.
    """
    if not target.startswith(b"/"):
        target, host = _origin_form(method, target)
    if domains:
        domain = host.partition(b":")[0].rstrip(b".").lower()
        if domain in domains:
            return DomainAsk(domain, target)
    label = host.partition(b".")[0].lower()
    if label in subdomains:
        return TriggerAsk(None, label, target, b"")
    if invocation_target is not None:
        return TriggerAsk(_header_names(invocation_target), b"", target, b"")
    if target.startswith(_PROXY):
        return _by_path(target)
    if method == b"POST" and target.startswith(_INVOKE_PREFIXES):
        names = _invocation_names(target)
        if names is not None:
            return InvokeAsk(names)
    if method == b"POST" and target.startswith(_INVOKE_3_PREFIX):
        names = _invocation_names_3(target)
        if names is not None:
            return InvokeAsk(names)
    if target.startswith(_API_PREFIXES) or (method == b"PUT" and target.split(b"/", 3)[2:3] == [_UPLOADS]):
        return API
    raise _not_supported(method, target.partition(b"?")[0])


def _by_path(target: bytes) -> TriggerAsk:
    # /2016-08-15/proxy/{service}[.{qualifier}]/{function}[/…][?…]: find where the function's name ends.
    path_end = target.find(b"?")
    if path_end < 0:
        path_end = len(target)
    service_end = target.find(b"/", len(_PROXY), path_end)
    if service_end < 0:
        raise invalid(f"path '{_shown(target)}': {PROXY_PREFIX}SERVICE[.QUALIFIER]/FUNCTION/ is allowed")
    end = target.find(b"/", service_end + 1, path_end)
    if end < 0:
        end = path_end
    return TriggerAsk(_names(target[len(_PROXY) : end]), b"", target, target[:end])


def _header_names(value: bytes) -> Names:
    path = b"/" + value.strip().strip(b"/")
    if not path.startswith(_PROXY) or path.count(b"/") != 4:
        allowed = f"{PROXY_PREFIX[1:]}SERVICE[.QUALIFIER]/FUNCTION"
        raise invalid(f"header x-fc-invocation-target '{_shown(value)}': {allowed} is allowed")
    return _names(path[len(_PROXY) :])


@lru_cache(maxsize=4096)
def _names(names: bytes) -> Names:
    """SERVICE[.QUALIFIER]/FUNCTION. A service's name has no dot, so the first one ends it."""
    qualified, _, function = unquote_to_bytes(names).decode("latin-1").partition("/")
    service, _, qualifier = qualified.partition(".")
    return Names(service, qualifier or LATEST, function)


@lru_cache(maxsize=1024)
def _invocation_names(target: bytes) -> Names | None:
    """Of …/services/{service}[.{qualifier}]/functions/{function}/invocations[?qualifier=…]; None: another path."""
    path, _, query = target.partition(b"?")
    parts = path.split(b"/")
    if len(parts) != 7 or parts[4] != b"functions" or not path.endswith(_INVOKE_SUFFIX):
        return None
    return _by_query(_names(parts[3] + b"/" + parts[5]), query)


@lru_cache(maxsize=1024)
def _invocation_names_3(target: bytes) -> Names | None:
    """Of /2023-03-30/functions/{function}/invocations[?qualifier=…]; None: another path.

    FC 3.0 has no services: function `f` is that of service `f`, and `s$f` that of service `s`.
    """
    path, _, query = target.partition(b"?")
    parts = path.split(b"/")
    if len(parts) != 5 or not path.endswith(_INVOKE_SUFFIX):
        return None
    name = unquote_to_bytes(parts[3]).decode("latin-1")
    service, dollar, function = name.partition("$")
    return _by_query(Names(service, LATEST, function if dollar else name), query)


def _by_query(names: Names, query: bytes) -> Names:
    for pair in query.split(b"&"):
        key, _, value = pair.partition(b"=")
        if key == b"qualifier" and value:
            return names._replace(qualifier=unquote_to_bytes(value).decode("latin-1"))
    return names


def _origin_form(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """http://host/path, as a client says to a proxy → the path, and the host that counts (RFC 9112, section 3.2.2)."""
    scheme, _, rest = target.partition(b"://")
    if scheme.lower() not in (b"http", b"https"):
        raise Refusal(
            400, "PathNotSupported", f"'{method.decode('latin-1')}' against '{_shown(target)}' is not supported"
        )
    host, slash, path = rest.partition(b"/")
    return slash + path or b"/", host


def _not_supported(method: bytes, path: bytes) -> Refusal:
    return Refusal(400, "PathNotSupported", f"'{method.decode('latin-1')}' against '{_shown(path)}' is not supported")


def _shown(value: bytes) -> str:
    return value[:200].decode("latin-1")
