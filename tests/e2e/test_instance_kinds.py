"""The built-in server with real functions of every kind: ASGI, WSGI, plain; hooks; errors; what the log shows."""

from __future__ import annotations

import asyncio
import base64
import json

import httpx
import pytest

from runtime.contract import InstanceState
from tests.support.node import HTTP, INVOKE, ROOT, NodeProcess, http
from tests.support.websocket_client import Refused, websocket

FAILED, READY = InstanceState.FAILED, InstanceState.READY


# -- plain functions --------------------------------------------------------------------------------------------------


async def test_a_plain_function_gets_the_bytes_and_a_context_of_the_headers(node: NodeProcess) -> None:
    source = """
        def handler(event, context):
            context.logger.info("about to answer")
            return {
                "event": event.decode(),
                "request_id": context.request_id,
                "function": [context.function.name, context.function.memory, context.function.timeout],
                "service": [context.service.name, context.service.version_id],
                "account": context.account_id,
                "key": context.credentials.access_key_id,
            }
    """
    status = await node.launched(node.python(source))
    headers = {
        **INVOKE,
        "x-fc-function-name": "f",
        "x-fc-function-memory": "512",
        "x-fc-function-timeout": "3",
        "x-fc-service-name": "s",
        "x-fc-version-id": "7",
        "x-fc-account-id": "42",
        "x-fc-access-key-id": "",
    }
    async with http(status.address) as client:
        answer = await client.post("/invoke", content=b"payload", headers=headers)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "event": "payload",
        "request_id": "r-1",
        "function": ["f", 512, 3],
        "service": ["s", "7"],
        "account": "42",
        "key": "",
    }
    output = await node.output(status.instance_id)
    assert "r-1 [INFO] about to answer" in output
    assert output.index("FC Invoke Start RequestId: r-1") < output.index("about to answer")
    assert output.endswith("FC Invoke End RequestId: r-1\n")


@pytest.mark.parametrize(
    ("result", "body", "content_type"),
    [
        ("b'\\x00\\xff'", b"\x00\xff", "application/octet-stream"),
        ("'text'", b"text", "text/plain; charset=utf-8"),
        ("[1, None]", b"[1, null]", "application/json"),
        ("None", b"null", "application/json"),
    ],
)
async def test_results_are_bytes_texts_or_json(node: NodeProcess, result: str, body: bytes, content_type: str) -> None:
    status = await node.launched(node.python(f"async def handler(event, context): return {result}"))
    async with http(status.address) as client:
        answer = await client.post("/invoke", headers=INVOKE)
    assert answer.content == body
    assert answer.headers["content-type"] == content_type


@pytest.mark.parametrize(
    ("source", "error_type", "message"),
    [
        ("raise ValueError('no good')", "ValueError", "no good"),
        ("return object()", "ResultError", "the result must be bytes, a text or JSON"),
        ("import sys; sys.exit(3)", "FunctionExited", "the function called exit(3)"),
    ],
)
async def test_an_invocation_that_fails_is_a_200_with_the_error_and_its_type(
    node: NodeProcess, source: str, error_type: str, message: str
) -> None:
    status = await node.launched(node.python(f"def handler(event, context):\n    {source}\n"))
    async with http(status.address) as client:
        answer = await client.post("/invoke", headers=INVOKE)
    assert answer.status_code == 200
    assert answer.headers["x-fc-error-type"] == "UnhandledInvocationError"
    assert answer.json()["errorType"] == error_type
    assert message in answer.json()["errorMessage"]
    assert "FC Invoke End RequestId: r-1, Error: Unhandled function error" in await node.output(status.instance_id)


async def test_the_stack_trace_shows_the_functions_frames_alone(node: NodeProcess) -> None:
    status = await node.launched(node.python("def handler(event, context):\n    raise ValueError('no')\n"))
    async with http(status.address) as client:
        trace = (await client.post("/invoke", headers=INVOKE)).json()["stackTrace"]
    (frame,) = trace
    assert frame[0].endswith('/app.py"')
    assert frame[1:] == ["line 2", "in handler", "raise ValueError('no')"]


