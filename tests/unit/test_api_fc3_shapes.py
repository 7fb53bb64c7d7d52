"""A function of FC 3.0 to records and back, and a scaling config as a provision config."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.api.provision3 import as_provision
from control_plane.api.shapes3 import shown, to_records
from control_plane.errors import InvalidArgument
from control_plane.model import Function, Service

CONTAINER = {"image": "i", "entrypoint": ["/a"], "command": ["b", "c d"], "port": 9001}


def read(**values: Any) -> Function:
    body, _ = to_records({"functionName": "f", "runtime": "custom-container", "handler": "x"} | values)
    return Function.model_validate(body | {"serviceName": "f"})


def back(function: Function, **service: Any) -> dict[str, Any]:
    return shown(function, Service.model_validate({"serviceName": "f"} | service), "f", "arn")


def test_a_container_is_the_same_after_there_and_back() -> None:
    function = read(customContainerConfig=CONTAINER | {"healthCheckConfig": {"httpGetUrl": "/ping"}})
    container = function.custom_container_config
    assert container is not None
    assert (container.command, container.args, function.ca_port) == ('["/a"]', '["b", "c d"]', 9001)
    given_back = back(function)["customContainerConfig"]
    assert CONTAINER.items() <= given_back.items()
    assert given_back["healthCheckConfig"]["httpGetUrl"] == "/ping"


def test_a_gpu_is_the_same_after_there_and_back_and_none_is_none() -> None:
    gpu = {"gpuType": "fc.gpu.tesla.1", "gpuMemorySize": 4096}
    function = read(gpuConfig=gpu)
    assert (function.instance_type, function.gpu_memory_size) == ("fc.gpu.tesla.1", 4096)
    assert back(function)["gpuConfig"] == gpu
    assert "gpuConfig" not in back(read())


@pytest.mark.parametrize(
    ("initializer", "called"),
    [({"handler": "x", "timeout": 9}, "x"), ({"command": ["/init"], "timeout": 9}, "initialize"), ({}, None)],
)
def test_an_initializer_is_called_when_it_has_a_handler_or_a_command(
    initializer: dict[str, Any], called: str | None
) -> None:
    function = read(instanceLifecycleConfig={"initializer": initializer, "preStop": {"handler": "p", "timeout": 2}})
    assert function.initializer == called
    life = back(function)["instanceLifecycleConfig"]
    assert life["preStop"] == {"handler": "p", "timeout": 2}
    assert life.get("initializer", {}) == initializer


def test_what_fc_2_keeps_with_a_service_goes_there_and_comes_from_there() -> None:
    body, service = to_records({"functionName": "f", "role": "r", "logConfig": {"project": "p"}, "timeout": 5})
    assert (body, service) == ({"functionName": "f", "timeout": 5}, {"role": "r", "logConfig": {"project": "p"}})
    reply = back(read(), role="r", logConfig={"project": "p"})
    assert (reply["role"], reply["logConfig"], reply["layers"]) == ("r", {"project": "p"}, [])


def test_spellings_of_fc_2_and_of_replies_are_left_out() -> None:
    body, _ = to_records({"functionName": "f", "caPort": 1, "instanceType": "g1", "state": "Failed", "customDNS": {}})
    assert body == {"functionName": "f", "customDNS": {}}


@pytest.mark.parametrize(
    "given",
    [
        {"gpuConfig": []},
        {"instanceLifecycleConfig": {"preStop": "x"}},
        {"customContainerConfig": {"image": "i", "entrypoint": "/a"}},
    ],
)
def test_a_group_of_another_kind_is_refused_by_name(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(given))):
        to_records(given)


def test_a_scaling_config_says_what_a_provision_config_says() -> None:
    policy = {"name": "p", "metricType": "GPUSmUtilization", "metricTarget": 0.6, "minInstances": 1, "maxInstances": 5}
    action = {"name": "a", "scheduleExpression": "at(2030-01-01T00:00:00Z)", "target": 4}
    config = as_provision({"minInstances": 2, "horizontalScalingPolicies": [policy], "scheduledPolicies": [action]})
    assert config.static_target == 2
    assert [(p.min_capacity, p.max_capacity) for p in config.target_tracking_policies] == [(1, 5)]
    assert [a.target for a in config.scheduled_actions] == [4]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"minInstances": -1}, "^minInstances is -1"),
        ({"horizontalScalingPolicies": {}}, "^horizontalScalingPolicies is"),
        ({"horizontalScalingPolicies": [{"name": "p"}]}, r"horizontalScalingPolicies\[0\]"),
        ({"scheduledPolicies": [{"name": "a"}]}, r"scheduledPolicies\[0\]"),
    ],
)
def test_what_is_wrong_with_a_scaling_config_is_told_in_its_own_words(given: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidArgument, match=named):
        as_provision(given)
