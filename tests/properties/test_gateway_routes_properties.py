"""A gateway's routes after any history of changes, and what a request costs among many of them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runtime.contract import (
    AliasRoute,
    AsyncRoute,
    FunctionRoute,
    TriggerRoute,
    alias_field,
    async_field,
    function_field,
    trigger_field,
)
from runtime.gateway.feeds import decode
from runtime.gateway.refusal import Refusal
from runtime.gateway.resolve import Names, TriggerAsk
from runtime.gateway.routes import Routes

NAMES, VERSIONS, QUALIFIERS = ("a", "b"), ("LATEST", "1"), ("LATEST", "1", "prod")
name, version, qualifier = map(st.sampled_from, (NAMES, VERSIONS, QUALIFIERS))


def function(service: str, at: str, of: str) -> tuple[str, str]:
    return function_field(service, at, of), FunctionRoute(service, of, at, "r").to_json()


def alias(service: str, at: str) -> tuple[str, str]:
    return alias_field(service, "prod"), AliasRoute(service, "prod", at).to_json()


def trigger(service: str, of: str, by: str, called: str) -> tuple[str, str]:
    route = TriggerRoute(service, of, by, called, "anonymous", ["GET"], subdomain=f"{of}-{service}-{called}")
    return trigger_field(service, of, called), route.to_json()


def asynchronous(service: str, by: str, of: str, age_s: float) -> tuple[str, str]:
    return async_field(service, by, of), AsyncRoute(service, of, by, event_age_s_max=age_s).to_json()


entry = st.one_of(
    st.builds(function, name, version, name),
    st.builds(alias, name, version),
    st.builds(trigger, name, name, qualifier, st.sampled_from(("t", "u"))),
    st.builds(asynchronous, name, qualifier, name, st.sampled_from((1.0, 60.0))),
)
change = st.tuples(entry, st.booleans())  # put it, or take away what is there under its field


def answers(routes: Routes) -> list[Any]:
    """All that can be asked of them."""
    found: list[Any] = []
    for service in NAMES:
        for of in NAMES:
            found.append(routes.async_age_s_min(service, of))
            for by in QUALIFIERS:
                names = Names(service, by, of)
                try:
                    found.append(routes.destination(names, 0.0).key)
                except Refusal as refusal:
                    found.append((refusal.code, refusal.message))
                try:
                    found.append(routes.entrance(TriggerAsk(names, b"", b"/", b"")).names)
                except Refusal as refusal:
                    found.append((refusal.code, refusal.message))
    return [*found, sorted(routes.subdomains)]


@given(st.lists(change, max_size=30))
def test_routes_that_were_changed_one_by_one_answer_as_those_that_were_read_at_once(
    changes: list[tuple[tuple[str, str], bool]],
) -> None:
    followed, left = Routes(), dict[str, str]()
    for (field, value), is_put in changes:
        if is_put:
            followed.put(field, decode(value))
            left[field] = value
        else:
            followed.remove(field)
            left.pop(field, None)
    loaded = Routes()
    for field, value in left.items():
        loaded.put(field, decode(value))
    assert answers(followed) == answers(loaded)
    assert followed._known == loaded._known
    for field in left:
        followed.remove(field)
    for table in (followed._known, followed._triggers_of, followed._async_of, followed.subdomains):
        assert not table, "what is gone takes no memory"


class NotLookedThrough(dict[Any, Any]):
    """A table in which things may be looked up, and no more."""

    def _refuse(self) -> Any:
        raise AssertionError("a request looked through a whole table")

    __iter__ = keys = values = items = _refuse


def test_no_request_looks_through_all_functions_triggers_or_configs_whether_it_finds_its_own_or_not() -> None:
    routes = Routes()
    for service in NAMES:
        for field, value in (
            function(service, "LATEST", "a"),
            alias(service, "1"),
            trigger(service, "a", "LATEST", "t"),
            asynchronous(service, "LATEST", "a", 60.0),
        ):
            routes.put(field, decode(value))
    for table in ("_functions", "_aliases", "_triggers", "_async", "_known", "_triggers_of", "_async_of", "subdomains"):
        setattr(routes, table, NotLookedThrough(getattr(routes, table)))
    assert ("a", "LATEST", "a") in answers_without_sorting(routes)


def answers_without_sorting(routes: Routes) -> list[Any]:
    subdomains, routes.subdomains = routes.subdomains, {}
    found = answers(routes)
    routes.subdomains = subdomains
    return found