async def test_an_http_trigger_gives_a_plain_function_function_computes_event(node: NodeProcess) -> None:
    source = """
        import json
        def handler(event, context):
            headers = {"X-Seen": "yes", "Set-Cookie": ["a=1", "b=2"]}
            return {"statusCode": 201, "headers": headers, "body": json.loads(event)}
    """
    status = await node.launched(node.python(source))
    async with http(status.address) as client:
        answer = await client.put("/a%20b/c?x=1&y=", content=b"text", headers={**HTTP, "x-fc-client-ip": "10.0.0.9"})
    event = answer.json()
    assert answer.status_code == 201
    assert answer.headers["x-seen"] == "yes"
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert event["version"] == "v1"
    assert event["rawPath"] == "/a%20b/c"
    assert event["queryParameters"] == {"x": "1", "y": ""}
    assert (event["body"], event["isBase64Encoded"]) == ("text", False)
    assert event["requestContext"]["http"]["method"] == "PUT"
    assert event["requestContext"]["http"]["sourceIp"] == "10.0.0.9"
    assert event["requestContext"]["requestId"] == "r-2"


async def test_an_http_trigger_of_a_plain_function_that_raises_is_a_502(node: NodeProcess) -> None:
    status = await node.launched(node.python("def handler(event, context): raise ValueError('no')"))
    async with http(status.address) as client:
        answer = await client.get("/", headers=HTTP)
    assert answer.status_code == 502
    assert answer.headers["x-fc-error-type"] == "UnhandledInvocationError"
    assert answer.json()["errorMessage"] == "no"


async def test_sync_functions_run_as_many_at_once_as_the_instance_takes(node: NodeProcess) -> None:
    source = """
        import threading
        everybody = threading.Barrier(3, timeout=10)
        def handler(event, context):
            everybody.wait()
            return "met"
    """
    status = await node.launched(node.python(source, instance_concurrency=3))
    async with http(status.address) as client:
        answers = await asyncio.gather(*(client.post("/invoke", headers=INVOKE) for _ in range(3)))
    assert [answer.text for answer in answers] == ["met"] * 3


# -- apps -------------------------------------------------------------------------------------------------------------


async def test_an_asgi_app_gets_requests_as_they_are_and_its_lifespan_runs(node: NodeProcess) -> None:
    source = """
        import contextlib
        from starlette.applications import Starlette
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route

        @contextlib.asynccontextmanager
        async def lifespan(app):
            print("lifespan began", flush=True)
            yield {"word": "kept"}
            print("lifespan ended", flush=True)

        async def show(request):
            return PlainTextResponse(f"{request.method} {request.url.path} {request.client.host} {request.state.word}")

        handler = Starlette(routes=[Route("/{path:path}", show, methods=["GET", "POST"])], lifespan=lifespan)
    """
    status = await node.launched(node.python(source))
    async with http(status.address) as client:
        answer = await client.get("/2016-08-15/proxy/s/f/x", headers={**HTTP, "x-fc-client-ip": "10.0.0.9"})
        assert answer.text == "GET /2016-08-15/proxy/s/f/x 10.0.0.9 kept"
        assert (await client.post("/invoke", headers=INVOKE)).status_code == 200
    await node.client.stop(status.instance_id, 5.0)
    await node.until(status.instance_id, InstanceState.STOPPED)
    output = await node.output(status.instance_id)
    assert output.startswith("lifespan began\n")
    assert output.endswith("lifespan ended\n")


async def test_an_asgi_app_talks_over_a_websocket_and_its_log_has_the_marks(node: NodeProcess) -> None:
    source = """
        from starlette.applications import Starlette
        from starlette.routing import WebSocketRoute

        async def shout(socket):
            await socket.accept()
            print("talking", flush=True)
            while True:
                text = await socket.receive_text()
                await socket.send_text(text.upper())

        async def broken(socket):
            raise ValueError("no socket for you")

        handler = Starlette(routes=[WebSocketRoute("/shout", shout), WebSocketRoute("/broken", broken)])
    """
    status = await node.launched(node.python(source))
    async with websocket(status.address, "/shout", HTTP) as talk:
        await talk.send("hello")
        assert await talk.receive() == "HELLO"
    with pytest.raises(Refused) as refused:
        async with websocket(status.address, "/broken", {**HTTP, "x-fc-request-id": "r-3"}):
            pass
    assert refused.value.status == 500

    async def output() -> str:
        return await node.output(status.instance_id)

    async with asyncio.timeout(20.0):
        while "FC Invoke End RequestId: r-3" not in await output():
            await asyncio.sleep(0.01)
    lines = (await output()).splitlines()
    assert lines[:3] == ["FC Invoke Start RequestId: r-2", "talking", "FC Invoke End RequestId: r-2"]
    assert lines[3] == "FC Invoke Start RequestId: r-3"
    assert "ValueError: no socket for you" in lines
    assert "FC Invoke End RequestId: r-3, Error: Unhandled function error" in lines


