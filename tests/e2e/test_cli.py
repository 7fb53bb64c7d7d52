"""`stoke …` against the real FC API: what is printed, what is left on the server, and with which code it exits."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import pytest
import yaml
from starlette.requests import Request
from starlette.responses import Response

from control_plane.cli import main, parts
from control_plane.explain import Explained, Inputs, PolicyExplained
from control_plane.fleet_views import DeviceView, NodeView, ProvisionStatus
from control_plane.testing import instance_view
from runtime.node_contract import InstanceSample, NodeInfo
from runtime.processes import host_id, start_time
from tests.support.api_server import ApiServer, api_server

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
CONTAINER = str(DATA / "container-demo.yaml")
PROVISION = str(DATA / "provision.json")
ONE = ("--service-name", "gpu-best-practice-service", "--function-name", "gpu-moderation")


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Stoke = Callable[..., Result]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with api_server(tmp_path) as running:
        yield running


@pytest.fixture
def bare(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stoke:
    """Runs `stoke` in this process, in an empty folder, with an empty data folder and nobody to ask."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("STOKE_DATA", str(tmp_path / "no-data"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    for name in ("STOKE_ENDPOINT", "STOKE_ACCESS_KEY_ID", "STOKE_ACCESS_KEY_SECRET"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exited:
            main(arguments)
        captured = capfd.readouterr()
        assert exited.value.code is None or isinstance(exited.value.code, int)
        return Result(exited.value.code or 0, captured.out, captured.err)

    return run


