"""Credentials of registries on FC's wire: taken, never given back, kept by what is shown in their place."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from control_plane.registry_auth import MASK
from runtime.contract import API_VERSION_3
from tests.api.conftest import Api

PASSWORD = "let-me-in"
FUNCTION: dict[str, Any] = {
    "functionName": "f", "runtime": "custom-container", "handler": "x",
    "customContainerConfig": {
        "image": "registry.example/a:1",
        "registryConfig": {"authConfig": {"userName": "puller", "password": PASSWORD}},
    },
}  # fmt: skip


@pytest.fixture(params=["2016-08-15", "2021-04-06", API_VERSION_3])
async def tree(request: pytest.FixtureRequest, api: Api) -> tuple[Api, str]:
    """The API in one spelling, and where its functions are."""
    if request.param == API_VERSION_3:
        api.version = request.param
        return api, "/functions"
    api.version = request.param
    await api.made("POST", "/services", {"serviceName": "f"})
    return api, "/services/f/functions"


async def test_no_answer_has_the_password_and_the_store_has_it_sealed(tree: tuple[Api, str]) -> None:
    api, path = tree
    shown = await api.made("POST", path, FUNCTION)
    assert shown["customContainerConfig"]["registryConfig"]["authConfig"] == {"userName": "puller", "password": MASK}
    answers = [shown]
    answers.append(await api.made("GET", f"{path}/f"))
    answers.append(await api.made("GET", path))
    answers.append(await api.made("PUT", f"{path}/f", {"description": "new"}))
    kept = (await api.registry.get_function("f", "f")).model_dump_json()
    assert PASSWORD not in f"{answers} {kept}"
    assert MASK not in kept


async def test_what_was_shown_can_be_sent_back_and_keeps_the_password(tree: tuple[Api, str]) -> None:
    api, path = tree
    shown = await api.made("POST", path, FUNCTION)
    before = await api.registry.get_function("f", "f")
    await api.made("PUT", f"{path}/f", {"customContainerConfig": shown["customContainerConfig"]})
    assert await api.registry.get_function("f", "f") == before
    moved = copy.deepcopy(shown["customContainerConfig"]) | {"image": "elsewhere.example/a:1"}
    status, code, message = await api.refused("PUT", f"{path}/f", {"customContainerConfig": moved})
    assert (status, code) == (400, "InvalidArgument")
    assert "the image's registry has changed from registry.example to elsewhere.example" in message
    assert await api.registry.get_function("f", "f") == before


async def test_wrong_credentials_make_no_function(tree: tuple[Api, str]) -> None:
    api, path = tree
    wrong = copy.deepcopy(FUNCTION)
    wrong["customContainerConfig"]["registryConfig"]["authConfig"]["userName"] = 7
    _, _, message = await api.refused("POST", path, wrong)
    assert "customContainerConfig.registryConfig.authConfig.userName must be a text" in message
    assert PASSWORD not in message
    assert (await api.call("GET", f"{path}/f"))[0] == 404
