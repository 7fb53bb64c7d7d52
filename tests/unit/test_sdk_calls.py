"""The lists of what the published SDKs ask for, held against the paths that are served."""

from __future__ import annotations

import pytest

from control_plane.api.paths import TREES
from tests.support.sdk import SCRIPTS, SDKS, calls, errors

VERSIONS = dict(zip(SDKS, ("/2016-08-15", "/2021-04-06", "/2023-03-30"), strict=True))
# Served under every version of FC 2.0, and asked for by the clients of one of them, or by `s`.
BY_OTHERS = {
    "fc2": (
        "/exec",
        "bindings",
        "stateful-async",
        "/layers",
        "/tags",
        "PUT /tag",
        "/reserved-capacities",
        "/tempBucketToken",
    ),
    "fc20210406": (
        "/exec",
        "POST /tags",
        "PUT /tags",
        "DELETE /tags",
        "DELETE /tag",
        "/reservedCapacities",
        "/layers/",
        "/tempBucketToken",
    ),
    "fc20230330": ("/exec", "/layers/"),
}
GATEWAYS = ("/invocations", "…")  # what the gateway answers by itself


@pytest.mark.parametrize("sdk", SDKS)
def test_what_an_sdk_asks_for_is_served(sdk: str) -> None:
    served = {(method, VERSIONS[sdk] + path) for path, method, _ in dict(TREES)[VERSIONS[sdk]]}
    for call in calls(sdk):
        if call.how not in ("refused", "uncalled") and not call.what.endswith(GATEWAYS):
            assert (call.how, call.what) in served, call


@pytest.mark.parametrize("sdk", SDKS)
def test_what_is_served_is_asked_for_by_an_sdk(sdk: str) -> None:
    asked = {(call.how, call.what) for call in calls(sdk)}
    for path, method, _ in dict(TREES)[VERSIONS[sdk]]:
        others = any(part in f"{method} {path}" for part in BY_OTHERS[sdk])
        assert others or (method, VERSIONS[sdk] + path) in asked, f"{sdk} does not call {method} {path}"


@pytest.mark.parametrize("sdk", SDKS)
def test_an_operation_is_listed_once_and_one_that_is_not_called_with_the_reason(sdk: str) -> None:
    names = [call.name for call in calls(sdk)]
    assert len(names) == len(set(names))
    assert all(len(call.what) > 10 for call in calls(sdk) if call.how == "uncalled")


def test_an_error_is_listed_once_with_the_script_that_meets_it_or_the_reason() -> None:
    codes = [code for _, code, _ in errors()]
    assert len(codes) == len(set(codes))
    for status, _, rest in errors():
        assert len(rest) > 10 if status == "---" else (SCRIPTS / f"{rest}.py").exists(), rest
