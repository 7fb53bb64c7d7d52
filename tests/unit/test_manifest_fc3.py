"""s.yaml of edition 3.0.0: how a function without a service becomes one of FC 2.0."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.cli.failures import BadInput
from control_plane.cli.manifest import load_manifest
from control_plane.cli.plans import FunctionPlan

FULL = """
edition: 3.0.0
name: app
access: default
vars: {region: cn-hangzhou}
resources:
  gpu:
    component: fc3
    props:
      region: ${vars.region}
      functionName: moderation
      runtime: custom-container
      description: demo
      role: acs:ram::1:role/r
      cpu: 2
      memorySize: 8192
      timeout: 60
      instanceConcurrency: 4
      internetAccess: false
      logConfig: auto
      vpcConfig: auto
      environmentVariables: {SIZE: 1024}
      gpuConfig: {gpuType: fc.gpu.tesla.1, gpuMemorySize: 8192}
      customContainerConfig:
        image: example/moderation:v1
        port: 8000
        entrypoint: [/bin/server]
        command: [--fast]
        healthCheckConfig: {httpGetUrl: /health, periodSeconds: 5}
      instanceLifecycleConfig:
        initializer: {handler: not-used, timeout: 30}
        preStop: {handler: not-used, timeout: 5}
      triggers:
        - triggerName: http
          triggerType: http
          qualifier: LATEST
          triggerConfig: {authType: anonymous, methods: [GET, POST]}
"""
MINIMAL = """
edition: 3.0.0
resources:
  one:
    component: fc3
    props: {region: cn-local, functionName: fn, runtime: custom}
