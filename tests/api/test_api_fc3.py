"""FC 3.0's tree beside FC 2.0's, over the same records."""

from __future__ import annotations

import pytest

from runtime.contract import API_VERSION_3, API_VERSIONS
from tests.api.conftest import FUNCTION, TRIGGER, Api


@pytest.fixture
def fc3(api: Api) -> Api:
    api.version = API_VERSION_3
    return api


async def test_a_function_made_in_either_tree_is_in_the_other(fc3: Api) -> None:
    made = await fc3.made("POST", "/functions", FUNCTION | {"role": "r"})
    assert made["functionArn"] == "acs:fc:cn-test:42:functions/f"
    fc3.version = API_VERSIONS[0]
    assert (await fc3.made("GET", "/services/f"))["role"] == "r"
    assert (await fc3.made("GET", "/services/f/functions/f"))["functionName"] == "f"
    await fc3.made("POST", "/services", {"serviceName": "s"})
    await fc3.made("POST", "/services/s/functions", FUNCTION)
    fc3.version = API_VERSION_3
    assert (await fc3.made("GET", "/functions/s$f"))["functionName"] == "s$f"
    listed = await fc3.made("GET", "/functions")
    assert [function["functionName"] for function in listed["functions"]] == ["f", "s$f"]
    only = await fc3.made("GET", "/functions?fcVersion=v2&limit=1")
    assert [function["functionName"] for function in only["functions"]] == ["s$f"]


async def test_a_new_function_in_another_service_is_put_there(fc3: Api) -> None:
    await fc3.made("POST", "/functions", FUNCTION | {"functionName": "s$f"})
    await fc3.made("POST", "/functions", FUNCTION | {"functionName": "s$g"})
    await fc3.call("DELETE", "/functions/s$f")
    assert (await fc3.made("GET", "/functions/s$g"))["functionName"] == "s$g"


async def test_a_function_goes_with_its_versions_and_leaves_nothing(fc3: Api) -> None:
    await fc3.made("POST", "/functions", FUNCTION)
    await fc3.made("POST", "/functions/f/versions", {})
    await fc3.made("POST", "/functions/f/aliases", {"aliasName": "prod", "versionId": "1"})
    assert await fc3.call("DELETE", "/functions/f") == (204, None)
    fc3.version = API_VERSIONS[0]
    assert (await fc3.made("GET", "/services"))["services"] == []


async def test_messages_know_no_services(fc3: Api) -> None:
    status, code, message = await fc3.refused("GET", "/functions/f")
    assert (status, code, message) == (404, "FunctionNotFound", "function 'f' does not exist")
    await fc3.made("POST", "/functions", FUNCTION)
    refused = await fc3.refused("POST", "/functions", FUNCTION)
    assert refused == (409, "FunctionAlreadyExists", "function 'f' already exists")
    assert (await fc3.refused("DELETE", "/functions/f/versions/1"))[1] == "VersionNotFound"


async def test_a_function_that_is_refused_leaves_no_service(fc3: Api) -> None:
    assert (await fc3.refused("POST", "/functions", FUNCTION | {"timeout": 0}))[1] == "InvalidArgument"
    fc3.version = API_VERSIONS[0]
    assert (await fc3.made("GET", "/services"))["services"] == []


async def test_a_function_that_exists_already_is_refused_and_its_service_stays_as_it_is(fc3: Api) -> None:
    await fc3.made("POST", "/functions", FUNCTION | {"role": "r"})
    before = await fc3.made("GET", "/functions/f")
    assert (await fc3.refused("POST", "/functions", FUNCTION | {"role": "other"}))[0] == 409
    assert await fc3.made("GET", "/functions/f") == before


async def test_a_change_of_a_function_that_is_refused_leaves_its_service_as_it_is(fc3: Api) -> None:
    await fc3.made("POST", "/functions", FUNCTION | {"role": "r"})
    before = await fc3.made("GET", "/functions/f")
    assert (await fc3.refused("PUT", "/functions/f", {"role": "other", "timeout": 0}))[0] == 400
    assert (await fc3.refused("PUT", "/functions/f", {"timeout": 9, "logConfig": "x"}))[0] == 400
    assert await fc3.made("GET", "/functions/f") == before


async def test_what_is_changed_at_once_is_refused_to_who_has_not_read_it(either: Api) -> None:
    await either.function()
    await either.made("POST", "/services/s/functions/f/triggers", TRIGGER)
    for path in ("/services/s", "/services/s/functions/f", "/services/s/functions/f/triggers/t"):
        await either.made("GET", path)
        old = either.last.headers["etag"]
        await either.made("PUT", path, {"description": path})
        new = either.last.headers["etag"]
        assert new != old
        headers = {"if-match": old}
        for method in ("PUT", "DELETE"):
            status, answer = await either.call(method, path, {"description": "x"}, headers=headers)
            assert (status, answer["Code"]) == (412, "PreconditionFailed"), (method, path)
        status, _ = await either.call("PUT", path, {"description": "y"}, headers={"if-match": f'"{new}"'})
        assert status == 200


