"""Deploying and removing, against a small FC in memory: which requests are sent, in which order, and what is left."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from control_plane.cli.choosing import Chosen
from control_plane.cli.client import Client
from control_plane.cli.deploy import deploy_plans
from control_plane.cli.failures import ServerError
from control_plane.cli.manifest import load_manifest
from control_plane.cli.output import Output
from control_plane.cli.plans import FunctionPlan
from control_plane.cli.remove import Removal, What, carry_out, look
from tests.support.fake_fc import FakeFc

DATA = Path(__file__).parents[1] / "data"
SERVICE = "/services/gpu-best-practice-service"
FUNCTION = f"{SERVICE}/functions/gpu-moderation"
CHOSEN = Chosen("gpu", "gpu-best-practice-service", "gpu-moderation")


@pytest.fixture
def fc() -> FakeFc:
    return FakeFc()


@pytest.fixture
def client(fc: FakeFc) -> Client:
    return Client("http://fc.test", None, transport=fc.transport())


def deploy(client: Client, *plans: FunctionPlan, code: dict[Path, bytes] | None = None) -> tuple[dict[str, Any], str]:
    said = io.StringIO()
    return deploy_plans(client, plans, code or {}, Output(None, stderr=said)), said.getvalue()


def container_plan() -> FunctionPlan:
    return load_manifest(DATA / "container-demo.yaml", {}).plans[0]


def changes(fc: FakeFc) -> list[tuple[str, str]]:
    return [(method, path.removeprefix("/2016-08-15")) for method, path in fc.asked if method != "GET"]


def remove(client: Client, *chosen: Chosen, what: What = What.SERVICE) -> Removal:
    removal = look(client, chosen, what)
    carry_out(client, removal, Output(None, stderr=io.StringIO()))
    return removal


# -- deploy ---------------------------------------------------------------------------------------------------------


def test_a_users_file_deploys_service_function_and_trigger(fc: FakeFc, client: Client) -> None:
    done, said = deploy(client, container_plan())
    assert sorted(fc.items) == [SERVICE, FUNCTION, f"{FUNCTION}/triggers/httpTrigger"]
    assert fc.items[FUNCTION]["customContainerConfig"]["image"] == "example/moderation:v1"
    assert done == {
        "gpu-best-practice": {
            "service": "gpu-best-practice-service",
            "function": "gpu-moderation",
            "state": "created",
            "triggers": [
                {
                    "name": "httpTrigger",
                    "authType": "anonymous",
                    "methods": ["GET", "POST"],
                    "url": "http://fc.test/2016-08-15/proxy/gpu-best-practice-service/gpu-moderation/",
                }
            ],
        }
    }
    assert "function gpu-best-practice-service/gpu-moderation: created" in said


def test_what_is_new_is_created_and_its_code_sent_but_once(fc: FakeFc, client: Client) -> None:
    deploy(client, container_plan())
    assert changes(fc)[:4] == [
        ("PUT", SERVICE),
        ("POST", "/services"),
        ("POST", f"{SERVICE}/functions"),
        ("PUT", f"{FUNCTION}/triggers/httpTrigger"),
    ]


def test_deploying_twice_updates_and_leaves_the_same(fc: FakeFc, client: Client) -> None:
    deploy(client, container_plan())
    before = {path: dict(body) for path, body in fc.items.items()}
    done, _ = deploy(client, container_plan())
    assert done["gpu-best-practice"]["state"] == "updated"
    assert fc.items == before


def test_a_field_taken_out_of_the_file_goes_back_to_its_default(fc: FakeFc, client: Client) -> None:
    plan = container_plan()
    deploy(client, plan)
    without = {**plan.function, "timeout": 3, "environmentVariables": {}}
    deploy(client, FunctionPlan(plan.key, plan.service, without))
    assert (fc.items[FUNCTION]["timeout"], fc.items[FUNCTION]["environmentVariables"]) == (3, {})


def test_a_field_whose_default_is_to_have_none_goes_too(fc: FakeFc, client: Client) -> None:
    plan = container_plan()
    more = {"cpu": 2.0, "gpuMemorySize": 4096, "customHealthCheckConfig": {"httpGetUrl": "/"}, "stoke": {"a": 1}}
    service = {**plan.service, "vpcConfig": {"vpcId": "v"}, "nasConfig": {"userId": 1}}
    deploy(client, FunctionPlan(plan.key, service, {**plan.function, **more}))
    deploy(client, FunctionPlan(plan.key, plan.service, {k: v for k, v in plan.function.items() if k not in more}))
    assert not set(more) & set(fc.items[FUNCTION])
    assert not {"vpcConfig", "nasConfig"} & set(fc.items[SERVICE])


def test_code_is_sent_as_base64_and_said_with_its_size(fc: FakeFc, client: Client, tmp_path: Path) -> None:
    plan = container_plan()
    plan = FunctionPlan(plan.key, plan.service, plan.function, code=tmp_path)
    _, said = deploy(client, plan, code={tmp_path: b"zip!" * 512})
    bodies = [body for body in fc.bodies if "code" in body]
    assert bodies[0]["code"] == {"zipFile": "emlwIXpp" + bodies[0]["code"]["zipFile"][8:]}
    assert "2 KiB of code" in said


def test_a_service_of_several_functions_is_deployed_once(fc: FakeFc, client: Client) -> None:
    plan = container_plan()
    other = FunctionPlan("two", plan.service, {**plan.function, "functionName": "second"})
    deploy(client, plan, other)
    assert [path for method, path in changes(fc) if path == SERVICE] == [SERVICE]
    assert f"{SERVICE}/functions/second" in fc.items


def test_a_provision_config_of_the_file_is_put(fc: FakeFc, client: Client) -> None:
    plan = container_plan()
    deploy(client, FunctionPlan(plan.key, plan.service, plan.function, provision={"live": {"target": 3}}))
    assert fc.provisions[("gpu-best-practice-service", "live", "gpu-moderation")]["target"] == 3


# -- remove ---------------------------------------------------------------------------------------------------------


def test_removing_goes_from_provision_to_service_and_leaves_nothing(fc: FakeFc, client: Client) -> None:
    deploy(client, container_plan())
    client.put(
        "/2016-08-15/services/gpu-best-practice-service.LATEST/functions/gpu-moderation/provision-config", {"target": 2}
    )
    client.post(f"/2016-08-15{SERVICE}/versions", {"versionId": "1"})
    client.post(f"/2016-08-15{SERVICE}/aliases", {"aliasName": "live"})
    fc.asked.clear()
    removal = remove(client, CHOSEN)
    assert changes(fc) == [
        ("PUT", "/services/gpu-best-practice-service.LATEST/functions/gpu-moderation/provision-config"),
        ("DELETE", f"{FUNCTION}/triggers/httpTrigger"),
        ("DELETE", FUNCTION),
        ("DELETE", f"{SERVICE}/aliases/live"),
        ("DELETE", f"{SERVICE}/versions/1"),
        ("DELETE", SERVICE),
    ]
    assert fc.items == {}
    assert removal.lines()[0] == "provision gpu-best-practice-service.LATEST/gpu-moderation"
    assert removal.lines()[-1] == "service gpu-best-practice-service"


def test_a_service_that_others_use_is_kept_and_said_to_be(fc: FakeFc, client: Client) -> None:
    plan = container_plan()
    deploy(client, plan, FunctionPlan("two", plan.service, {**plan.function, "functionName": "second"}))
    removal = remove(client, CHOSEN)
    assert removal.kept == ["service gpu-best-practice-service: it also has second"]
    assert sorted(fc.items) == [SERVICE, f"{SERVICE}/functions/second"]


def test_removing_triggers_leaves_the_function(fc: FakeFc, client: Client) -> None:
    deploy(client, container_plan())
    remove(client, CHOSEN, what=What.TRIGGER)
    assert sorted(fc.items) == [SERVICE, FUNCTION]


def test_removing_functions_leaves_the_service(fc: FakeFc, client: Client) -> None:
    deploy(client, container_plan())
    remove(client, CHOSEN, what=What.FUNCTION)
    assert sorted(fc.items) == [SERVICE]


def test_removing_what_is_gone_does_nothing(fc: FakeFc, client: Client) -> None:
    assert remove(client, CHOSEN).lines() == []
    assert changes(fc) == []


def test_what_another_has_removed_meanwhile_is_no_error(fc: FakeFc, client: Client) -> None:
    deploy(client, container_plan())
    removal = look(client, (CHOSEN,), What.SERVICE)
    fc.items.clear()
    said = io.StringIO()
    carry_out(client, removal, Output(None, stderr=said))
    assert "function gpu-best-practice-service/gpu-moderation: was gone already" in said.getvalue()


def test_a_refusal_ends_it(fc: FakeFc, client: Client) -> None:
    deploy(client, container_plan())
    fc.items[f"{FUNCTION}/triggers/new"] = {"triggerName": "new"}
    removal = look(client, (CHOSEN,), What.SERVICE)
    removal.triggers.pop()
    with pytest.raises(ServerError, match="NotEmpty"):
        carry_out(client, removal, Output(None, stderr=io.StringIO()))