"""


def read_one(folder: Path, text: str) -> FunctionPlan:
    path = folder / "s.yaml"
    path.write_text(text)
    (plan,) = load_manifest(path, {}).plans
    return plan


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        read_one(folder, text)
    return [line.removeprefix(f"{folder}/s.yaml:") for line in str(caught.value).splitlines()]


def test_a_function_gets_a_service_of_its_own_name(tmp_path: Path) -> None:
    plan = read_one(tmp_path, FULL)
    assert (plan.service_name, plan.function_name) == ("moderation", "moderation")


def test_a_name_with_a_dollar_sign_is_service_and_function(tmp_path: Path) -> None:
    plan = read_one(tmp_path, MINIMAL.replace("functionName: fn", "functionName: svc$fn"))
    assert (plan.service_name, plan.function_name) == ("svc", "fn")


def test_what_fc_2_has_at_the_service_goes_there(tmp_path: Path) -> None:
    service = read_one(tmp_path, FULL).service
    assert service["role"] == "acs:ram::1:role/r"
    assert service["internetAccess"] is False
    assert "logConfig" not in service  # "auto" asks for nothing that there is here


def test_fields_take_the_names_they_have_in_fc_2(tmp_path: Path) -> None:
    function = read_one(tmp_path, FULL).function
    assert function["instanceType"] == "fc.gpu.tesla.1"
    assert function["gpuMemorySize"] == 8192
    assert function["caPort"] == 8000
    assert function["customContainerConfig"] == {
        "image": "example/moderation:v1",
        "command": '["/bin/server"]',
        "args": '["--fast"]',
    }
    assert function["customHealthCheckConfig"] == {"httpGetUrl": "/health", "periodSeconds": 5}
    assert (function["initializer"], function["initializationTimeout"]) == ("not-used", 30)
    assert function["instanceLifecycleConfig"] == {"preStop": {"handler": "not-used", "timeout": 5}}
    assert function["environmentVariables"] == {"SIZE": "1024"}
    assert (function["cpu"], function["memorySize"], function["instanceConcurrency"]) == (2, 8192, 4)


def test_triggers_are_read(tmp_path: Path) -> None:
    (trigger,) = read_one(tmp_path, FULL).triggers
    assert trigger["triggerName"] == "http"
    assert trigger["triggerConfig"] == {"authType": "anonymous", "methods": ["GET", "POST"]}


def test_a_trigger_config_may_be_json_in_a_text(tmp_path: Path) -> None:
    text = FULL.replace("{authType: anonymous, methods: [GET, POST]}", '\'{"methods": ["GET"]}\'')
    assert read_one(tmp_path, text).triggers[0]["triggerConfig"] == {"methods": ["GET"]}


def test_custom_runtimes_keep_their_command(tmp_path: Path) -> None:
    text = MINIMAL.replace(
        "runtime: custom", "runtime: custom.debian10, customRuntimeConfig: {command: [a], args: [b], port: 8080}"
    )
    function = read_one(tmp_path, text).function
    assert function["customRuntimeConfig"] == {"command": ["a"], "args": ["b"]}
    assert function["caPort"] == 8080


def test_code_is_found_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    text = MINIMAL.replace("runtime: custom", "runtime: python3.11, handler: a.b, code: ./code")
    assert read_one(tmp_path, text).code == tmp_path / "code"


def test_a_provision_config_belongs_to_its_qualifier(tmp_path: Path) -> None:
    text = MINIMAL.replace("runtime: custom", "runtime: custom, provisionConfig: {qualifier: live, defaultTarget: 3}")
    assert read_one(tmp_path, text).provision == {"live": {"defaultTarget": 3, "target": 3}}


def test_edition_3_is_meant_where_there_are_resources(tmp_path: Path) -> None:
    assert read_one(tmp_path, MINIMAL.replace("edition: 3.0.0\n", "")).function_name == "fn"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "functionName: fn",
            "functionname: fn",
            "6: resources.one.props.functionname: unknown field; did you mean functionName?",
        ),
        ("functionName: fn", "functionName: 1fn", 'props.functionName: "1fn" is not allowed: must match pattern'),
        ("functionName: fn, ", "", "6: resources.one.props: the field functionName is required"),
        ("component: fc3", "component: fc", '5: resources.one.component: "fc" is not allowed: must be fc3'),
        (
            "runtime: custom",
            "runtime: custom, gpuConfig: {gpuMemorySize: lots}",
            'props.gpuConfig.gpuMemorySize: "lots" is not allowed',
        ),
        (
            "runtime: custom",
            "runtime: custom, gpuConfig: {size: 1}",
            "props.gpuConfig.size: unknown field; allowed: gpuMemorySize, gpuType",
        ),
        (
            "runtime: custom",
            "runtime: custom, customRuntimeConfig: {port: 0}",
            "props.customRuntimeConfig.port: 0 is not allowed",
        ),
        (
            "runtime: custom",
            "runtime: custom-container, customContainerConfig: {port: 1}",
            "props.customContainerConfig.image: this field is required",
        ),
        (
            "runtime: custom",
            "runtime: custom, instanceLifecycleConfig: {initializer: {timeout: 301}}",
            "initializer.timeout: 301 is not allowed",
        ),
        (
            "runtime: custom",
            "runtime: custom, code: {ossBucketName: b}",
            "props.code: not supported: there is no object store here",
        ),
        (
            "runtime: custom",
            "runtime: custom, scalingConfig: {}",
            "props.scalingConfig: not supported: use provisionConfig",
        ),
        (
            "runtime: custom",
            "runtime: custom, triggers: {a: b}",
            'props.triggers: {"a": "b"} is not allowed: must be a list',
        ),
        (
            "runtime: custom",
            "runtime: custom, triggers: [{triggerName: t, triggerType: oss}]",
            'triggers[0].triggerType: "oss" is not served here: must be http',
        ),
        ("resources:", "services:", "services: unknown field"),
    ],
)
def test_a_wrong_field_is_named_with_its_line_its_value_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in MINIMAL
    found = problems(tmp_path, MINIMAL.replace(old, new))
    assert any(expected in line for line in found), found


def test_a_wrong_provision_config_is_named_with_its_field(tmp_path: Path) -> None:
    config = """
        target: 1
        targetTrackingPolicies:
          - {name: p, metricType: CPUUtilization, metricTarget: 1.5, minCapacity: 1, maxCapacity: 2}
        """
    text = MINIMAL.replace("{region: cn-local, functionName: fn, runtime: custom}", "")
    text += f"      functionName: fn\n      runtime: custom\n      provisionConfig:{config}"
    (line,) = problems(tmp_path, text)
    assert line.startswith(
        "12: resources.one.props.provisionConfig.targetTrackingPolicies[0].metricTarget: is 1.5: must"
    )
