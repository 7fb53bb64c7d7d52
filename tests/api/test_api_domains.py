"""Custom domains: names of hosts, which are the same in large and in small letters."""

from __future__ import annotations

from runtime.contract import API_VERSION_3
from tests.api.conftest import FUNCTION, Api


async def test_a_domain_is_found_however_its_letters_are_written(either: Api) -> None:
    await either.made("POST", "/custom-domains", {"domainName": "API.Example.com"})
    path = "/custom-domains/API.example.COM"
    assert (await either.made("GET", path))["domainName"] == "api.example.com"
    assert (await either.made("PUT", path, {"protocol": "HTTPS"}))["domainName"] == "api.example.com"
    assert (await either.refused("POST", "/custom-domains", {"domainName": "api.EXAMPLE.com"}))[0] == 409
    assert await either.call("DELETE", path) == (204, None)
    refused = await either.refused("GET", path)
    assert refused == (404, "DomainNameNotFound", "domain name 'api.example.com' does not exist")


async def test_a_domain_that_is_another_by_now_is_not_deleted(either: Api) -> None:
    await either.made("POST", "/custom-domains", {"domainName": "a.example"})
    before = {"if-match": either.last.headers["etag"]}
    await either.made("PUT", "/custom-domains/a.example", {"protocol": "HTTPS"})
    assert (await either.call("DELETE", "/custom-domains/a.example", headers=before))[0] == 412
    assert (await either.made("GET", "/custom-domains/a.example"))["protocol"] == "HTTPS"


async def test_what_a_domain_leads_to_may_have_gone_when_something_else_of_it_changes(either: Api) -> None:
    await either.function()
    routes = {"routes": [{"path": "/*", "serviceName": "s", "functionName": "f"}]}
    await either.made("POST", "/custom-domains", {"domainName": "a.example", "routeConfig": routes})
    await either.call("DELETE", "/services/s/functions/f")
    assert (await either.made("PUT", "/custom-domains/a.example", {"protocol": "HTTPS"}))["protocol"] == "HTTPS"
    more = {"routes": [*routes["routes"], {"path": "/x", "serviceName": "s", "functionName": "f"}]}
    assert (await either.refused("PUT", "/custom-domains/a.example", {"routeConfig": more}))[1] == "FunctionNotFound"


async def test_a_trigger_whose_alias_has_gone_can_be_changed(either: Api) -> None:
    await either.function()
    await either.made("POST", "/services/s/versions", {})
    await either.made("POST", "/services/s/aliases", {"aliasName": "prod", "versionId": "1"})
    config = {"methods": ["GET"], "authType": "anonymous"}
    trigger = {"triggerName": "t", "triggerType": "http", "qualifier": "prod", "triggerConfig": config}
    await either.made("POST", "/services/s/functions/f/triggers", trigger)
    await either.call("DELETE", "/services/s/aliases/prod")
    path = "/services/s/functions/f/triggers/t"
    assert (await either.made("PUT", path, {"description": "d"}))["description"] == "d"
    assert (await either.refused("PUT", path, {"qualifier": "dev"}))[1] == "AliasNotFound"
    assert (await either.made("PUT", path, {"qualifier": "LATEST"}))["qualifier"] == "LATEST"


async def test_a_route_of_fc_3_to_nowhere_is_told_by_the_functions_name(api: Api) -> None:
    api.version = API_VERSION_3
    await api.made("POST", "/functions", FUNCTION)
    for name in ("nope", "s$nope"):
        routes = [{"path": "/", "functionName": "f"}, {"path": "/x", "functionName": name}]
        body = {"domainName": "a.example", "routeConfig": {"routes": routes}}
        refused = await api.refused("POST", "/custom-domains", body)
        assert refused == (404, "FunctionNotFound", f"function '{name}' does not exist")
