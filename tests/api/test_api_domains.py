"""Custom domains: names of hosts, which are the same in large and in small letters."""

from __future__ import annotations

from tests.api.conftest import Api


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
