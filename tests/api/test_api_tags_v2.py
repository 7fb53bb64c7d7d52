"""FC 3.0's tags, of several functions at once."""

from __future__ import annotations

from typing import Any

from runtime.contract import API_VERSION_3
from tests.api.conftest import FUNCTION, Api

TAG = [{"Key": "team", "Value": "vision"}]


def of(*names: str) -> dict[str, Any]:
    return {"ResourceType": "function", "ResourceId": list(names), "Tag": TAG}


async def test_several_functions_are_tagged_all_or_none(api: Api) -> None:
    api.version = API_VERSION_3
    for name in "abc":
        await api.made("POST", "/functions", FUNCTION | {"functionName": name})
    full = {"Tag": [{"Key": str(number), "Value": ""} for number in range(20)]}
    await api.made("POST", "/tags-v2", of("b") | full)
    assert await api.refused("POST", "/tags-v2", of("a", "nope")) == (
        404,
        "FunctionNotFound",
        "function 'nope' does not exist",
    )
    assert (await api.refused("POST", "/tags-v2", of("a", "b")))[:2] == (400, "InvalidArgument")
    asked = "ResourceType=function&ResourceId=" + '["a","nope"]' + "&All=true"
    assert (await api.refused("DELETE", f"/tags-v2?{asked}"))[1] == "FunctionNotFound"
    assert (await api.made("GET", '/tags-v2?ResourceId=["a","c"]'))["TagResources"] == []
    await api.made("POST", "/tags-v2", of("a", "c"))
    listed = await api.made("GET", '/tags-v2?ResourceId=["a","c"]')
    assert [item["ResourceId"] for item in listed["TagResources"]] == ["a", "c"]


async def test_half_of_a_surrogate_pair_names_nothing(api: Api) -> None:
    api.version = API_VERSION_3
    for name in ("ResourceId", "TagKey"):
        refused = await api.refused("GET", f'/tags-v2?{name}=["\\ud800"]')
        assert refused[:2] == (400, "InvalidArgument")
