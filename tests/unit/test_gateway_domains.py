"""FC 3.0's invocations, custom domains and closed functions, as the gateway resolves them."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.contract import DomainRoute
from runtime.gateway.domains import Domain
from runtime.gateway.refusal import Refusal
from runtime.gateway.resolve import API, DomainAsk, InvokeAsk, Names, ask
from runtime.gateway.routes import Routes

HOST = b"127.0.0.1:9000"
PATHS: list[dict[str, Any]] = [
    {"path": "/*", "service": "s", "function": "rest", "qualifier": "LATEST"},
    {"path": "/a", "service": "s", "function": "a", "qualifier": "prod"},
    {"path": "/a/*", "service": "s", "function": "below", "qualifier": "LATEST", "methods": ["GET"]},
    {"path": "/a/b/*", "service": "s", "function": "deep", "qualifier": "LATEST"},
]


@pytest.mark.parametrize(
    ("target", "names"),
    [
        (b"/2023-03-30/functions/f/invocations", Names("f", "LATEST", "f")),
        (b"/2023-03-30/functions/f/invocations?qualifier=prod", Names("f", "prod", "f")),
        (b"/2023-03-30/functions/s$f/invocations", Names("s", "LATEST", "f")),
        (b"/2023-03-30/functions/s%24f/invocations?x=1&qualifier=2", Names("s", "2", "f")),
    ],
)
def test_an_invocation_of_fc_3_names_a_function_of_a_service(target: bytes, names: Names) -> None:
    assert ask(b"POST", target, HOST, None, {}) == InvokeAsk(names)


@pytest.mark.parametrize("path", [b"/2023-03-30/functions/f", b"/2023-03-30/functions/f/versions"])
def test_other_paths_of_fc_3_are_the_control_planes(path: bytes) -> None:
    assert ask(b"POST", path, HOST, None, {}) is API
    assert ask(b"GET", path + b"/invocations", HOST, None, {}) is API


@pytest.mark.parametrize("host", [b"www.example.com", b"WWW.Example.COM:9000", b"www.example.com."])
def test_a_custom_domain_is_known_by_its_host_whatever_the_path(host: bytes) -> None:
    domains = {b"www.example.com": None}
    asked = ask(b"GET", b"/2016-08-15/services", host, None, {}, domains)
    assert asked == DomainAsk(b"www.example.com", b"/2016-08-15/services")
    assert ask(b"GET", b"/2016-08-15/services", HOST, None, {}, domains) is API


@pytest.mark.parametrize(
    ("target", "function"),
    [
        (b"/", "rest"),
        (b"/other?x=/a", "rest"),
        (b"/a", "a"),
        (b"/a?x=1", "a"),
        (b"/ab", "rest"),
        (b"/a/", "below"),
        (b"/a/c", "below"),
        (b"/a/b", "deep"),
        (b"/a/b/c", "deep"),
    ],
)
def test_an_exact_path_wins_and_then_the_longest(target: bytes, function: str) -> None:
    assert Domain(DomainRoute("www.example.com", PATHS)).names(target, b"GET").function == function


def test_a_path_without_a_route_is_not_found() -> None:
    with pytest.raises(Refusal, match=r"'www\.example\.com' has the path '/b'") as refused:
        Domain(DomainRoute("www.example.com", PATHS[1:])).names(b"/b", b"GET")
    assert (refused.value.status, refused.value.code) == (404, "RouteNotFound")


def test_a_route_with_methods_refuses_others() -> None:
    with pytest.raises(Refusal, match="GET is allowed") as refused:
        Domain(DomainRoute("www.example.com", PATHS)).names(b"/a/c", b"POST")
    assert (refused.value.status, refused.value.headers) == (405, (("allow", "GET"),))


def test_routes_have_a_domain_until_it_is_removed() -> None:
    routes = Routes()
    routes.put("domain/www.example.com", {"domain": "www.example.com", "paths": PATHS})
    trigger = routes.by_domain(DomainAsk(b"www.example.com", b"/a?x=1"), b"GET")
    assert (trigger.names, trigger.target, trigger.base_path) == (Names("s", "prod", "a"), b"/a?x=1", b"")
    routes.remove("domain/www.example.com")
    assert not routes.domains
