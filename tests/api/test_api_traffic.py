"""An alias's rules and Stoke's own limits of functions and triggers: kept as they came, and checked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.conftest import TRIGGER, Api

TRIGGERS = "/services/s/functions/f/triggers"
RULES = {"condition": "OR", "policyItems": [{"type": "Header", "key": "uid", "operator": "percent", "value": "20"}]}


async def two_versions(api: Api) -> None:
    await api.function()
    for _ in range(2):
        await api.made("POST", "/services/s/versions", {})


def alias(**more: Any) -> dict[str, Any]:
    return {
        "aliasName": "prod",
        "versionId": "1",
        "additionalVersionWeight": {"2": 0.1},
        "resolvePolicy": "Content",
        "routePolicy": RULES,
        **more,
    }


async def test_the_rules_of_an_alias_are_kept_and_given_back(either: Api) -> None:
    await two_versions(either)
    made = await either.made("POST", "/services/s/aliases", alias())
    assert (made["resolvePolicy"], made["routePolicy"]) == ("Content", RULES)
    changed = await either.made("PUT", "/services/s/aliases/prod", {"resolvePolicy": "Random"})
    assert changed["routePolicy"] == RULES


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"resolvePolicy": "Both"}, "resolvePolicy is 'Both': must be Random or Content"),
        ({"routePolicy": None}, "routePolicy is missing: with resolvePolicy Content it says"),
        ({"additionalVersionWeight": {}}, "additionalVersionWeight is empty: with resolvePolicy Content it names"),
        ({"routePolicy": {"condition": "NOT"}}, "routePolicy.condition is 'NOT': must be AND or OR"),
        (
            {"routePolicy": {"policyItems": [{"type": "Body", "key": "k", "operator": "=", "value": "v"}]}},
            "routePolicy.policyItems[0].type is 'Body': must be one of Header, Cookie, Param",
        ),
    ],
)
async def test_rules_that_cannot_be_followed_are_refused(either: Api, more: dict[str, Any], message: str) -> None:
    await two_versions(either)
    status, code, said = await either.refused("POST", "/services/s/aliases", alias(**more))
    assert (status, code) == (400, "InvalidArgument")
    assert said.startswith(message)


async def test_stokes_own_limits_of_a_function_are_kept_and_checked(either: Api) -> None:
    limits = {"requestsPerSecond": 50, "requestsBurst": 100, "queueWaitSeconds": 0.5}
    await either.function(stoke=limits)
    assert (await either.made("GET", "/services/s/functions/f"))["stoke"] == limits
    for wrong in ({"requestsPerSecond": -1}, {"requestPerSecond": 5}, {"queueWaitSeconds": "soon"}, "none", [1]):
        status, code, said = await either.refused("PUT", "/services/s/functions/f", {"stoke": wrong})
        assert (status, code) == (400, "InvalidArgument"), wrong
        assert said.startswith("stoke"), said


async def test_a_triggers_priority_and_session_affinity_are_kept_and_checked(either: Api) -> None:
    await either.function()
    own = {"priority": 8, "sessionAffinity": {"type": "Cookie", "key": "sid"}}

    def asked(stoke: object) -> dict[str, Any]:
        config = {"authType": "anonymous", "methods": ["GET"], "stoke": stoke}
        return TRIGGER | {"triggerConfig": json.dumps(config) if either.version == "2021-04-06" else config}

    made = (await either.made("POST", TRIGGERS, asked(own)))["triggerConfig"]
    assert (json.loads(made) if isinstance(made, str) else made)["stoke"] == own
    wrongs: tuple[dict[str, Any], ...] = (
        {"priority": 10},
        {"sessionAffinity": {"type": "Param", "key": "x"}},
        {"sessionAffinity": {}},
    )
    for wrong in wrongs:
        status, code, said = await either.refused("PUT", f"{TRIGGERS}/t", asked(wrong))
        assert (status, code) == (400, "InvalidArgument"), wrong
        assert "stoke." in said, said