async def test_an_alias_and_a_publication_are_done_only_over_what_was_read(either: Api) -> None:
    await either.function()
    await either.made("GET", "/services/s")
    current = {"if-match": either.last.headers["etag"]}
    assert (await either.call("POST", "/services/s/versions", {}, headers=current))[0] == 200
    await either.made("POST", "/services/s/aliases", {"aliasName": "prod", "versionId": "1"})
    wrong = {"if-match": "another"}
    for method, path in (("PUT", "/aliases/prod"), ("DELETE", "/aliases/prod"), ("POST", "/versions")):
        assert (await either.call(method, f"/services/s{path}", {}, headers=wrong))[0] == 412
    await either.made("GET", "/services/s/aliases/prod")
    right = {"if-match": either.last.headers["etag"]}
    assert (await either.call("DELETE", "/services/s/aliases/prod", headers=right))[0] == 204


async def test_services_are_listed_by_their_tags_in_pages(either: Api) -> None:
    for name in "abc":
        await either.made("POST", "/services", {"serviceName": name})
    for name in "ac":
        await either.made("POST", "/tags", {"resourceArn": f"services/{name}", "tags": {"team": "vision"}})
    first = await either.made("GET", "/services?tag_team=vision&limit=1")
    assert ([s["serviceName"] for s in first["services"]], first["nextToken"]) == (["a"], "c")
    second = await either.made("GET", "/services?tag_team=vision&limit=1&nextToken=c")
    assert ([s["serviceName"] for s in second["services"]], "nextToken" in second) == (["c"], False)
    refused = await either.refused("POST", "/tags", {"resourceArn": "services/a", "tags": {"": "x"}})
    assert refused[:2] == (400, "InvalidArgument")
    assert (await either.refused("DELETE", "/tags", {"resourceArn": "services/a", "all": "true"}))[2] == (
        "all is 'true': must be true or false"
    )
    many = {str(number): "x" for number in range(21)}
    assert (await either.refused("POST", "/tags", {"resourceArn": "services/b", "tags": many}))[0] == 400


async def test_on_demand_configs_are_listed_by_resource(either: Api) -> None:
    await either.function()
    await either.made("PUT", "/services/s/functions/f/on-demand-config", {"maximumInstanceCount": 3})
    resource = "services/s.LATEST/functions/f"
    for query in ("", "?prefix=services/s", "?prefix=services/s.LATEST", f"?startKey={resource}"):
        listed = await either.made("GET", f"/on-demand-configs{query}")
        assert listed == {"configs": [{"maximumInstanceCount": 3, "resource": resource}]}
    assert await either.made("GET", "/on-demand-configs?prefix=services/t") == {"configs": []}
    assert (await either.refused("GET", "/on-demand-configs?prefix=functions/f"))[0] == 400
    too_many = {"maximumInstanceCount": 10_001}
    refused = await either.refused("PUT", "/services/s/functions/f/on-demand-config", too_many)
    assert refused == (400, "InvalidArgument", "maximumInstanceCount is 10001: must be at most 10000")


async def test_a_domain_of_fc_3_names_its_functions_by_one_name(fc3: Api) -> None:
    await fc3.made("POST", "/functions", FUNCTION | {"functionName": "s$f"})
    routes = [{"path": "/*", "functionName": "s$f"}]
    body = {"domainName": "WWW.example.com", "routeConfig": {"routes": routes}}
    made = await fc3.made("POST", "/custom-domains", body)
    assert (made["domainName"], made["accountId"], made["apiVersion"]) == ("www.example.com", "42", "2023-03-30")
    assert made["routeConfig"]["routes"][0]["functionName"] == "s$f"
    fc3.version = API_VERSIONS[0]
    route = (await fc3.made("GET", "/custom-domains/www.example.com"))["routeConfig"]["routes"][0]
    assert (route["serviceName"], route["functionName"]) == ("s", "f")
    for taken in ("127.0.0.1", "gpu.example"):  # an address, and the endpoint's own name
        assert (await fc3.refused("POST", "/custom-domains", {"domainName": taken}))[1] == "InvalidArgument"
    for wrong in ({"domainName": "nodots"}, {"domainName": "a.b", "routeConfig": {"routes": [{"path": "x"}]}}):
        assert (await fc3.refused("POST", "/custom-domains", wrong))[0] == 400


async def test_a_closed_function_says_so_and_ongoing_requests_are_not_aborted(fc3: Api) -> None:
    await fc3.made("POST", "/functions", FUNCTION)
    closed = await fc3.made("POST", "/functions/f/invoke/disable", {"reason": "maintenance"})
    assert closed["invocationRestriction"] == {"disable": True, "reason": "maintenance"}
    assert "invocationRestriction" not in await fc3.made("POST", "/functions/f/invoke/enable")
    refused = await fc3.refused("POST", "/functions/f/invoke/disable", {"abortOngoingRequest": True})
    assert refused[0] == 400
