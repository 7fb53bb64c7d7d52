"""How destinations are spelled, what is sent there, and what an instance's answer means."""

from __future__ import annotations

import json

import pytest

from runtime.async_invocation.destinations import ToFunction, ToStream, ToUrl, event, id_for, parse
from runtime.async_invocation.records import Invocation, Status, new_invocation
from runtime.async_invocation.retry import Kind
from runtime.gateway.attempt import outcome_of


def ended(status: Status, **values: object) -> Invocation:
    record = new_invocation(
        1.0, invocation_id="i", request_id="r", service="s", function="f", qualifier="prod", version="1"
    )
    if status is not Status.EXPIRED:
        record = record.to(Status.RUNNING, 2.0, attempts=2)
    return record.to(status, 3.5, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("acs:fc:cn-x:42:services/s.prod/functions/f", ToFunction("s", "prod", "f")),
        ("acs:fc:::services/s.3/functions/f", ToFunction("s", "3", "f")),
        ("acs:fc:::services/s/functions/f", ToFunction("s", "LATEST", "f")),
        ("acs:fc:cn-x:42:functions/f", ToFunction("f", "LATEST", "f")),
        ("acs:fc:::functions/s$f/prod", ToFunction("s", "prod", "f")),
        ("acs:redis:::streams/a.b-c", ToStream("streams/a.b-c")),
        ("http://h", ToUrl("http", "h", 80, "/")),
        ("https://h/p?q=1", ToUrl("https", "h", 443, "/p?q=1")),
        ("http://[::1]:8080/", ToUrl("http", "::1", 8080, "/")),
    ],
)
def test_each_kind_is_known_by_its_form(text: str, means: object) -> None:
    assert parse(text) == means


@pytest.mark.parametrize(
    "text",
    ["", "f", "ftp://h/", "http://", "http://u:p@h/", "http://h:99999/", "http://h/a b", "http://h/\r\nx: y",
     "acs:redis:::streams/stoke:routes", "acs:mns:::/queues/q/messages", "acs:fc:::services/s/functions/f/x",
     "acs:fc:::functions/s.prod",
     "http://h/" + "x" * 2048],
)  # fmt: skip
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="is allowed"):
        parse(text)


def test_a_success_is_told_in_fcs_shape() -> None:
    said = json.loads(event(ended(Status.SUCCEEDED), b"in", b"out", region="cn-x", account_id="42"))
    assert said == {
        "timestamp": 3500,
        "requestContext": {
            "requestId": "r",
            "invocationId": "i",
            "functionArn": "acs:fc:cn-x:42:services/s.prod/functions/f",
            "condition": "Success",
            "approximateInvokeCount": 2,
        },
        "requestPayload": "in",
        "responseContext": {"statusCode": 200, "functionError": "", "errorMessage": ""},
        "responsePayload": "out",
    }


def test_a_failure_says_why() -> None:
    failed = ended(Status.FAILED, error="no luck", error_type="UnhandledInvocationError")
    said = json.loads(event(failed, b"\xff", b"", region="", account_id=""))
    assert said["requestContext"]["condition"] == "RetriesExhausted"
    assert said["responseContext"] == {
        "statusCode": 200,
        "functionError": "UnhandledInvocationError",
        "errorMessage": "no luck",
    }
    assert (said["requestPayload"], said["requestPayloadEncoding"]) == ("/w==", "base64")
    expired = json.loads(event(ended(Status.EXPIRED), b"", b"", region="", account_id=""))
    assert expired["requestContext"]["condition"] == "EventAgeExceeded"
    assert expired["responseContext"]["statusCode"] == 0


def test_the_same_result_is_the_same_invocation_of_its_destination() -> None:
    assert id_for(ended(Status.SUCCEEDED)) == id_for(ended(Status.FAILED))
    assert len(id_for(ended(Status.SUCCEEDED))) <= 128


@pytest.mark.parametrize(
    ("status", "error_type", "fc_status", "kind"),
    [
        (200, "", "", Kind.SUCCESS),
        (200, "", "200", Kind.SUCCESS),
        (200, "HandledInvocationError", "", Kind.FUNCTION_ERROR),
        (200, "", "404", Kind.FUNCTION_ERROR),
        (500, "", "", Kind.FUNCTION_ERROR),
        (404, "", "", Kind.FUNCTION_ERROR),
    ],
)
def test_an_answer_means_what_it_means_to_a_synchronous_client(
    status: int, error_type: str, fc_status: str, kind: Kind
) -> None:
    outcome = outcome_of(status, error_type, fc_status, b"")
    assert outcome.kind is kind
    assert bool(outcome.error_type) == (kind is Kind.FUNCTION_ERROR)


def test_a_function_errors_message_is_the_functions_own() -> None:
    assert outcome_of(200, "E", "", b'{"errorMessage": "no luck"}').error == "no luck"
    assert outcome_of(500, "", "", b"plain words").error == "plain words"
    assert outcome_of(500, "", "", b"").error == "the function answered with status 500"
