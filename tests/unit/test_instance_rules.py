"""The pure parts of the built-in server: what kind a handler is, events and answers, contexts, whose module it is."""

from __future__ import annotations

import base64
import functools
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.instance import isolation, mistakes
from runtime.instance.context import Context
from runtime.instance.envelope import HttpAnswer, HttpRequest, ResultError, answer_from, event_from
from runtime.instance.handler import HandlerError, HandlerKind, is_name, kind_of, takes_argument
from runtime.instance.session import load_session

# -- kinds ------------------------------------------------------------------------------------------------------------


class AsgiObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class WsgiObject:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


async def asgi_function(scope: Any, receive: Any, send: Any) -> None: ...


def wsgi_function(environ: Any, start_response: Any) -> Any: ...


def plain(event: Any, context: Any) -> Any: ...


async def plain_async(event: Any, context: Any) -> Any: ...


def plain_with_default(event: Any, context: Any = None) -> Any: ...


def plain_with_more(event: Any, context: Any, debug: bool = False) -> Any: ...


def anything(*arguments: Any) -> Any: ...


@functools.wraps(plain)
def wrapped(*arguments: Any, **more: Any) -> Any: ...


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (AsgiObject(), HandlerKind.ASGI),
        (asgi_function, HandlerKind.ASGI),
        (WsgiObject(), HandlerKind.WSGI),
        (wsgi_function, HandlerKind.WSGI),
        (plain, HandlerKind.PLAIN),
        (plain_async, HandlerKind.PLAIN),
        (plain_with_default, HandlerKind.PLAIN),
        (plain_with_more, HandlerKind.PLAIN),
        (anything, HandlerKind.PLAIN),
        (wrapped, HandlerKind.PLAIN),
    ],
)
def test_a_handler_is_known_by_its_parameters(handler: Any, kind: HandlerKind) -> None:
    assert kind_of(handler, "app.handler") is kind


@pytest.mark.parametrize("handler", [lambda: 0, lambda event: 0, lambda a, b, c: 0, dict])
def test_a_handler_of_no_kind_is_refused(handler: Any) -> None:
    with pytest.raises(HandlerError, match=r"app\.handler"):
        kind_of(handler, "app.handler")


def test_hooks_are_called_with_a_context_if_they_take_one() -> None:
    assert takes_argument(lambda context: 0)
    assert takes_argument(lambda context=None: 0)
    assert not takes_argument(lambda: 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("app.init", True), ("src/app.init", True), ("a.b.c", True), ("true", False), ("/initialize", False), ("", False)],
)
def test_what_names_a_function(text: str, expected: bool) -> None:
    assert is_name(text) is expected


# -- events and answers -----------------------------------------------------------------------------------------------


def request(**changes: Any) -> HttpRequest:
    values: dict[str, Any] = {
        "method": "POST",
        "path": "/a",
        "query": "x=1&x=2&y=%20",
        "headers": {"host": "f.example", "user-agent": "tests"},
        "body": b"text",
        "at_s": 1.5,
    }
    return HttpRequest(**{**values, **changes})


def test_an_event_has_function_computes_keys() -> None:
    event = json.loads(event_from(request()))
    assert event["queryParameters"] == {"x": "2", "y": " "}
    assert event["headers"]["user-agent"] == "tests"
    assert event["requestContext"]["domainPrefix"] == "f"
    assert event["requestContext"]["timeEpoch"] == "1500"
    assert set(event) == {
        "version", "rawPath", "headers", "queryParameters", "body", "isBase64Encoded", "requestContext",
    }  # fmt: skip


