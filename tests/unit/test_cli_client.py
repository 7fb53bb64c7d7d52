"""The client: what it sends, how it pages, and what becomes of every answer that is not a success."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime

import httpx
import pytest

from control_plane.cli.client import Client, function_path, provision_path, service_path, trigger_path
from control_plane.cli.endpoint import Credentials
from control_plane.cli.failures import ServerError, Unreachable
from runtime.error_body import error_body
from runtime.signature import authorization

ENDPOINT = "http://127.0.0.1:9000"
KEY = Credentials("id", "secret")


def client(handler: Callable[[httpx.Request], httpx.Response], key: Credentials | None = KEY) -> Client:
    return Client(ENDPOINT, key, transport=httpx.MockTransport(handler))


def test_qualifiers_are_in_the_path_as_fc_2_has_them() -> None:
    assert service_path("s") == "/2016-08-15/services/s"
    assert function_path("s", "f", "live") == "/2016-08-15/services/s.live/functions/f"
    assert trigger_path("s", "f", "t") == "/2016-08-15/services/s/functions/f/triggers/t"
    assert provision_path("s", "f") == "/2016-08-15/services/s.LATEST/functions/f/provision-config"


def test_a_name_with_a_slash_cannot_reach_another_path() -> None:
    assert function_path("a/b", "c?d") == "/2016-08-15/services/a%2Fb/functions/c%3Fd"


def test_every_request_is_signed_over_the_headers_that_are_sent() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert parsedate_to_datetime(request.headers["date"]).tzinfo is not None
        sent = {name: request.headers[name] for name in ("date", "content-type")}
        assert request.headers["authorization"] == authorization("PUT", request.url.path, sent, "id", "secret")
        return httpx.Response(200, json={})

    client(handler).put("/2016-08-15/services/s", {"description": "d"})


def test_without_a_key_nothing_is_signed() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert "authorization" not in request.headers
        return httpx.Response(200, json={})

    client(handler, key=None).get("/2016-08-15/services")


def test_an_error_is_its_code_and_message_on_one_line() -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(
            409, content=error_body("ServiceAlreadyExists", "service 's' exists", "r"), headers={"x-fc-request-id": "r"}
        )

    with pytest.raises(ServerError, match=r"^ServiceAlreadyExists: service 's' exists$") as caught:
        client(handler).post("/2016-08-15/services", {})
    assert (caught.value.exit_code, caught.value.status, caught.value.request_id) == (1, 409, "r")


def test_an_error_that_is_not_fcs_still_says_what_came() -> None:
    with pytest.raises(ServerError, match="HTTP502: bad gateway"):
        client(lambda _: httpx.Response(502, text="bad gateway")).get("/x")


def test_an_answer_that_is_not_json_is_an_error() -> None:
    with pytest.raises(ServerError, match="InvalidAnswer: not JSON: '<html>'"):
        client(lambda _: httpx.Response(200, text="<html>")).get("/x")


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.RemoteProtocolError("cut off")])
def test_where_nobody_answers_it_says_how_to_start(error: httpx.TransportError) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(
        Unreachable, match=r"does not answer at http://127.0.0.1:9000 .*: start it with `stoke up`"
    ) as caught:
        client(handler).get("/x")
    assert caught.value.exit_code == 3


def test_an_answer_that_takes_too_long_is_said_to() -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("timed out")

    with pytest.raises(Unreachable, match=r"no answer in time from http://127.0.0.1:9000"):
        client(handler).get("/x")


def test_a_listing_is_read_to_its_end() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        token = request.url.params.get("nextToken")
        assert request.url.params["limit"] == "100"
        page = {None: ([1, 2], "b"), "b": ([3], "c"), "c": ([], "")}[token]
        return httpx.Response(200, json={"services": page[0], "nextToken": page[1]})

    items: list[object] = list(client(handler).pages("/2016-08-15/services", "services"))
    assert items == [1, 2, 3]


def test_only_a_missing_thing_is_none_other_errors_are_raised() -> None:
    missing = client(lambda _: httpx.Response(404, content=error_body("FunctionNotFound", "no", "")))
    assert missing.get_or_none("/x") is None
    assert missing.delete("/x") is False
    unknown_route = client(lambda _: httpx.Response(404, content=error_body("PathNotSupported", "no", "")))
    with pytest.raises(ServerError, match="PathNotSupported"):
        unknown_route.get_or_none("/x")
