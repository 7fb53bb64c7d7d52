"""What a node is told to launch, by how the function is spelled."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.model import Function, Service
from control_plane.registry.launching import gpu_memory_mib, launch_spec
from control_plane.registry.routes import function_route
from runtime.node_contract import LaunchSpec


def function(**values: Any) -> Function:
    given = {"serviceName": "s", "functionName": "f", "runtime": "custom", "handler": "not-used"}
    return Function.model_validate(given | values)


def spec_of(**values: Any) -> LaunchSpec:
    return launch_spec(function(**values), "LATEST", "c-1", region="cn-test", account_id="42")


def test_a_python_function_is_launched_by_its_handler() -> None:
    made = function(
        runtime="python3.11", handler="app.main", codeSha256="ab", memorySize=1024, cpu=0.5, timeout=60,
        instanceConcurrency=4, environmentVariables={"A": "1"},
    )  # fmt: skip
    spec = launch_spec(made, "3", "c-1", region="cn-test", account_id="42")
    assert spec == LaunchSpec(
        instance_id="c-1",
        service="s",
        function="f",
        version="3",
        revision=made.revision,
        runtime="python3.11",
        handler="app.main",
        code_sha256="ab",
        environment={"A": "1"},
        headers=function_route(made, "3", None, region="cn-test", account_id="42").headers,
        instance_concurrency=4,
        timeout_s=60.0,
        memory_mib=1024,
        cpu=0.5,
    )


@pytest.mark.parametrize(
    ("config", "command"),
    [
        (None, ["./bootstrap"]),
        ({}, ["./bootstrap"]),
        ({"command": ["python3", "app.py"]}, ["python3", "app.py"]),
        ({"command": ["python3"], "args": ["app.py", "-v"]}, ["python3", "app.py", "-v"]),
        ({"args": ["-v"]}, ["./bootstrap", "-v"]),
    ],
)
def test_a_custom_runtime_runs_its_command(config: dict[str, Any] | None, command: list[str]) -> None:
    for runtime in ("custom", "custom.debian10"):
        spec = spec_of(runtime=runtime, customRuntimeConfig=config)
        assert (spec.runtime, spec.command) == ("custom", command)


@pytest.mark.parametrize(
    ("config", "command", "args"),
    [
        ({}, [], []),
        ({"command": '["/a", "b"]'}, ["/a", "b"], []),
        ({"command": '["/a"]', "args": '["-v"]'}, ["/a"], ["-v"]),
        ({"command": "/a"}, ["/a"], []),
        ({"args": "5"}, [], ["5"]),
    ],
)
def test_a_container_has_its_image_its_entry_point_and_its_arguments(
    config: dict[str, Any], command: list[str], args: list[str]
) -> None:
    spec = spec_of(runtime="custom-container", customContainerConfig={"image": "i"} | config)
    assert (spec.runtime, spec.image, spec.command, spec.args) == ("custom-container", "i", command, args)


@pytest.mark.parametrize(
    ("values", "memory_mib"),
    [
        ({}, 0),
        ({"instanceType": "e1"}, 0),
        ({"instanceType": "g1"}, 16_384),
        ({"instanceType": "fc.gpu.tesla.1"}, 16_384),
        ({"instanceType": "fc.gpu.ampere.1"}, 24_576),
        ({"instanceType": "fc.gpu.tesla.1", "gpuMemorySize": 8192}, 8192),
        ({"instanceType": "fc.gpu.tesla.1", "gpuMemorySize": 0}, 0),
        ({"gpuMemorySize": 1024}, 1024),
    ],
)
def test_a_gpu_function_without_a_size_gets_a_whole_card(values: dict[str, Any], memory_mib: int) -> None:
    assert gpu_memory_mib(function(**values)) == spec_of(**values).gpu_memory_mib == memory_mib


def test_hooks_and_health_checks_are_only_asked_for_when_they_are_configured() -> None:
    spec = spec_of()
    assert (spec.initializer, spec.pre_stop, spec.health_path) == ("", "", "")
    spec = spec_of(
        initializer="init",
        initializationTimeout=30,
        instanceLifecycleConfig={"preStop": {"handler": "not-used", "timeout": 9}, "preFreeze": {"handler": "x"}},
        customHealthCheckConfig={"httpGetUrl": "/ready", "periodSeconds": 2, "initialDelaySeconds": 5},
        caPort=8080,
    )
    assert (spec.initializer, spec.initialization_timeout_s) == ("init", 30.0)
    assert (spec.pre_stop, spec.pre_stop_timeout_s) == ("not-used", 9.0)
    assert (spec.health_path, spec.health_period_s, spec.health_initial_delay_s) == ("/ready", 2.0, 5.0)
    assert (spec.health_timeout_s, spec.health_failure_threshold, spec.health_success_threshold) == (1.0, 3, 1)
    assert spec.ca_port == 8080


def test_the_log_project_of_the_service_is_told_when_the_service_is_given() -> None:
    service = Service.model_validate({"serviceName": "s", "logConfig": {"project": "p", "logstore": "l"}})
    spec = launch_spec(function(), "LATEST", "c-1", region="r", account_id="a", service=service)
    assert (spec.headers["x-fc-service-logproject"], spec.headers["x-fc-service-logstore"]) == ("p", "l")


def test_a_revision_changes_with_what_an_instance_would_notice_and_with_nothing_else() -> None:
    same = {function(**values).revision for values in ({}, {"description": "d"}, {"createdTime": "t"})}
    assert len(same) == 1
    others: tuple[dict[str, Any], ...] = (
        {"memorySize": 64},
        {"codeSha256": "a"},
        {"environmentVariables": {"A": "1"}},
        {"customRuntimeConfig": {"command": ["a"]}},
    )
    assert len(same | {function(**values).revision for values in others}) == 5
