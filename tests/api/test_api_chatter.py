"""What FC's clients ask on the way, and Stoke has little to say about."""

from __future__ import annotations

import pytest

from runtime.contract import API_VERSION_3, API_VERSIONS
from tests.api.conftest import FUNCTION, Api


@pytest.fixture
def fc3(api: Api) -> Api:
    api.version = API_VERSION_3
    return api


async def test_there_is_one_region_the_one_that_is_set(fc3: Api) -> None:
    assert await fc3.made("GET", "/regions") == {
        "Regions": {"Region": [{"RegionId": "cn-test", "LocalName": "cn-test"}]}
    }


@pytest.mark.parametrize("version", [*API_VERSIONS, API_VERSION_3])
async def test_no_layer_is_found(api: Api, version: str) -> None:
    api.version = version
    refused = await api.refused("GET", "/layers/l/versions/1")
    assert refused == (404, "LayerNotFound", "layer 'l' does not exist: there are no layers")


async def test_a_function_has_no_sessions_and_there_are_no_snapshots(fc3: Api) -> None:
    assert (await fc3.refused("GET", "/functions/f/sessions"))[:2] == (404, "FunctionNotFound")
    await fc3.made("POST", "/functions", FUNCTION)
    assert await fc3.made("GET", "/functions/f/sessions") == {"sessions": []}
    assert await fc3.made("GET", "/snapshots") == {"snapshots": []}
