"""What a real node makes of a launch: READY, or FAILED with a reason that helps, or refused at once."""

from __future__ import annotations

import dataclasses
import json
import random
import socket
from collections.abc import Iterator

import pytest

from runtime.contract import InstanceState
from runtime.node.client import NodeError
from runtime.node.local_ports import LocalPorts
from tests.support.node import NodeProcess, http, running_node, spec

FAILED, INITIALIZING, READY = InstanceState.FAILED, InstanceState.INITIALIZING, InstanceState.READY

ECHO = "def handler(event, context): return event"

# A server of the user's own: answers every path, and does at /initialize what its first argument says.
SERVER = """
    import http.server, json, os, sys, time

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            if self.path == "/initialize":
                if sys.argv[1] == "hang":
                    time.sleep(60)
                if sys.argv[1] == "exit":
                    print("no model here", flush=True)
                    os._exit(7)
                print("initialize", dict(self.headers), flush=True)
            self.answer(int(sys.argv[2]) if sys.argv[1] == "status" else 200)

        def do_GET(self):
            self.answer(200)

        def answer(self, status):
            body = json.dumps({"env": dict(os.environ), "cwd": os.getcwd(), "status": status}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["FC_SERVER_PORT"])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def process() -> Iterator[NodeProcess]:
    with running_node("--backend", "process") as node:
        yield node


async def test_a_python_function_is_ready_and_answers(node: NodeProcess) -> None:
    status = await node.launched(node.python(ECHO))
    assert status.pid > 0
    assert status.address.startswith("unix:")
    async with http(status.address) as client:
        assert (await client.post("/invoke", content=b"hello")).content == b"hello"


async def test_a_server_of_the_users_own_is_ready_and_answers(node: NodeProcess) -> None:
    status = await node.launched(node.custom(SERVER, "fine"))
    assert status.address.startswith("tcp:127.0.0.1:")
    async with http(status.address) as client:
        assert (await client.get("/")).status_code == 200


async def test_two_instances_of_one_server_have_ports_of_their_own(node: NodeProcess) -> None:
    addresses = {(await node.launched(node.custom(SERVER, "fine"))).address for _ in range(3)}
    assert len(addresses) == 3


async def test_the_environment_is_function_computes_and_the_users_and_nothing_of_the_nodes(node: NodeProcess) -> None:
    function = node.custom(SERVER, "fine", environment={"COLOUR": "red", "FC_REGION": "moon"}, memory_mib=256)
    status = await node.launched(function)
    async with http(status.address) as client:
        told = (await client.get("/")).json()
    environment = told["env"]
    assert environment["COLOUR"] == "red"
    assert environment["FC_REGION"] == "cn-local"
    assert environment["FC_SERVER_PORT"] == status.address.rpartition(":")[2]
    assert environment["FC_INSTANCE_ID"] == function.instance_id
    assert environment["FC_FUNCTION_MEMORY_SIZE"] == "256"
    assert told["cwd"] == str(node.data / "code" / function.code_sha256)
    allowed = ("PATH", "HOME", "LANG", "TMPDIR", "COLOUR", "PWD", "SHLVL", "_", "OLDPWD", "LC_CTYPE")
    ours = ("FC_", "STOKE_", "PYTHON", "CUDA_", "OMP_", "ORT_")
    assert [n for n in environment if n not in allowed and not n.startswith(ours)] == []


async def test_a_forked_instance_sees_no_environment_but_its_own(node: NodeProcess) -> None:
    source = """
        import json, os
        def handler(event, context):
            return {"env": dict(os.environ), "proc": open("/proc/self/environ").read()}
    """
    status = await node.launched(node.python(source, environment={"COLOUR": "red"}))
    async with http(status.address) as client:
        told = (await client.post("/invoke")).json()
    assert told["env"]["COLOUR"] == "red"
    kept = {entry.partition("=")[0] for entry in told["proc"].split("\0") if entry}
    assert kept <= {"PATH", "HOME", "LD_LIBRARY_PATH", "LANG", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}


async def test_a_handler_that_raises_on_import_fails_with_the_end_of_its_traceback(node: NodeProcess) -> None:
    status = await node.launched(node.python("import nothing_of_this_name\n" + ECHO), FAILED)
    assert "importing handler 'app.handler' failed" in status.reason
    assert "ModuleNotFoundError: No module named 'nothing_of_this_name'" in status.reason
    assert "ModuleNotFoundError" in await node.output(status.instance_id)


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        ("app.nothing", "module 'app' has no 'nothing'"),
        ("other.handler", "the code has neither other.py nor other/__init__.py"),
        ("app.NUMBER", "is a int, which cannot be called"),
        ("app.lonely", "it must be handler(event, context), a WSGI app or an ASGI app"),
    ],
)
async def test_a_handler_that_is_not_there_fails_saying_what_is_missing(
    node: NodeProcess, handler: str, said: str
) -> None:
    function = node.python("NUMBER = 1\ndef lonely(): pass\n", handler=handler)
    assert said in (await node.launched(function, FAILED)).reason


async def test_initialize_is_called_once_with_the_common_headers_before_ready(node: NodeProcess) -> None:
    function = node.custom(SERVER, "fine", initializer="/initialize")
    await node.client.launch(function)
    await node.until(function.instance_id, INITIALIZING, READY)
    await node.until(function.instance_id, READY)
    output = await node.output(function.instance_id)
    assert output.count("initialize {") == 1
    assert "'x-fc-control-path': '/initialize'" in output
    assert "'x-fc-function-name': 'function'" in output
    assert "'x-fc-request-id'" in output
    assert "'content-length': '0'" in output


async def test_initialize_that_fails_gives_status_and_body(node: NodeProcess) -> None:
    function = node.custom(SERVER, "status", "500", initializer="true")
    reason = (await node.launched(function, FAILED)).reason
    assert "POST /initialize answered 500 after" in reason
    assert '{"env": ' in reason


async def test_initialize_that_hangs_fails_at_its_time_limit(node: NodeProcess) -> None:
    function = node.custom(SERVER, "hang", initializer="true", initialization_timeout_s=0.3)
    assert "did not answer within 0.3 s" in (await node.launched(function, FAILED)).reason


async def test_initialize_that_exits_fails_with_the_exit_code_and_the_last_lines(node: NodeProcess) -> None:
    function = node.custom(SERVER, "exit", initializer="true")
    reason = (await node.launched(function, FAILED)).reason
    assert "exited unexpectedly(code 7" in reason
    assert "server.py exit" in reason
    assert "Logs: no model here" in reason


async def test_a_command_that_exits_fails_with_its_code_and_last_lines(node: NodeProcess) -> None:
    function = node.custom("import sys; print('line', 1); sys.exit('bad luck')")
    reason = (await node.launched(function, FAILED)).reason
    assert "exited unexpectedly(code 1, message:exit status 1) with start command" in reason
    assert reason.endswith("Logs: line 1\nbad luck")


async def test_a_command_that_is_not_there_fails_naming_it(node: NodeProcess) -> None:
    reason = (await node.launched(spec(runtime="custom", command=["no-such-program", "x"]), FAILED)).reason
    assert "command[0] 'no-such-program' is neither in the code nor in PATH" in reason


async def test_a_server_that_never_listens_fails_naming_the_port_it_should_have(node: NodeProcess) -> None:
    function = node.custom("import time; time.sleep(60)", launch_timeout_s=0.5)
    failed = await node.launched(function, FAILED)
    port = failed.address.rpartition(":")[2]
    assert f"health check failed on port {port} in 0.5 seconds" in failed.reason
    assert "FC_SERVER_PORT" in failed.reason


async def test_a_health_check_must_pass_before_ready(node: NodeProcess) -> None:
    fine = await node.launched(node.custom(SERVER, "fine", health_path="/healthy?deep=1"))
    assert fine.state is READY
    source = """
        import http.server, os
        http.server.HTTPServer(
            ("127.0.0.1", int(os.environ["FC_SERVER_PORT"])), http.server.SimpleHTTPRequestHandler
        ).serve_forever()
    """
    function = node.custom(source, health_path="/not-there", launch_timeout_s=0.5)
    assert "(GET /not-there: status 404)" in (await node.launched(function, FAILED)).reason


async def test_a_container_is_refused_saying_that_there_is_no_engine(node: NodeProcess) -> None:
    with pytest.raises(NodeError) as refused:
        await node.client.launch(spec(runtime="custom-container"))
    assert refused.value.code == "LaunchRefused"
    assert "this node has no container engine" in refused.value.message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"runtime": "nodejs18"}, "runtime 'nodejs18' is not known here"),
        ({"handler": "app"}, "handler 'app' of runtime 'python3.11' must be 'module.attribute'"),
        ({"handler": "../app.handler"}, "must be 'module.attribute'"),
        ({"code_sha256": ""}, "needs code"),
        ({"code_sha256": "ab" * 32}, "is not unpacked on this node"),
        ({"code_sha256": "../.."}, "must be 64 hex digits"),
        ({"instance_id": "../x"}, "instance_id '../x' must match"),
        ({"runtime": "custom", "command": []}, "needs a command"),
    ],
)
async def test_what_can_never_run_is_refused_naming_the_field(
    node: NodeProcess, changes: dict[str, object], said: str
) -> None:
    function = dataclasses.replace(node.python(ECHO), **changes)  # type: ignore[arg-type]
    with pytest.raises(NodeError) as refused:
        await node.client.launch(function)
    assert refused.value.code == "LaunchRefused"
    assert said in refused.value.message
    assert await node.client.list() == []


async def test_a_launch_is_on_the_disk_when_it_is_answered_and_a_second_one_does_nothing(node: NodeProcess) -> None:
    function = node.python(ECHO)
    await node.client.launch(function)
    written = (node.data / "instances" / function.instance_id / "record.json").read_text()
    record = json.loads(written.splitlines()[-1])
    assert record["spec"] == dataclasses.asdict(function)
    ready = await node.until(function.instance_id, READY)
    await node.client.launch(function)
    assert (await node.status(function.instance_id)) == ready


async def test_a_function_with_its_own_numpy_gets_an_interpreter_without_ours(node: NodeProcess) -> None:
    files = {
        "numpy.py": "NAME = 'mine'",
        "app.py": "import numpy\ndef handler(event, context): return numpy.NAME",
    }
    status = await node.launched(node.python(files))
    async with http(status.address) as client:
        assert (await client.post("/invoke")).text == "mine"


async def test_instances_draw_random_numbers_of_their_own(node: NodeProcess) -> None:
    source = """
        import random, numpy
        def handler(event, context):
            return [random.random(), numpy.random.random()]
    """
    drawn = []
    for _ in range(2):
        status = await node.launched(node.python(source))
        async with http(status.address) as client:
            drawn += (await client.post("/invoke")).json()
    assert len(set(drawn)) == 4


def test_a_port_is_given_once_and_never_one_that_somebody_listens_on() -> None:
    with socket.socket() as listener:
        taken = LocalPorts().take()
        listener.bind(("127.0.0.1", taken))
        listener.listen()
        ports = LocalPorts(_From(taken))
        first = ports.take()
        assert first != taken
        assert ports.take() not in (taken, first)
        ports.give(first)
        assert ports.take() == first


class _From(random.Random):
    """Begins to look at the same port always."""

    def __init__(self, port: int) -> None:
        super().__init__(0)
        self._port = port

    def randrange(self, *_: object, **__: object) -> int:
        return self._port


async def test_a_data_folder_with_a_long_name_is_no_obstacle() -> None:
    long_named = NodeProcess(data="a" * 100)
    try:
        await long_named.start()
        status = await long_named.launched(long_named.python(ECHO))
        async with http(status.address) as client:
            assert (await client.post("/invoke", content=b"x")).content == b"x"
    finally:
        await long_named.close()
