"""What a request asks for, and which destination that is."""

from __future__ import annotations

import pytest

from runtime.contract import AliasRoute, FunctionRoute, TriggerRoute
from runtime.gateway.refusal import Refusal
from runtime.gateway.resolve import ApiAsk, DomainAsk, InvokeAsk, Names, TriggerAsk, ask
from runtime.gateway.routes import Routes

HOST = b"127.0.0.1:9000"


def asked(
    target: bytes, *, method: bytes = b"GET", host: bytes = HOST, header: bytes | None = None
) -> TriggerAsk | DomainAsk | InvokeAsk | ApiAsk:
    return ask(method, target, host, header, {b"f-s": None})


@pytest.mark.parametrize(
    ("target", "names", "base_path"),
    [
        (b"/2016-08-15/proxy/s/f/", Names("s", "LATEST", "f"), b"/2016-08-15/proxy/s/f"),
        (b"/2016-08-15/proxy/s/f", Names("s", "LATEST", "f"), b"/2016-08-15/proxy/s/f"),
        (b"/2016-08-15/proxy/s/f?a=/b", Names("s", "LATEST", "f"), b"/2016-08-15/proxy/s/f"),
        (b"/2016-08-15/proxy/s.prod/f/x/y?z", Names("s", "prod", "f"), b"/2016-08-15/proxy/s.prod/f"),
        (b"/2016-08-15/proxy/s.12/f//", Names("s", "12", "f"), b"/2016-08-15/proxy/s.12/f"),
        (b"/2016-08-15/proxy/s%2Eprod/f/", Names("s", "prod", "f"), b"/2016-08-15/proxy/s%2Eprod/f"),
    ],
)
def test_a_proxy_path_names_a_function_and_goes_on_whole(target: bytes, names: Names, base_path: bytes) -> None:
    assert asked(target) == TriggerAsk(names, b"", target, base_path)


def test_a_header_names_a_function_and_the_path_is_its_own() -> None:
    for value in (b"2016-08-15/proxy/s.prod/f", b"/2016-08-15/proxy/s.prod/f/", b" 2016-08-15/proxy/s.prod/f "):
        assert asked(b"/x?y", header=value) == TriggerAsk(Names("s", "prod", "f"), b"", b"/x?y", b"")


@pytest.mark.parametrize("value", [b"", b"s/f", b"2016-08-15/proxy/s", b"2016-08-15/proxy/s/f/x"])
def test_a_header_that_names_no_function_is_refused_with_what_is_allowed(value: bytes) -> None:
    with pytest.raises(Refusal, match="2016-08-15/proxy/SERVICE") as refused:
        asked(b"/", header=value)
    assert (refused.value.status, refused.value.code) == (400, "InvalidArgument")


def test_code_that_is_uploaded_is_for_the_api() -> None:
    assert asked(b"/1000/code-uploads/0f", method=b"PUT") == ApiAsk()
    for method, target in ((b"GET", b"/1000/code-uploads/0f"), (b"PUT", b"/1000/other/0f"), (b"PUT", b"/code-uploads")):
        with pytest.raises(Refusal):
            asked(target, method=method)


def test_a_sub_domain_counts_before_the_path() -> None:
    for host in (b"f-s.cn-local.example", b"F-S.cn-local.example:80"):
        assert asked(b"/2016-08-15/services", host=host) == TriggerAsk(None, b"f-s", b"/2016-08-15/services", b"")
    assert asked(b"http://f-s.example/x?y", host=HOST) == TriggerAsk(None, b"f-s", b"/x?y", b"")


@pytest.mark.parametrize(
    ("target", "qualifier"),
    [
        (b"/2016-08-15/services/s/functions/f/invocations", "LATEST"),
        (b"/2016-08-15/services/s.prod/functions/f/invocations", "prod"),
        (b"/2021-04-06/services/s/functions/f/invocations", "LATEST"),
        (b"/2021-04-06/services/s/functions/f/invocations?x=1&qualifier=prod", "prod"),
        (b"/2021-04-06/services/s/functions/f/invocations?qualifier=", "LATEST"),
    ],
)
def test_a_post_to_invocations_invokes(target: bytes, qualifier: str) -> None:
    assert asked(target, method=b"POST") == InvokeAsk(Names("s", qualifier, "f"))


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"GET", b"/2016-08-15/services/s/functions/f/invocations"),
        (b"POST", b"/2016-08-15/services/s/functions/f/triggers"),
        (b"POST", b"/2016-08-15/services/s/functions/f/x/invocations"),
        (b"GET", b"/2021-04-06/services"),
        (b"GET", b"/2023-03-30/functions/f"),
        (b"GET", b"/stoke/instances"),
    ],
)
def test_the_rest_of_the_api_is_the_control_planes(method: bytes, target: bytes) -> None:
    assert asked(target, method=method) == ApiAsk()