async def test_an_asgi_app_whose_lifespan_fails_is_failed_with_the_traceback(node: NodeProcess) -> None:
    source = """
        import contextlib
        from starlette.applications import Starlette

        @contextlib.asynccontextmanager
        async def lifespan(app):
            raise RuntimeError("no model")
            yield

        handler = Starlette(lifespan=lifespan)
    """
    failed = await node.launched(node.python(source), FAILED)
    assert "the app's lifespan startup failed" in failed.reason
    assert "RuntimeError: no model" in await node.output(failed.instance_id)


async def test_a_flask_app_is_served_in_threads(node: NodeProcess) -> None:
    pytest.importorskip("flask")
    source = """
        import flask, threading
        handler = flask.Flask(__name__)
        everybody = threading.Barrier(2, timeout=10)

        @handler.route("/meet/<name>", methods=["POST"])
        def meet(name):
            everybody.wait()
            return f"{name}: {flask.request.get_data(as_text=True)} from {flask.request.remote_addr}"
    """
    status = await node.launched(node.python(source, instance_concurrency=2))
    headers = {**HTTP, "x-fc-client-ip": "10.0.0.9"}
    async with http(status.address) as client:
        answers = await asyncio.gather(*(client.post(f"/meet/{n}", content=b"hi", headers=headers) for n in "ab"))
    assert sorted(answer.text for answer in answers) == ["a: hi from 10.0.0.9", "b: hi from 10.0.0.9"]


async def test_a_wsgi_function_is_known_by_its_parameters(node: NodeProcess) -> None:
    source = """
        def handler(environ, start_response):
            start_response("418 I am a teapot", [("content-type", "text/plain")])
            return [environ["PATH_INFO"].encode()]
    """
    status = await node.launched(node.python(source))
    async with http(status.address) as client:
        answer = await client.get("/tea", headers=HTTP)
    assert (answer.status_code, answer.text) == (418, "/tea")


async def test_an_app_that_raises_before_it_answers_is_a_502_with_the_error(node: NodeProcess) -> None:
    status = await node.launched(node.python("async def handler(scope, receive, send): raise ValueError('no')"))
    async with http(status.address) as client:
        answer = await client.get("/", headers=HTTP)
    assert answer.status_code == 502
    assert answer.json()["errorType"] == "ValueError"


async def test_an_answer_that_is_cut_short_is_not_taken_for_a_whole_one(node: NodeProcess) -> None:
    source = """
        async def handler(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise ValueError("no")
    """
    status = await node.launched(node.python(source))
    async with http(status.address) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/", headers=HTTP)


async def test_answers_are_streamed(node: NodeProcess) -> None:
    source = """
        import asyncio
        async def handler(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            await receive()
            assert (await receive())["type"] == "http.disconnect"
            print("left", flush=True)
    """
    status = await node.launched(node.python(source))
    async with http(status.address) as client, client.stream("GET", "/", headers=HTTP) as answer:
        assert await anext(answer.aiter_raw()) == b"first"
    async with asyncio.timeout(10):
        while "left" not in await node.output(status.instance_id):
            await asyncio.sleep(0.02)


# -- hooks ------------------------------------------------------------------------------------------------------------


async def test_a_python_initializer_is_called_with_a_context_before_ready(node: NodeProcess) -> None:
    source = """
        model = None
        def handler(event, context): return model
        def initialize(context):
            global model
            model = context.function.name
    """
    status = await node.launched(node.python(source, initializer="app.initialize"))
    async with http(status.address) as client:
        assert (await client.post("/invoke", headers=INVOKE)).text == "function"
    output = await node.output(status.instance_id)
    assert output.startswith("FC Initialize Start RequestId: ")
    assert "\nFC Initialize End RequestId: " in output


async def test_a_python_initializer_that_raises_fails_with_its_message(node: NodeProcess) -> None:
    source = """
        def handler(event, context): return event
        def initialize(context): raise RuntimeError("no weights")
    """
    failed = await node.launched(node.python(source, initializer="app.initialize"), FAILED)
    assert "POST /initialize answered 500" in failed.reason
    assert "no weights" in failed.reason


