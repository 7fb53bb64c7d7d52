"""A qualifier names a version or an alias: what has neither refuses one, where it would change what was not meant."""

from __future__ import annotations

import pytest

from runtime.contract import API_VERSION_3, API_VERSIONS
from tests.api.conftest import FUNCTION, TRIGGER, Api

UNPUBLISHED = [
    ("PUT", "/services/{}", {"description": "x"}),
    ("DELETE", "/services/{}", None),
    ("POST", "/services/{}/functions", FUNCTION | {"functionName": "other"}),
    ("PUT", "/services/{}/functions/f", {"timeout": 9}),
    ("DELETE", "/services/{}/functions/f", None),
    ("POST", "/services/{}/functions/f/triggers", TRIGGER),
    ("POST", "/services/{}/versions", {}),
    ("DELETE", "/services/{}/versions/1", None),
    ("POST", "/services/{}/aliases", {"aliasName": "a", "versionId": "1"}),
    ("DELETE", "/services/{}/aliases/prod", None),
    ("POST", "/services/{}/bindings", {"vpcId": "v"}),
]


@pytest.mark.parametrize("spelled", ["path", "query"])
@pytest.mark.parametrize(("method", "path", "body"), UNPUBLISHED)
async def test_what_has_no_versions_refuses_a_qualifier_and_changes_nothing(
    api: Api, method: str, path: str, body: object, spelled: str
) -> None:
    await api.function()
    await api.made("POST", "/services/s/versions", {})
    await api.made("POST", "/services/s/aliases", {"aliasName": "prod", "versionId": "1"})
    read = (
        "/services/s",
        "/services/s/functions",
        "/services/s/versions",
        "/services/s/aliases",
        "/services/s/bindings",
    )
    before = [await api.made("GET", each) for each in read]
    if spelled == "query":
        api.version = API_VERSIONS[1]
    asked = path.format("s.prod") if spelled == "path" else path.format("s") + "?qualifier=prod"
    assert await api.refused(method, asked, body) == (
        400,
        "InvalidArgument",
        "qualifier is 'prod': must be LATEST or left out, as this is of no version",
    )
    assert [await api.made("GET", each) for each in read] == before


async def test_latest_may_be_named(either: Api) -> None:
    await either.function()
    assert (await either.made("PUT", "/services/s.LATEST/functions/f", {"timeout": 9}))["timeout"] == 9


@pytest.mark.parametrize(("method", "body"), [("PUT", {"timeout": 9}), ("DELETE", None)])
async def test_a_function_of_fc_3_is_not_changed_by_an_alias(api: Api, method: str, body: object) -> None:
    api.version = API_VERSION_3
    await api.made("POST", "/functions", FUNCTION)
    assert (await api.refused(method, "/functions/f?qualifier=prod", body))[:2] == (400, "InvalidArgument")
    assert (await api.made("GET", "/functions/f"))["timeout"] == 3


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("name", ["f.prod", "s.prod$f"])
async def test_a_name_of_fc_3_has_no_qualifier_in_it(api: Api, method: str, name: str) -> None:
    await api.function()
    await api.made("POST", "/services/s/versions", {})
    await api.made("POST", "/services/s/aliases", {"aliasName": "prod", "versionId": "1"})
    api.version = API_VERSION_3
    refused = await api.refused(method, f"/functions/{name}", {} if method == "PUT" else None)
    assert refused == (404, "FunctionNotFound", f"function '{name}' does not exist")
