"""FC's request signature, against strings put together by hand and readings of several clients."""

from __future__ import annotations

import base64

import pytest

from runtime.signature import (
    SKEW_S_MAX,
    RequestHead,
    SignatureRefused,
    authorization,
    read_claim,
    sign,
    string_to_sign,
    verify,
)

DATE = "Sat, 21 Nov 2026 09:00:00 GMT"
NOW_S = 1_795_251_600.0  # the same moment
HEADERS = {"Date": DATE, "Content-Type": "application/json", "X-Fc-Account-Id": "1", "x-fc-a": "b"}


def check(
    headers: dict[str, str],
    path: str = "/p",
    resource_query: str | None = None,
    base_path: str = "",
    now_s: float = NOW_S,
) -> None:
    values = {name.lower(): value for name, value in headers.items()}
    trigger = None if resource_query is None else base_path
    head = RequestHead("GET", path, resource_query or "", values, trigger)
    verify(head, read_claim(head), secret="secret", now_s=now_s)


def signed(path: str = "/p", query: str | None = None, headers: dict[str, str] | None = None) -> dict[str, str]:
    sent = HEADERS if headers is None else headers
    return {**sent, "Authorization": authorization("GET", path, sent, "id", "secret", resource_query=query)}


def test_an_api_request_signs_method_headers_and_path() -> None:
    text = string_to_sign("post", "/2016-08-15/services", {**HEADERS, "Content-MD5": "m"})
    assert text == f"POST\nm\napplication/json\n{DATE}\nx-fc-a:b\nx-fc-account-id:1\n/2016-08-15/services"


def test_missing_headers_leave_their_lines_empty() -> None:
    assert string_to_sign("GET", "/p", {}) == "GET\n\n\n\n/p"


def test_a_triggers_request_signs_its_decoded_query_sorted_one_pair_a_line() -> None:
    text = string_to_sign("GET", "/p", {}, resource_query="b=2&a=x%20y&a=1+2&c")
    assert text == "GET\n\n\n\n/p\na=1 2\na=x y\nb=2\nc="
    assert string_to_sign("GET", "/p", {}, resource_query="") == "GET\n\n\n\n/p\n"
    unsorted = string_to_sign("GET", "/p", {}, resource_query="b=2&a=x%20y", sort_query=False)
    assert unsorted == "GET\n\n\n\n/p\nb=2\na=x y"


def test_the_signature_is_hmac_sha256_in_base64() -> None:
    # The second test case of RFC 4231.
    digest = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    assert base64.b64decode(sign("Jefe", "what do ya want for nothing?")) == digest


def test_what_is_signed_is_accepted() -> None:
    check(signed())
    check(signed(query=""), resource_query="")
    check(signed(query="b=2&a=1"), resource_query="b=2&a=1")


def test_the_readings_of_several_clients_are_accepted() -> None:
    check(signed("/a b"), path="/a%20b")  # decoded
    check(signed("/a%20b"), path="/a%20b")  # as on the wire
    base = "/2016-08-15/proxy/s/f"
    check(signed("/x", ""), path=f"{base}/x", resource_query="", base_path=base)
    check(signed("/", ""), path=base, resource_query="", base_path=base)
    text = string_to_sign("GET", "/p", HEADERS, resource_query="b=2&a=1", sort_query=False)
    check({**HEADERS, "Authorization": f"FC id:{sign('secret', text)}"}, resource_query="b=2&a=1")


def test_a_trigger_may_be_signed_by_the_path_that_a_client_put_behind_its_url() -> None:
    # `s invoke` signs "/x" and asks urlInternet + "/x", and urlInternet ends with a slash.
    base = "/2016-08-15/proxy/s/f"
    check(signed("/x", ""), path=f"{base}//x", resource_query="", base_path=base)
    check(signed("/", ""), path=f"{base}//", resource_query="", base_path=base)
    with pytest.raises(SignatureRefused):
        check(signed("/y", ""), path=f"{base}//x", resource_query="", base_path=base)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "MissingRequiredHeader"),
        ({"Authorization": "Bearer x"}, "AccessDenied"),
        ({"Authorization": "FC id"}, "AccessDenied"),
        ({**signed(), "Authorization": "FC id:x"}, "SignatureNotMatch"),
        ({**signed(), "Authorization": "FC id:\u00e9"}, "SignatureNotMatch"),
        ({**signed(), "x-fc-a": "c"}, "SignatureNotMatch"),
        ({**signed(), "x-fc-more": "c"}, "SignatureNotMatch"),
        (signed(headers={}), "MissingRequiredHeader"),
        (signed(headers={"Date": "yesterday"}), "AccessDenied"),
        (signed(headers={"Date": "Sat, 99 Nov 99999999999 09:00:00 GMT"}), "AccessDenied"),
    ],
)
def test_what_is_wrong_is_named_by_fcs_code(headers: dict[str, str], code: str) -> None:
    with pytest.raises(SignatureRefused) as refused:
        check(headers)
    assert refused.value.code == code


def test_another_path_or_query_does_not_match() -> None:
    with pytest.raises(SignatureRefused, match="does not match"):
        check(signed(), path="/q")
    with pytest.raises(SignatureRefused, match="does not match"):
        check(signed(), resource_query="a=1")


def test_a_date_may_be_a_quarter_of_an_hour_off() -> None:
    check(signed(), now_s=NOW_S + SKEW_S_MAX)
    check(signed(), now_s=NOW_S - SKEW_S_MAX)
    for now_s in (NOW_S + SKEW_S_MAX + 1, NOW_S - SKEW_S_MAX - 1):
        with pytest.raises(SignatureRefused, match="more than 15 minutes"):
            check(signed(), now_s=now_s)


def test_a_client_that_cannot_set_date_may_say_it_in_a_header_of_its_own() -> None:
    check(signed(headers={"x-fc-date": DATE}))