async def test_an_initializer_that_names_no_function_goes_to_the_app(node: NodeProcess) -> None:
    source = """
        async def handler(scope, receive, send):
            if scope["type"] == "http":
                print("app got", scope["method"], scope["path"], flush=True)
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await send({"type": "http.response.body"})
    """
    for initializer in ("/initialize", "true"):
        status = await node.launched(node.python(source, initializer=initializer))
        assert "app got POST /initialize" in await node.output(status.instance_id)


@pytest.mark.parametrize(
    ("initializer", "said"),
    [
        ("app.nothing", "initializer 'app.nothing': module 'app' has no 'nothing'"),
        ("true", "initializer 'true' must be 'module.attribute'"),
    ],
)
async def test_an_initializer_that_cannot_be_found_fails_the_launch(
    node: NodeProcess, initializer: str, said: str
) -> None:
    function = node.python("def handler(event, context): return event", initializer=initializer)
    assert said in (await node.launched(function, FAILED)).reason


# -- whose modules ----------------------------------------------------------------------------------------------------


async def test_a_functions_own_modules_win_over_ours_of_the_same_name(node: NodeProcess) -> None:
    files = {
        "runtime/__init__.py": "NAME = 'mine'",
        "runtime/instance.py": "NAME = 'mine too'",
        "provision.py": "NAME = 'mine'",
        "control_plane/part.py": "NAME = 'mine'",  # a package without __init__.py
        "app.py": """
            import runtime, runtime.instance, provision, control_plane.part, json
            def handler(event, context):
                modules = (runtime, runtime.instance, provision, control_plane.part)
                return [module.NAME for module in modules]
        """,
    }
    status = await node.launched(node.python(files))
    async with http(status.address) as client:
        assert (await client.post("/invoke", headers=INVOKE)).json() == ["mine", "mine too", "mine", "mine"]


async def test_a_function_without_such_modules_finds_our_helpers_and_nothing_else_of_ours(node: NodeProcess) -> None:
    source = """
        import importlib, json
        from runtime.instance import load_session
        def handler(event, context):
            found = []
            for name in ("provision", "control_plane", "loadtests"):
                try:
                    importlib.import_module(name)
                    found.append(name)
                except ModuleNotFoundError:
                    pass
            return [load_session.__name__, found]
    """
    status = await node.launched(node.python(source))
    async with http(status.address) as client:
        assert (await client.post("/invoke", headers=INVOKE)).json() == ["load_session", []]


async def test_a_handler_may_lie_in_a_package_and_import_its_neighbours(node: NodeProcess) -> None:
    files = {
        "src/__init__.py": "",
        "src/words.py": "WORD = 'near'",
        "src/main.py": "from .words import WORD\ndef handler(event, context): return WORD",
        "uvicorn.py": "def handler(event, context): return 'by its file'",
    }
    for handler, expected in (
        ("src.main.handler", "near"),
        ("src/main.handler", "near"),
        ("uvicorn.handler", "by its file"),
    ):
        status = await node.launched(node.python(files, handler=handler))
        async with http(status.address) as client:
            assert (await client.post("/invoke", headers=INVOKE)).text == expected


async def test_a_model_runs_through_the_session_helper(node: NodeProcess) -> None:
    model = ROOT / "functions" / "digits" / "digits.onnx"
    source = f"""
        import numpy, os
        from runtime.instance import load_session
        session = load_session({str(model)!r})
        def handler(event, context):
            (result,) = session.run(None, {{"image": numpy.zeros((1, 1, 8, 8), numpy.float32)}})
            options = session.get_session_options()
            return {{"threads": options.intra_op_num_threads, "shape": list(result.shape)}}
    """
    status = await node.launched(node.python(source, cpu=1.5))
    async with http(status.address) as client:
        answer = await client.post("/invoke", headers=INVOKE)
    assert json.loads(answer.content) == {"threads": 2, "shape": [1, 10]}


# -- the end of the log ------------------------------------------------------------------------------------------------

TAIL = {**INVOKE, "x-fc-log-type": "Tail"}


def log_in(answer: httpx.Response) -> str:
    return base64.b64decode(answer.headers["x-fc-log-result"]).decode()