def test_a_body_that_is_no_text_is_base64() -> None:
    event = json.loads(event_from(request(body=b"\xff\x00")))
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == b"\xff\x00"


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        ("hi", HttpAnswer(200, [("content-type", "text/plain; charset=utf-8")], b"hi")),
        (b"hi", HttpAnswer(200, [("content-type", "application/octet-stream")], b"hi")),
        ({"a": 1}, HttpAnswer(200, [("content-type", "application/json")], b'{"a": 1}')),
        ({"statusCode": 204}, HttpAnswer(204, [], b"")),
        ({"statusCode": "404", "body": None}, HttpAnswer(404, [], b"")),
        (
            {"statusCode": 200, "headers": {"Content-Type": "text/html", "Content-Length": 99}, "body": "<p>"},
            HttpAnswer(200, [("content-type", "text/html")], b"<p>"),
        ),
        (
            {"statusCode": 200, "body": "/w==", "isBase64Encoded": True},
            HttpAnswer(200, [("content-type", "application/octet-stream")], b"\xff"),
        ),
        (
            {"statusCode": 200, "body": {"a": 1}},
            HttpAnswer(200, [("content-type", "application/json")], b'{"a": 1}'),
        ),
    ],
)
def test_results_become_answers(result: Any, answer: HttpAnswer) -> None:
    assert answer_from(result) == answer


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"statusCode": 99}, "statusCode 99 must be a number from 200 to 599"),
        ({"statusCode": "ok"}, "statusCode 'ok' must be"),
        ({"statusCode": 200, "headers": ["a"]}, "headers must be an object, not a list"),
        (
            {"statusCode": 302, "headers": {"Location": "/\r\nset-cookie: a=b"}},
            "header 'location' has the value '/.r.n",
        ),
        ({"statusCode": 200, "headers": {"x-name": "\N{SNOWMAN}"}}, "header 'x-name' has the value .*: Latin-1"),
        ({"statusCode": 200, "headers": {"x-list": ["good", "b\0d"]}}, "header 'x-list' has the value"),
        ({"statusCode": 200, "headers": {"x name": "a"}}, "headers has the name 'x name'"),
        ({"statusCode": 200, "headers": {"": "a"}}, "headers has the name ''"),
        ({"statusCode": 200, "body": "%", "isBase64Encoded": True}, "body is not base64"),
        (object(), "the result must be bytes, a text or JSON"),
    ],
)
def test_results_that_are_no_answer_say_which_part(result: Any, said: str) -> None:
    with pytest.raises(ResultError, match=said):
        answer_from(result)


def test_a_context_without_headers_is_empty() -> None:
    context = Context({"x-fc-function-memory": "lots"})
    assert (context.request_id, context.function.memory, context.credentials.security_token) == ("", 0, "")


def test_an_error_is_told_with_message_type_and_frames() -> None:
    try:
        plain_that_raises()
    except ValueError as error:
        told = json.loads(mistakes.error_json(error))
    assert (told["errorMessage"], told["errorType"]) == ("no", "ValueError")
    assert told["stackTrace"][-1][2:] == ["in plain_that_raises", 'raise ValueError("no")']


def plain_that_raises() -> None:
    raise ValueError("no")


# -- whose module -----------------------------------------------------------------------------------------------------


@pytest.fixture
def finder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> isolation.OurNames:
    ours, code = tmp_path / "ours", tmp_path / "code"
    for folder in (ours, code):
        folder.mkdir()
    for name in isolation.OURS:
        (ours / name).mkdir()
        (ours / name / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(code), str(ours)])
    return isolation.OurNames(str(ours))


def test_of_ours_only_runtime_is_found_where_a_function_has_none(finder: isolation.OurNames, tmp_path: Path) -> None:
    found = finder.find_spec("runtime")
    assert found is not None
    assert found.origin == str(tmp_path / "ours" / "runtime" / "__init__.py")
    for name in ("provision", "control_plane", "loadtests"):
        with pytest.raises(ModuleNotFoundError, match=f"No module named '{name}'"):
            finder.find_spec(name)
    assert finder.find_spec("json") is None
    assert finder.find_spec("runtime.instance") is None


def test_a_functions_own_module_is_found_first(finder: isolation.OurNames, tmp_path: Path) -> None:
    (tmp_path / "code" / "provision.py").touch()
    (tmp_path / "code" / "runtime").mkdir()  # without __init__.py
    provision, runtime = finder.find_spec("provision"), finder.find_spec("runtime")
    assert provision is not None
    assert provision.origin == str(tmp_path / "code" / "provision.py")
    assert runtime is not None
    assert list(runtime.submodule_search_locations or []) == [str(tmp_path / "code" / "runtime")]


def test_a_session_without_threads_is_refused() -> None:
    with pytest.raises(ValueError, match="threads 0 must be at least 1"):
        load_session("model.onnx", threads=0)
