"""Versions and aliases, as FC's clients ask for them."""

from __future__ import annotations

from tests.api.conftest import TIME, Api


async def test_versions_are_published_listed_and_deleted(either: Api) -> None:
    await either.function()
    published = await either.made("POST", "/services/s/versions", {"description": "first"})
    assert published == {
        "versionId": "1",
        "description": "first",
        "createdTime": TIME,
        "lastModifiedTime": TIME,
    }
    assert (await either.made("POST", "/services/s/versions"))["versionId"] == "2", "a body is not needed"
    listed = await either.made("GET", "/services/s/versions")
    assert [version["versionId"] for version in listed["versions"]] == ["2", "1"]
    assert listed["direction"] == "BACKWARD"
    listed = await either.made("GET", "/services/s/versions?direction=FORWARD&limit=1")
    assert [version["versionId"] for version in listed["versions"]] == ["1"]
    assert listed["nextToken"] == "2"
    assert await either.call("DELETE", "/services/s/versions/1") == (204, None)
    refusal = await either.refused("DELETE", "/services/s/versions/1")
    assert refusal == (404, "VersionNotFound", "version '1' does not exist in service 's'")


async def test_aliases_are_created_changed_listed_and_deleted(either: Api) -> None:
    await either.function()
    for _ in range(2):
        await either.made("POST", "/services/s/versions", {})
    asked = {"aliasName": "prod", "versionId": "1", "additionalVersionWeight": {"2": 0.05}}
    created = await either.made("POST", "/services/s/aliases", asked)
    assert created == asked | {
        "description": None,
        "resolvePolicy": None,
        "routePolicy": None,
        "createdTime": TIME,
        "lastModifiedTime": TIME,
    }
    assert await either.made("GET", "/services/s/aliases/prod") == created
    changed = await either.made("PUT", "/services/s/aliases/prod", {"description": "d"})
    assert changed == created | {"description": "d"}
    changed = await either.made("PUT", "/services/s/aliases/prod", {"versionId": "2", "additionalVersionWeight": {}})
    assert (changed["versionId"], changed["additionalVersionWeight"]) == ("2", {})
    assert await either.made("GET", "/services/s/aliases") == {"aliases": [changed]}
    status, code, message = await either.refused("DELETE", "/services/s/versions/2")
    assert (status, code) == (412, "VersionInUse")
    assert "alias 'prod'" in message
    assert await either.call("DELETE", "/services/s/aliases/prod") == (204, None)
    assert (await either.refused("GET", "/services/s/aliases/prod"))[1] == "AliasNotFound"