async def test_the_tail_has_all_that_was_logged_during_this_invocation(node: NodeProcess) -> None:
    source = """
        import logging, subprocess, sys
        def handler(event, context):
            print("printed")
            print("to stderr", file=sys.stderr)
            logging.getLogger("own").info("logged")
            subprocess.run(["echo", "by a child"], check=True)
            if event == b"fail":
                raise ValueError("wrong")
            return b"ok"
    """
    status = await node.launched(node.python(source))
    async with http(status.address) as client:
        before = await client.post("/invoke", headers={**INVOKE, "x-fc-request-id": "r-0"})
        answer = await client.post("/invoke", headers=TAIL)
        failed = await client.post("/invoke", headers={**TAIL, "x-fc-request-id": "r-2"}, content=b"fail")
    assert "x-fc-log-result" not in before.headers
    lines = log_in(answer).splitlines()
    assert lines[:3] == ["FC Invoke Start RequestId: r-1", "printed", "to stderr"]
    assert lines[3].endswith("r-1 [INFO] logged")
    assert lines[4:] == ["by a child", "FC Invoke End RequestId: r-1"]
    lines = log_in(failed).splitlines()
    assert lines[0] == "FC Invoke Start RequestId: r-2"
    assert "ValueError: wrong" in lines
    assert lines[-1] == "FC Invoke End RequestId: r-2, Error: Unhandled function error"
    output = await node.output(status.instance_id)
    assert output.count("FC Invoke End") == 3


async def test_the_tail_is_4_kib_at_most(node: NodeProcess) -> None:
    for concurrency in (1, 2):
        source = "def handler(event, context): print('é' * 10_001); return b'ok'"
        status = await node.launched(node.python(source, instance_concurrency=concurrency))
        async with http(status.address) as client:
            answer = await client.post("/invoke", headers=TAIL)
        log = log_in(answer)
        assert 4093 <= len(log.encode()) <= 4096
        assert log.endswith("é\nFC Invoke End RequestId: r-1\n")


@pytest.mark.parametrize("kind", ["sync", "async", "flask", "asgi"])
async def test_tails_of_invocations_at_once_do_not_mix(node: NodeProcess, kind: str) -> None:
    sources = {
        "sync": """
            import logging, threading
            meet = threading.Barrier(2, timeout=10)
            def handler(event, context):
                print("from", event.decode())
                meet.wait()
                logging.warning("still %s", event.decode())
                meet.wait()
                return b"ok"
        """,
        "async": """
            import asyncio, logging
            inside = []
            async def handler(event, context):
                print("from", event.decode())
                inside.append(1)
                while len(inside) < 2:
                    await asyncio.sleep(0.001)
                logging.warning("still %s", event.decode())
                return b"ok"
        """,
        "flask": """
            import flask, logging, threading
            handler = flask.Flask(__name__)
            meet = threading.Barrier(2, timeout=10)
            @handler.route("/invoke", methods=["POST"])
            def invoke():
                event = flask.request.get_data(as_text=True)
                print("from", event)
                meet.wait()
                logging.warning("still %s", event)
                return "ok"
        """,
        "asgi": """
            import asyncio, logging
            from starlette.applications import Starlette
            from starlette.responses import PlainTextResponse
            from starlette.routing import Route
            inside = []
            async def invoke(request):
                event = (await request.body()).decode()
                print("from", event)
                inside.append(1)
                while len(inside) < 2:
                    await asyncio.sleep(0.001)
                logging.warning("still %s", event)
                return PlainTextResponse("ok")
            handler = Starlette(routes=[Route("/invoke", invoke, methods=["POST"])])
        """,
    }
    if kind == "flask":
        pytest.importorskip("flask")
    status = await node.launched(node.python(sources[kind], instance_concurrency=2))
    async with http(status.address) as client:
        answers = await asyncio.gather(
            *(client.post("/invoke", content=n, headers={**TAIL, "x-fc-request-id": f"r-{n}"}) for n in ("a", "b"))
        )
    for name, answer in zip(("a", "b"), answers, strict=True):
        lines = log_in(answer).splitlines()
        assert lines[:2] == [f"FC Invoke Start RequestId: r-{name}", f"from {name}"]
        assert lines[2].endswith(f"r-{name} [WARNING] still {name}")
        assert lines[-1] == f"FC Invoke End RequestId: r-{name}"
        assert len(lines) == 4