@pytest.fixture
def stoke(bare: Stoke, server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Stoke:
    monkeypatch.setenv("STOKE_ENDPOINT", server.endpoint)
    return bare


# -- a file's whole way ---------------------------------------------------------------------------------------------


def test_what_leads_to_a_function_is_deployed_shown_and_removed_with_it(stoke: Stoke, tmp_path: Path) -> None:
    route = {"path": "/api/*", "methods": ["GET"]}
    props = {
        "region": "cn-local", "functionName": "shop", "runtime": "custom", "disableOndemand": True,
        "triggers": [{"triggerName": "t", "triggerType": "http", "triggerConfig": {"methods": ["GET", "POST"]}}],
        "asyncInvokeConfig": {"destinationConfig": {"onFailure": {"destination": "acs:redis:::streams/failed"}}},
        "customDomain": {"domainName": "shop.example.com", "protocol": "HTTP", "route": route},
    }  # fmt: skip
    file = tmp_path / "shop.yaml"
    file.write_text(json.dumps({"edition": "3.0.0", "resources": {"shop": {"component": "fc3", "props": props}}}))
    for _ in range(2):
        deployed = stoke("deploy", "-t", str(file), "-o", "json")
        assert (deployed.code, deployed.json["shop"]["customDomains"]) == (0, ["shop.example.com"]), deployed.err
    shown = stoke("info", "-t", str(file), "-o", "json").json["shop"]
    assert shown["function"]["disableOndemand"] is True
    (config,) = shown["asyncInvokeConfigs"]
    assert config["destinationConfig"]["onFailure"] == {"destination": "acs:redis:::streams/failed"}
    (domain,) = shown["customDomains"]
    (kept,) = domain["routeConfig"]["routes"]
    assert kept == {**route, "serviceName": "shop", "functionName": "shop", "qualifier": "LATEST"}
    removed = stoke("remove", "-y", "-t", str(file), "-o", "json").json["removed"]
    assert removed[0] == "custom domain shop.example.com"


def test_a_users_file_is_deployed_provisioned_listed_and_removed(stoke: Stoke, server: ApiServer) -> None:
    deployed = stoke("deploy", "-t", CONTAINER, "-y", "-o", "json")
    assert deployed.code == 0, deployed.err
    done = deployed.json["gpu-best-practice"]
    assert done["state"] == "created"
    assert done["triggers"][0]["methods"] == ["GET", "POST"]
    path = "/2016-08-15/proxy/gpu-best-practice-service/gpu-moderation/"
    assert done["triggers"][0]["url"] == server.endpoint + path

    put = stoke("provision", "put", "--config", PROVISION, "--qualifier", "LATEST", "-t", CONTAINER, "-a", "default")
    assert put.code == 0, put.err
    assert "target 2 · current 2" in put.err

    listed = stoke("provision", "list", "-t", CONTAINER, "-o", "json").json
    assert [(c["serviceName"], c["qualifier"], c["functionName"], c["target"], c["current"]) for c in listed] == [
        ("gpu-best-practice-service", "LATEST", "gpu-moderation", 2, 2)
    ]
    sent = json.loads(Path(PROVISION).read_text())["targetTrackingPolicies"][0]
    assert sent.items() <= listed[0]["targetTrackingPolicies"][0].items()
    assert {"currentError", "scheduledActions", "alwaysAllocateCPU"} <= listed[0].keys()

    removed = stoke("remove", "-y", "-t", CONTAINER, "-o", "json")
    assert removed.code == 0, removed.err
    assert removed.json["removed"][-1] == "service gpu-best-practice-service"
    assert stoke("info", "-t", CONTAINER).code == 1


def test_deploying_twice_changes_nothing(stoke: Stoke) -> None:
    def shown() -> Any:
        found = stoke("info", "-t", CONTAINER, "-o", "json").json["gpu-best-practice"]
        return {part: {k: v for k, v in found[part].items() if "Time" not in k} for part in ("service", "function")}

    assert stoke("deploy", "-t", CONTAINER, "-y").code == 0
    before = shown()
    assert "state: updated" in stoke("deploy", "-t", CONTAINER, "-y").out
    assert shown() == before


def test_the_sample_deployment_deploys_with_its_code(stoke: Stoke, tmp_path: Path) -> None:
    deployed = stoke("deploy", "-t", str(ROOT / "s.yaml"), "-y", "-o", "json")
    assert deployed.code == 0, deployed.err
    assert [done["function"] for done in deployed.json.values()] == ["digits", "spam_detection", "flask_app"]
    assert list((tmp_path / "code").glob("*/digits.onnx"))


def test_edition_3_deploys_too(stoke: Stoke, tmp_path: Path) -> None:
    file = {
        "edition": "3.0.0",
        "resources": {
            "one": {
                "component": "fc3",
                "props": {
                    "functionName": "fn",
                    "runtime": "custom",
                    "customRuntimeConfig": {"command": ["server"]},
                    "provisionConfig": {"defaultTarget": 1},
                },
            }
        },
    }
    (tmp_path / "cwd" / "s.yml").write_text(yaml.safe_dump(file))
    assert stoke("deploy", "-y").code == 0
    assert stoke("provision", "list", "-o", "json").json[0]["functionName"] == "fn"


def test_a_wrong_file_exits_2_and_nothing_was_asked(stoke: Stoke, server: ApiServer, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(Path(CONTAINER).read_text().replace("timeout: 1200", "timeout: 0").replace("cpu: 2", "cpus: 2"))
    result = stoke("deploy", "-t", str(wrong), "-y")
    assert result.code == 2
    assert len(result.err.splitlines()) == 2
    assert f"{wrong}:11: " in result.err
    assert server.asked == []


def test_code_that_cannot_be_packed_exits_2_and_nothing_was_asked(
    stoke: Stoke, server: ApiServer, tmp_path: Path
) -> None:
    text = (ROOT / "s.yaml").read_text().replace("./functions/digits", "./empty")
    (tmp_path / "empty").mkdir()
    (tmp_path / "functions").symlink_to(ROOT / "functions")
    (tmp_path / "s.yaml").write_text(text)
    result = stoke("deploy", "-t", str(tmp_path / "s.yaml"), "-y")
    assert (result.code, server.asked) == (2, [])
    assert "there is no file in this code folder" in result.err


def test_a_refusal_of_the_server_is_one_line_and_exits_1(stoke: Stoke) -> None:
    result = stoke("provision", "put", "--target", "1", *ONE)
    assert (result.code, result.out) == (1, "")
    assert result.err == "stoke: ServiceNotFound: service 'gpu-best-practice-service' does not exist\n"


# -- provision ------------------------------------------------------------------------------------------------------


def test_an_instance_that_does_not_start_exits_1_with_its_error(stoke: Stoke, server: ApiServer) -> None:
    stoke("deploy", "-t", CONTAINER, "-y")
    server.fleet.statuses["gpu-best-practice-service.LATEST/gpu-moderation"] = ProvisionStatus(
        target=2, current=0, starting=0, current_error="this node has no container engine"
    )
    result = stoke("provision", "put", "--target", "2", "--timeout-s", "1", *ONE)
    assert (result.code, result.out) == (1, "")
    assert "target 2 · current 0" in result.err
    assert "this node has no container engine" in result.err


def test_not_waiting_returns_at_once(stoke: Stoke, server: ApiServer) -> None:
    stoke("deploy", "-t", CONTAINER, "-y")
    result = stoke("provision", "put", "--target", "3", "--no-wait", "-o", "json", *ONE)
    assert result.code == 0
    assert result.json["gpu-best-practice-service"]["target"] == 3
    assert not any(line.startswith("GET /stoke/v1/provision") for line in server.asked)


def test_get_says_why(stoke: Stoke, server: ApiServer) -> None:
    stoke("deploy", "-t", CONTAINER, "-y")
    server.fleet.statuses["gpu-best-practice-service.LATEST/gpu-moderation"] = ProvisionStatus(
        target=4, current=3, starting=1, current_error="", in_force=("p",), reasons=("stable=4",), utilization=0.5
    )
    (found,) = stoke("provision", "get", "-t", CONTAINER, "-o", "json").json.values()
    assert (found["target"], found["starting"], found["in_force"], found["reasons"]) == (4, 1, ["p"], ["stable=4"])


def test_explain_tells_the_last_decisions(stoke: Stoke, server: ApiServer) -> None:
    stoke("deploy", "-t", CONTAINER, "-y")
    named = ("--service-name", "gpu-best-practice-service", "--function-name", "gpu-moderation")
    assert stoke("provision", "explain", *named).out == "nothing decided yet\n"
    inputs = Inputs(2, 0, 1, 1.0, 6.0, 6, 4, 31.0, {}, 16)
    one = Explained(1_750_000_000.0, "LATEST", 8, 2, ("panic=12",), (PolicyExplained("p", 8, ("panic=12",)),), inputs)
    server.fleet.explanations["gpu-best-practice-service.LATEST/gpu-moderation"] = (one,)
    (found,) = stoke("provision", "explain", "-t", CONTAINER, "-o", "json").json
    assert (found["target"], found["was"], found["inputs"]["demand"]) == (8, 2, 6.0)
    assert stoke("provision", "explain", *named, "--qualifier", "LATEST").out.splitlines() == [
        "2025-06-15T15:06:40Z  target 2→8  panic=12",
        "    seen: 2 ready, 0 starting, 6.00 requests at once (peak 6), 4 waiting, 31.0 requests/s, room for 16",
        "    p wants 8: panic=12",
    ]
    header, line = stoke("provision", "explain", *named, "-o", "table").out.splitlines()
    assert header.split() == ["at", "target", "reasons", "policies", "seen"]
    assert "target 2→8" in line


# -- invoke ---------------------------------------------------------------------------------------------------------


def test_invoke_prints_the_answer_and_nothing_else(stoke: Stoke) -> None:
    result = stoke("invoke", "-e", '{"x":1}', *ONE)
    assert (result.code, result.out, result.err) == (0, '{"x":1}', "")


def test_invoke_sends_a_file_and_describes_the_answer_as_json(stoke: Stoke, tmp_path: Path) -> None:
    (tmp_path / "event").write_bytes(b"\xff\x00")
    answer = stoke("invoke", "-f", str(tmp_path / "event"), "-o", "json", *ONE).json
    assert (answer["bodyBase64"], answer["instanceId"], answer["coldStart"]) == ("/wA=", "i-1", False)


def test_a_functions_error_goes_to_stderr_and_exits_1(stoke: Stoke, server: ApiServer) -> None:
    async def broken(_: Request) -> Response:
        return Response('{"errorMessage":"no"}', headers={"x-fc-error-type": "UnhandledInvocationError"})

    server.invoked = broken
    result = stoke("invoke", *ONE)
    assert (result.code, result.out) == (1, "")
    assert result.err == 'stoke: UnhandledInvocationError: {"errorMessage":"no"}\n'


def test_the_qualifier_is_in_the_path(stoke: Stoke, server: ApiServer) -> None:
    stoke("invoke", "--qualifier", "live", *ONE)
    expected = "/2016-08-15/services/gpu-best-practice-service.live/functions/gpu-moderation/invocations"
    assert server.asked == [f"POST {expected}"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-e", "a", "-f", "b"), "give one of them"),
        (("-f", "none"), "none cannot be read"),
        (("--invocation-type", "later"), "'later' is not allowed: must be sync"),
    ],
)
def test_wrong_options_of_invoke_exit_2(stoke: Stoke, arguments: tuple[str, ...], expected: str) -> None:
    result = stoke("invoke", *arguments, *ONE)
    assert (result.code, result.out) == (2, "")
    assert expected in result.err


def test_several_functions_have_to_be_chosen_from(stoke: Stoke) -> None:
    result = stoke("invoke", "-t", str(ROOT / "s.yaml"))
    assert result.code == 2
    assert "samples/digits, samples/spam_detection, samples/flask_app; choose one with --function-name" in result.err


# -- instances and logs ---------------------------------------------------------------------------------------------


def test_instances_are_a_table_or_json(stoke: Stoke, server: ApiServer) -> None:
    sample = InstanceSample("i-1", 0.0, cpu_utilization=0.25, memory_mib=64.0, gpu_sm_utilization=0.5, simulated=True)
    server.fleet.views = [replace(instance_view("i-1"), sample=sample, in_flight=3), instance_view("i-2", function="g")]
    head, first, second = stoke("instances").out.splitlines()
    assert head.split()[:5] == ["id", "function", "version", "kind", "state"]
    assert first.split()[:6] == ["i-1", "s/f", "LATEST", "provisioned", "READY", "3"]
    assert "25 %" in first
    assert "simulated" in first
    assert second.startswith("i-2")
    chosen = stoke("instances", "-o", "json", "--service-name", "s", "--function-name", "g").json
    assert [item["instance_id"] for item in chosen] == ["i-2"]


def test_nodes_are_a_table_or_json(stoke: Stoke, server: ApiServer) -> None:
    assert stoke("nodes").out == "no node has been reached yet\n"
    gpu = {"index": 0, "uuid": "simulated-0", "name": "simulated", "memory_mib": 16384, "simulated": True}
    node = NodeInfo("local", 1, 4096, 2.0, gpus=[gpu])
    server.fleet.machines = [NodeView(node, 512, 0.0, 0, 1, (DeviceView(gpu, "", 8192, ("i-1",)),))]
    head, machine, device = stoke("nodes").out.splitlines()
    assert head.split() == ["node", "device", "memory", "promised", "instances", "health"]
    assert machine.split() == ["local", "(machine)", "4096", "MiB", "512", "MiB", "1", "-"]
    assert device.split() == ["local", "0", "simulated", "16384", "MiB", "8192", "MiB", "1", "healthy"]
    assert stoke("nodes", "-o", "json").json[0]["devices"][0]["instances"] == ["i-1"]


def test_no_instances_are_said_to_be_none(stoke: Stoke) -> None:
    assert stoke("instances").out == "no instances\n"
    assert stoke("instances", "-o", "json").json == []


def test_logs_show_the_last_lines_of_every_instance(stoke: Stoke, server: ApiServer) -> None:
    server.fleet.views = [instance_view("i-1"), instance_view("i-2"), instance_view("i-3", function="other")]
    server.fleet.outputs = {"i-1": [b"one\ntwo\nthree\n"], "i-2": [b"four\n"], "i-3": [b"five\n"]}
    names = ("--service-name", "s", "--function-name", "f")
    assert stoke("logs", "--tail", "2", *names).out == "i-1 two\ni-1 three\ni-2 four\n"
    assert stoke("logs", "--instance", "i-3").out == "five\n"
    unknown = stoke("logs", "--instance", "i-9")
    assert (unknown.code, unknown.out) == (1, "")
    assert "i-9" in unknown.err


def test_an_instance_that_is_gone_is_no_reason_to_stop(stoke: Stoke, server: ApiServer) -> None:
    server.fleet.views = [instance_view("i-1"), instance_view("i-2")]
    server.fleet.outputs = {"i-2": [b"here\n"]}
    result = stoke("logs", "--service-name", "s", "--function-name", "f")
    assert (result.code, result.out) == (0, "i-2 here\n")


@contextlib.contextmanager
def following(server: ApiServer, data: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """`stoke logs -f …` as a process of its own, killed if it has not ended in time."""
    command = [sys.executable, "-c", "from control_plane.cli import main; main()", "logs", "-f", *arguments]
    environment = {**os.environ, "STOKE_DATA": str(data), "STOKE_ENDPOINT": server.endpoint}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        timer = threading.Timer(30.0, process.kill)
        timer.start()
        try:
            yield process, process.stdout
        finally:
            timer.cancel()
            process.kill()


def test_following_goes_on_until_the_instance_ends(server: ApiServer, tmp_path: Path) -> None:
    server.fleet.outputs = {"i-1": [b"one\ntwo\n"]}
    with following(server, tmp_path, "--tail", "1", "--instance", "i-1") as (process, output):
        assert output.readline() == "two\n"
        assert process.poll() is None
        server.end_logs()
        assert process.wait() == 0


def test_following_takes_in_instances_that_start_meanwhile_and_ends_by_ctrl_c(
    server: ApiServer, tmp_path: Path
) -> None:
    server.fleet.outputs = {"i-1": [b"first\n"], "i-2": [b"second\n"]}
    server.fleet.views = [instance_view("i-1")]
    with following(server, tmp_path, "--service-name", "s", "--function-name", "f") as (process, output):
        assert output.readline() == "i-1 first\n"
        server.fleet.views.append(instance_view("i-2"))
        assert output.readline() == "i-2 second\n"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130


# -- remove ---------------------------------------------------------------------------------------------------------


def test_remove_asks_and_without_an_answer_removes_nothing(stoke: Stoke) -> None:
    stoke("deploy", "-t", CONTAINER, "-y")
    result = stoke("remove", "-t", CONTAINER)
    assert (result.code, result.out) == (2, "")
    assert "  function gpu-best-practice-service/gpu-moderation" in result.err
    assert "give -y where nobody can be asked" in result.err
    assert stoke("info", "-t", CONTAINER).code == 0


def test_remove_goes_on_when_the_answer_is_yes(stoke: Stoke, monkeypatch: pytest.MonkeyPatch) -> None:
    stoke("deploy", "-t", CONTAINER, "-y")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"y\n")))
    assert stoke("remove", "trigger", "-t", CONTAINER).code == 0
    assert stoke("info", "-t", CONTAINER, "-o", "json").json["gpu-best-practice"]["triggers"] == []


