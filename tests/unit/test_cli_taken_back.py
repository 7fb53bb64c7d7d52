"""What stood in a deployment file and stands there no more: nothing of it stays deployed."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from control_plane.cli.client import Client
from control_plane.cli.deploy import deploy_plans
from control_plane.cli.manifest import load_manifest
from control_plane.cli.manifest_fields import FUNCTION_1, SERVICE_1
from control_plane.cli.manifest_parts import FUNCTION_DEFAULTS, FUNCTION_UNSET, SERVICE_UNSET
from control_plane.cli.output import Output
from control_plane.cli.plans import FunctionPlan
from tests.support.fake_fc import FakeFc

PLAN = load_manifest(Path(__file__).parents[1] / "data" / "container-demo.yaml", {}).plans[0]
SERVICE = f"/services/{PLAN.service_name}"
FUNCTION = f"{SERVICE}/functions/{PLAN.function_name}"


@pytest.fixture
def fc() -> FakeFc:
    return FakeFc()


def deploy(fc: FakeFc, plan: FunctionPlan) -> None:
    deploy_plans(
        Client("http://fc.test", None, transport=fc.transport()), (plan,), {}, Output(None, stderr=io.StringIO())
    )


@pytest.mark.parametrize(
    ("of", "field", "value"),
    [
        ("function", "diskSize", 512),
        ("function", "instanceSoftConcurrency", 2),
        ("function", "stoke", {"requestsPerSecond": 5}),
        ("service", "role", "acs:ram::1:role/r"),
        ("service", "logConfig", {"project": "p", "logstore": "l"}),
        ("service", "nasConfig", {"userId": 1, "groupId": 1, "mountPoints": []}),
    ],
)
def test_a_field_without_a_default_is_gone(of: str, field: str, value: Any, fc: FakeFc) -> None:
    def with_fields(fields: dict[str, Any]) -> FunctionPlan:
        return replace(PLAN, function=fields) if of == "function" else replace(PLAN, service=fields)

    path, there = (FUNCTION, PLAN.function) if of == "function" else (SERVICE, PLAN.service)
    without = {k: v for k, v in there.items() if k != field}
    deploy(fc, with_fields({**without, field: value}))
    assert fc.items[path][field] == value
    deploy(fc, with_fields(without))
    assert field not in fc.items[path]


def test_what_a_file_has_no_word_for_stays(fc: FakeFc) -> None:
    deploy(fc, PLAN)
    fc.items[FUNCTION]["resourceGroupId"] = "rg-1"
    deploy(fc, PLAN)
    assert fc.items[FUNCTION]["resourceGroupId"] == "rg-1"


def test_every_field_that_a_file_may_leave_out_goes_back() -> None:
    """By its default, or as it has none: all but what is required, is sent as code, or is no field of a function's."""
    elsewhere = {"name", "runtime", "handler", "codeUri", "ossBucket", "ossKey", "asyncConfiguration"}
    assert FUNCTION_1 - elsewhere == {*FUNCTION_DEFAULTS, *FUNCTION_UNSET}
    assert SERVICE_1 - {"name", "description", "internetAccess", "vpcBinding"} == set(SERVICE_UNSET)
