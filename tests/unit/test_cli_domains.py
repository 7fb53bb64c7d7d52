"""Custom domains and configs of asynchronous invocations, deployed and removed against a small FC in memory."""

from __future__ import annotations

import io
from typing import Any

import pytest

from control_plane.cli.choosing import Chosen
from control_plane.cli.client import Client
from control_plane.cli.deploy import deploy_plans
from control_plane.cli.failures import Failed
from control_plane.cli.output import Output
from control_plane.cli.plans import DomainPlan, FunctionPlan
from control_plane.cli.remove import What, carry_out, look
from tests.support.fake_fc import FakeFc

SHOP = "/custom-domains/shop.example.com"


@pytest.fixture
def fc() -> FakeFc:
    return FakeFc()


@pytest.fixture
def client(fc: FakeFc) -> Client:
    return Client("http://fc.test", None, transport=fc.transport())


def route(path: str, function: str) -> dict[str, Any]:
    return {"path": path, "serviceName": "svc", "functionName": function}


def plan(function: str, *paths: str, **more: Any) -> FunctionPlan:
    owner = ("svc", function)
    domain = DomainPlan("shop.example.com", "HTTP", tuple(route(path, function) for path in paths), owner)
    body = {"functionName": function, "runtime": "custom"}
    return FunctionPlan(function, {"serviceName": "svc"}, body, domains=(domain,) if paths else (), **more)


def deploy(client: Client, *plans: FunctionPlan, own: tuple[DomainPlan, ...] = ()) -> dict[str, Any]:
    return deploy_plans(client, plans, {}, Output(None, stderr=io.StringIO()), own)


def paths(fc: FakeFc) -> dict[str, str]:
    return {each["path"]: each["functionName"] for each in fc.items[SHOP]["routeConfig"]["routes"]}


def remove(client: Client, *functions: str) -> tuple[list[str], list[str]]:
    removal = look(client, tuple(Chosen(name, "svc", name) for name in functions), What.FUNCTION)
    carry_out(client, removal, Output(None, stderr=io.StringIO()))
    return removal.lines(), removal.kept


def test_functions_of_several_files_share_a_domain_and_each_deploy_changes_its_own_routes(
    fc: FakeFc, client: Client
) -> None:
    done = deploy(client, plan("one", "/a", "/b"))
    assert done["one"]["customDomains"] == ["shop.example.com"]
    deploy(client, plan("two", "/c"))
    deploy(client, plan("one", "/b/*"))
    assert paths(fc) == {"/c": "two", "/b/*": "one"}


def test_a_path_of_another_function_is_told_before_anything_is_changed(fc: FakeFc, client: Client) -> None:
    deploy(client, plan("one", "/a"))
    fc.asked.clear()
    with pytest.raises(Failed, match=r"shop.example.com: /a leads to svc/one, not to svc/two: remove that first"):
        deploy(client, plan("two", "/a"))
    assert {method for method, _ in fc.asked} == {"GET"}


def test_a_domain_that_is_an_entry_of_its_own_has_no_other_routes(fc: FakeFc, client: Client) -> None:
    deploy(client, plan("one", "/a"))
    own = DomainPlan("shop.example.com", "HTTP,HTTPS", (route("/c", "two"),), None, "shop")
    done = deploy(client, own=(own,))
    assert paths(fc) == {"/c": "two"}
    assert done == {"shop": {"customDomain": "shop.example.com", "protocol": "HTTP,HTTPS"}}


def test_removing_takes_the_routes_to_what_goes_and_a_domain_with_none_left(fc: FakeFc, client: Client) -> None:
    deploy(client, plan("one", "/a"), plan("two", "/c"))
    lines, _ = remove(client, "one")
    assert lines == ["custom domain shop.example.com, the routes to what goes", "function svc/one"]
    assert paths(fc) == {"/c": "two"}
    assert remove(client, "two")[0] == ["custom domain shop.example.com", "function svc/two"]
    assert SHOP not in fc.items


def test_a_key_that_may_not_see_domains_removes_the_rest_and_says_so(fc: FakeFc, client: Client) -> None:
    deploy(client, plan("one", "/a"))
    fc.refused = "/2016-08-15/custom-domains"
    lines, kept = remove(client, "one")
    assert lines == ["function svc/one"]
    assert kept == ["routes of custom domains, if there are any: this access key may not see them"]


def test_the_config_of_asynchronous_invocations_is_put_by_its_qualifier(fc: FakeFc, client: Client) -> None:
    deploy(client, plan("one", async_invoke={"live": {"maxAsyncRetryAttempts": 1}}))
    assert fc.async_configs == {
        "/services/svc.live/functions/one/async-invoke-config": {"maxAsyncRetryAttempts": 1},
    }
