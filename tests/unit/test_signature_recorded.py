"""Requests as the published SDKs sent them to a server that wrote them down (see `tests/fixtures/README.md`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.signature import SKEW_S_MAX, RequestHead, SignatureRefused, read_claim, verify
from runtime.signature.verify import Proof

RECORDED = json.loads((Path(__file__).parents[1] / "fixtures" / "signed_requests.json").read_text())
NOW_S = float(RECORDED["recorded_at_s"])
REQUESTS: list[dict[str, Any]] = RECORDED["requests"]
NAMES = [request["name"] for request in REQUESTS]
every_request = pytest.mark.parametrize("request_", REQUESTS, ids=NAMES)


def scheme(request: dict[str, Any]) -> str:
    return str(next(value for name, value in request["headers"] if name.lower() == "authorization")).split(" ")[0]


def head_of(request: dict[str, Any], **changed: str) -> RequestHead:
    """`changed` replaces headers (with `_` for `-`), "" takes one out; `target` and `method` may be changed too."""
    target = changed.pop("target", request["target"])
    method = changed.pop("method", request["method"])
    new = {name.replace("_", "-"): value for name, value in changed.items()}
    sent = [(name, value) for name, value in request["headers"] if name.lower() not in new]
    sent += [(name, value) for name, value in new.items() if value]
    base_path = "/2016-08-15/proxy/s/f" if request.get("trigger") else None
    pairs = [(name.encode(), value.encode()) for name, value in sent]
    return RequestHead.of(method, target.encode(), pairs, base_path)


def check(request: dict[str, Any], *, secret: str = RECORDED["secret"], now_s: float = NOW_S, **changed: str) -> Proof:
    head = head_of(request, **changed)
    claim = read_claim(head)
    assert claim.access_key_id == RECORDED["access_key_id"]
    token = RECORDED["token"] if request.get("token") else ""
    return verify(head, claim, secret=secret, token=token, now_s=now_s)


def refused(request: dict[str, Any], **changed: Any) -> tuple[int, str]:
    with pytest.raises(SignatureRefused) as error:
        check(request, **changed)
    return error.value.status, error.value.code


def test_all_three_schemes_were_recorded() -> None:
    assert {scheme(request) for request in REQUESTS} == {"FC", "ACS3-HMAC-SHA256", "acs"}


@every_request
def test_what_an_sdk_signed_holds(request_: dict[str, Any]) -> None:
    proof = check(request_)
    assert abs(proof.signed_at_s - NOW_S) < 60
    assert bool(proof.nonce) == (scheme(request_) != "FC")
    if proof.body is not None:
        proof.body.update(request_["body"].encode("latin-1"))
        proof.body.check()


@every_request
def test_another_secret_does_not_match(request_: dict[str, Any]) -> None:
    assert refused(request_, secret="other") == (403, "SignatureNotMatch")


@every_request
def test_another_path_or_method_does_not_match(request_: dict[str, Any]) -> None:
    path, _, query = request_["target"].partition("?")
    assert refused(request_, target=f"{path}x?{query}") == (403, "SignatureNotMatch")
    assert refused(request_, method="PATCH") == (403, "SignatureNotMatch")


@every_request
def test_an_old_date_and_one_to_come_are_refused(request_: dict[str, Any]) -> None:
    for now_s in (NOW_S + SKEW_S_MAX + 61, NOW_S - SKEW_S_MAX - 61):
        assert refused(request_, now_s=now_s) == (403, "AccessDenied")


@every_request
def test_a_request_without_a_date_or_a_signature_is_told_which_header_is_missing(request_: dict[str, Any]) -> None:
    date = "x_acs_date" if scheme(request_).startswith("ACS3") else "date"
    assert refused(request_, **{date: ""}) == (400, "MissingRequiredHeader")
    with pytest.raises(SignatureRefused, match="Authorization is missing"):
        read_claim(head_of(request_, authorization=""))


def bodies() -> Iterator[Any]:
    """Those whose scheme promises the body."""
    for request in REQUESTS:
        if check(request).body is not None:
            yield pytest.param(request, id=request["name"])


@pytest.mark.parametrize("request_", list(bodies()))
def test_a_changed_body_is_noticed(request_: dict[str, Any]) -> None:
    body = check(request_).body
    assert body is not None
    body.update(request_["body"].encode("latin-1") + b" ")
    with pytest.raises(SignatureRefused) as error:
        body.check()
    assert (error.value.status, error.value.code) == (403, "SignatureNotMatch")


@pytest.mark.parametrize("request_", [r for r in REQUESTS if scheme(r) != "FC"], ids=lambda r: r["name"])
def test_a_query_and_an_x_acs_header_are_signed(request_: dict[str, Any]) -> None:
    assert refused(request_, target=request_["target"] + "&x=1") == (403, "SignatureNotMatch")
    assert refused(request_, x_acs_signature_nonce="another") == (403, "SignatureNotMatch")
    assert refused(request_, x_acs_more="not signed") == (403, "SignatureNotMatch")


@pytest.mark.parametrize("request_", [r for r in REQUESTS if r.get("token")], ids=lambda r: r["name"])
def test_a_security_token_must_be_the_keys(request_: dict[str, Any]) -> None:
    head = head_of(request_)
    with pytest.raises(SignatureRefused, match="security token is not that of the access key"):
        verify(head, read_claim(head), secret=RECORDED["secret"], token="another", now_s=NOW_S)
    # A key that has no token takes it as one more header that is signed.
    verify(head, read_claim(head), secret=RECORDED["secret"], now_s=NOW_S)


@pytest.mark.parametrize("request_", [r for r in REQUESTS if r.get("token")], ids=lambda r: r["name"])
def test_a_key_with_a_token_is_worth_nothing_without(request_: dict[str, Any]) -> None:
    name = "x_fc_security_token" if scheme(request_) == "FC" else "x_acs_security_token"
    assert refused(request_, **{name: ""}) == (403, "AccessDenied")


@pytest.mark.parametrize("missing", ["x_acs_signature_nonce", "x_acs_content_sha256"])
def test_what_acs3_needs_is_named_when_it_is_missing(missing: str) -> None:
    request = next(r for r in REQUESTS if scheme(r).startswith("ACS3"))
    assert refused(request, **{missing: ""}) == (400, "MissingRequiredHeader")
