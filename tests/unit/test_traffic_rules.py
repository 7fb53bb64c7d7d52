"""The rules of an alias: FC's items and operators, and what is wrong in them."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.traffic.asked import Asked
from runtime.traffic.rules import parse_rules


def asked(*fields: tuple[bytes, bytes], target: bytes = b"/") -> Asked:
    return Asked(list(fields), target)


def item(operator: str, value: str, kind: str = "Header", key: str = "X-Uid") -> dict[str, str]:
    return {"type": kind, "key": key, "operator": operator, "value": value}


def matches(policy: dict[str, Any], given: Asked) -> bool:
    return parse_rules(policy).match(given)


@pytest.mark.parametrize(
    ("operator", "value", "given", "expected"),
    [
        ("=", "a", b"a", True),
        ("==", "a", b"b", False),
        ("!=", "a", b"b", True),
        ("!=", "a", None, False),
        ("<", "b", b"a", True),
        ("<=", "b", b"b", True),
        (">", "10", b"9", True),  # as text, as FC has it
        (">=", "b", b"a", False),
        ("in", "a, b ,c", b"b", True),
        ("in", "[a,b]", b"b", True),
        ("in", "ab,c", b"a", False),
        ("prefix", "beta-", b"beta-7", True),
        ("prefix", "beta-", b"alpha", False),
        ("percent", "100", b"anything", True),
        ("percent", "100", None, False),
    ],
)
def test_an_item_compares_what_a_request_says(operator: str, value: str, given: bytes | None, expected: bool) -> None:
    fields = [] if given is None else [(b"x-uid", given)]
    assert matches({"policyItems": [item(operator, value)]}, asked(*fields)) is expected


def test_cookies_and_parameters_are_found_by_their_names() -> None:
    given = asked((b"Cookie", b'a=1; sid="x y"; sid=z'), (b"Cookie", b"last=2"), target=b"/p?uid=7%20a&uid=8&empty=")
    for kind, key, value in (
        ("Cookie", "sid", "x y"),
        ("Cookie", "last", "2"),
        ("Param", "uid", "7 a"),
        ("Param", "empty", ""),
    ):
        assert matches({"policyItems": [item("=", value, kind, key)]}, given), (kind, key)
    assert given.value("Cookie", "SID") is None
    assert given.value("Param", "none") is None
    assert asked(target=b"/?" + b"&".join(b"a=1" for _ in range(1001))).value("Param", "a") is None


def test_all_items_must_match_or_one_of_them() -> None:
    items = [item("=", "a"), item("=", "1", "Param", "v")]
    one, both = asked((b"x-uid", b"a")), asked((b"x-uid", b"a"), target=b"/?v=1")
    assert [matches({"condition": "AND", "policyItems": items}, each) for each in (one, both)] == [False, True]
    assert [matches({"condition": "OR", "policyItems": items}, each) for each in (one, asked())] == [True, False]
    assert not matches({"policyItems": []}, both)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"condition": "XOR"}, "routePolicy.condition is 'XOR': must be AND or OR"),
        ({"policyItems": {}}, "routePolicy.policyItems"),
        ({"policyItems": "x"}, "routePolicy.policyItems is 'x': must be a list of at most 100 items"),
        ({"policyItems": [1]}, r"routePolicy.policyItems\[0\] is 1: must be an object"),
        ({"policyItems": [item("=", "a", "Body")]}, "type is 'Body': must be one of Header, Cookie, Param"),
        ({"policyItems": [item("=", "a", key="")]}, "key is '': must be the name of a header"),
        ({"policyItems": [item("~", "a")]}, "operator is '~': must be one of =, ==, !=, <, <=, >, >=, prefix, in, per"),
        ({"policyItems": [item("percent", "0")]}, "value is '0': must be a whole number from 1 to 100"),
        ({"policyItems": [item("percent", "1.5")]}, "value is '1.5': must be a whole number from 1 to 100"),
        ({"policyItems": [{**item("=", "a"), "value": 1}]}, "value is 1: must be a string"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(policy: dict[str, Any], message: str) -> None:
    if policy == {"policyItems": {}}:
        assert not parse_rules(policy).items  # nothing, as empty as a list
        return
    with pytest.raises(ValueError, match=message):
        parse_rules(policy)