@pytest.mark.parametrize("target", [b"/", b"/nowhere", b"*", b"example.com:443", b"ftp://x/y"])
def test_other_paths_are_not_supported(target: bytes) -> None:
    with pytest.raises(Refusal, match="is not supported") as refused:
        asked(target)
    assert (refused.value.status, refused.value.code) == (400, "PathNotSupported")


def test_a_proxy_path_without_a_function_says_what_is_allowed() -> None:
    for target in (b"/2016-08-15/proxy/", b"/2016-08-15/proxy/s", b"/2016-08-15/proxy/s?/f"):
        with pytest.raises(Refusal, match=r"SERVICE.*FUNCTION/ is allowed"):
            asked(target)


# -- routes ------------------------------------------------------------------------------------------------------------


def routes() -> Routes:
    made = Routes()
    for version in ("LATEST", "1", "2"):
        function = FunctionRoute("s", "f", version, "r", headers={"x-fc-function-name": "f"})
        made.put(f"function/s/{version}/f", _dict(function))
    made.put("alias/s/prod", _dict(AliasRoute("s", "prod", "1", {"2": 0.25})))
    made.put("trigger/s/f/t", _dict(TriggerRoute("s", "f", "LATEST", "t", "anonymous", ["get"], "f-s")))
    return made


def _dict(message: FunctionRoute | AliasRoute | TriggerRoute) -> dict[str, object]:
    return {name: getattr(message, name) for name in message.__slots__}


def version_of(made: Routes, qualifier: str, roll: float = 0.0) -> str:
    return made.destination(Names("s", qualifier, "f"), roll).route.version


def test_a_qualifier_is_a_version_or_an_alias() -> None:
    made = routes()
    assert [version_of(made, qualifier) for qualifier in ("LATEST", "1", "2")] == ["LATEST", "1", "2"]


def test_the_roll_divides_an_alias_by_weight() -> None:
    made = routes()
    assert [version_of(made, "prod", roll) for roll in (0.0, 0.249, 0.25, 0.999)] == ["2", "2", "1", "1"]


def test_an_alias_that_moves_is_followed() -> None:
    made = routes()
    assert version_of(made, "prod", 0.9) == "1"
    made.put("alias/s/prod", _dict(AliasRoute("s", "prod", "2")))
    assert version_of(made, "prod", 0.9) == "2"
    made.remove("alias/s/prod")
    with pytest.raises(Refusal, match="alias 'prod' does not exist in service 's'"):
        version_of(made, "prod")


def test_an_instance_is_told_the_functions_headers_and_the_qualifier_it_was_asked_by() -> None:
    destination = routes().destination(Names("s", "prod", "f"), 0.9)
    assert destination.http_headers == (
        b"x-fc-function-name: f\r\nx-fc-qualifier: prod\r\nx-fc-control-path: /http-invoke\r\n"
    )
    assert destination.invoke_headers.endswith(b"x-fc-control-path: /invoke\r\n")
    assert destination.response_headers == b"x-fc-invocation-service-version: 1\r\n"


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (Names("x", "LATEST", "f"), "ServiceNotFound"),
        (Names("s", "9", "f"), "VersionNotFound"),
        (Names("s", "dev", "f"), "AliasNotFound"),
        (Names("s", "LATEST", "x"), "FunctionNotFound"),
        (Names("s", "prod", "x"), "FunctionNotFound"),
        (Names("s", "prod", "f"), "TriggerNotFound"),
    ],
)
def test_the_outermost_missing_thing_is_named(names: Names, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        routes().entrance(TriggerAsk(names, b"", b"/", b""))
    assert (refused.value.status, refused.value.code) == (404, code)


def test_a_trigger_is_found_by_names_and_by_sub_domain_until_it_is_removed() -> None:
    made = routes()
    by_names = TriggerAsk(Names("s", "LATEST", "f"), b"", b"/", b"")
    by_subdomain = TriggerAsk(None, b"f-s", b"/", b"")
    for asking in (by_names, by_subdomain):
        assert made.entrance(asking).methods == {b"GET"}
    made.remove("trigger/s/f/t")
    assert not made.subdomains
    with pytest.raises(Refusal, match="no http trigger of function 'f'"):
        made.entrance(by_names)


@pytest.mark.parametrize("field", ["function/s/f", "alias/s", "other/s/f", ""])
def test_an_entry_of_an_unknown_kind_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="allowed"):
        Routes().put(field, {})


def test_a_header_that_would_end_its_line_is_refused_when_it_is_written() -> None:
    function = FunctionRoute("s", "f", "LATEST", "r", headers={"x-fc-a": "b\r\nc: d"})
    with pytest.raises(ValueError, match="line ends and NUL are not allowed"):
        Routes().put("function/s/LATEST/f", _dict(function))