# -- where Stoke is -------------------------------------------------------------------------------------------------


def test_status_tells_the_endpoint_and_the_instances(stoke: Stoke, server: ApiServer) -> None:
    server.fleet.views = [instance_view("i-1")]
    found = stoke("-o", "json", "status").json
    assert (found["endpoint"], found["instances"]["READY"]) == (server.endpoint, 1)


def test_the_endpoint_is_read_from_the_data_folder(bare: Stoke, server: ApiServer, tmp_path: Path) -> None:
    (tmp_path / "stoke.json").write_text(json.dumps({"endpoint": server.endpoint, "pid": 1}))
    assert bare("status", "--data", str(tmp_path)).code == 0
    assert bare("--data", str(tmp_path), "status").code == 0


@pytest.mark.parametrize("other", [{"start_time": 1}, {"host": "another boot"}])
def test_down_leaves_a_process_alone_that_has_the_pid_of_a_stoke_of_before(
    bare: Stoke, tmp_path: Path, other: dict[str, Any]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with subprocess.Popen(["sleep", "60"]) as process:
        own = {"pid": process.pid, "start_time": start_time(process.pid), "host": host_id()}
        (data / "stoke.json").write_text(json.dumps(own | other))
        try:
            result = bare("down", "--data", str(data))
            assert (result.code, result.out) == (0, f"Stoke does not run on {data}\n")
            assert process.poll() is None
        finally:
            process.kill()


@pytest.mark.parametrize("state", ["", "{", "[]", "null", "{}", '{"pid": null}', '{"pid": [1]}'])
def test_down_where_the_state_file_says_nothing_finds_nothing(bare: Stoke, tmp_path: Path, state: str) -> None:
    (tmp_path / "stoke.json").write_text(state)
    assert bare("down", "--data", str(tmp_path)).out == f"Stoke does not run on {tmp_path}\n"


def test_nothing_running_exits_3_and_says_how_to_start(bare: Stoke) -> None:
    result = bare("status")
    assert (result.code, result.out) == (3, "")
    assert "start it with `stoke up`" in result.err


def test_nobody_at_the_endpoint_exits_3(bare: Stoke) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = bare("status", "--endpoint", f"http://127.0.0.1:{port}")
    assert (result.code, result.out) == (3, "")
    assert f"does not answer at http://127.0.0.1:{port}" in result.err


def test_a_wrong_option_exits_2(bare: Stoke) -> None:
    assert bare("status", "--colour").code == 2
    assert bare("deplo").code == 2


def test_no_file_exits_2_and_says_what_to_give(bare: Stoke) -> None:
    result = bare("deploy")
    assert result.code == 2
    assert "name the deployment file with -t" in result.err


def test_debug_shows_the_requests_on_stderr(stoke: Stoke) -> None:
    result = stoke("status", "--debug", "-o", "json")
    assert "GET /stoke/v1/status → 200" in result.err
    assert result.json


def test_every_command_has_help(bare: Stoke) -> None:
    overview = bare("--help")
    assert overview.code == 0
    for name in ("up", "down", "deploy", "invoke", "info", "logs", "instances", "remove", "provision put"):
        assert name.split()[0] in overview.out
        assert bare(*name.split(), "--help").code == 0


@pytest.mark.parametrize(("part", "module"), sorted(parts.MODULES.items()))
def test_a_part_gets_all_its_arguments(bare: Stoke, monkeypatch: pytest.MonkeyPatch, part: str, module: str) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _program, arguments: called.append(arguments))
    bare(*part.split(), "--data", "x", "-t", "--help", "--socket=y")
    assert called == [[sys.executable, "-m", module, "--data", "x", "-t", "--help", "--socket=y"]]
