"""HTTP triggers, as FC's clients ask for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.conftest import TIME, TRIGGER, Api

TRIGGERS = "/services/s/functions/f/triggers"
CONFIG = {"authType": "anonymous", "methods": ["GET", "POST"], "disableURLInternet": False}


def as_sent(api: Api, config: dict[str, Any]) -> Any:
    """2016-08-15 has the config as an object, 2021-04-06 as a string of JSON."""
    return json.dumps(config) if api.version == "2021-04-06" else config


def as_read(api: Api, trigger: dict[str, Any]) -> Any:
    config = trigger["triggerConfig"]
    assert isinstance(config, str if api.version == "2021-04-06" else dict)
    return json.loads(config) if isinstance(config, str) else config


async def test_a_trigger_is_created_as_clients_post_it(either: Api) -> None:
    await either.function()
    asked = TRIGGER | {"sourceArn": None, "invocationRole": None, "qualifier": None}
    created = await either.made("POST", TRIGGERS, asked | {"triggerConfig": as_sent(either, TRIGGER["triggerConfig"])})
    assert as_read(either, created) == CONFIG
    url = "http://gpu.example:9000/2016-08-15/proxy/s/f/"
    assert {key: value for key, value in created.items() if key != "triggerConfig"} == {
        "triggerName": "t",
        "triggerType": "http",
        "triggerId": "id",
        "qualifier": "LATEST",
        "description": None,
        "sourceArn": None,
        "invocationRole": None,
        "createdTime": TIME,
        "lastModifiedTime": TIME,
        "domainName": (await either.registry.get_trigger("s", "f", "t")).subdomain,
        "urlInternet": url,
        "urlIntranet": url,
    }
    assert await either.made("GET", f"{TRIGGERS}/t") == created
    assert await either.made("GET", TRIGGERS) == {"triggers": [created]}


async def test_the_url_never_comes_from_the_host_header(either: Api) -> None:
    """FC's node client leaves the port out of it."""
    await either.function()
    body = json.dumps(TRIGGER).encode()
    path = f"/{either.version}{TRIGGERS}"
    _, created = await either.send("POST", path, content=body, headers={"host": "127.0.0.1"})
    assert created["urlInternet"].startswith("http://gpu.example:9000/")


async def test_the_url_names_the_qualifier(either: Api) -> None:
    await either.function()
    await either.made("POST", "/services/s/versions", {})
    await either.made("POST", "/services/s/aliases", {"aliasName": "prod", "versionId": "1"})
    created = await either.made("POST", TRIGGERS, TRIGGER | {"qualifier": "prod"})
    assert created["urlInternet"] == "http://gpu.example:9000/2016-08-15/proxy/s.prod/f/"


async def test_a_trigger_is_changed_and_deleted(either: Api) -> None:
    await either.function()
    created = await either.made("POST", TRIGGERS, TRIGGER)
    config = {"authType": "function", "methods": ["GET"], "disableURLInternet": True}
    changed = await either.made("PUT", f"{TRIGGERS}/t", {"triggerConfig": as_sent(either, config)})
    assert as_read(either, changed) == config
    assert (changed["qualifier"], changed["triggerId"]) == (created["qualifier"], created["triggerId"])
    changed = await either.made("PUT", f"{TRIGGERS}/t", {"description": "d"})
    assert (changed["description"], as_read(either, changed)) == ("d", config)
    assert await either.call("DELETE", f"{TRIGGERS}/t") == (204, None)
    refusal = await either.refused("GET", f"{TRIGGERS}/t")
    assert refusal == (404, "TriggerNotFound", "trigger 't' does not exist in function 'f' of service 's'")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"triggerType": "timer"}, 'triggerType is "timer": must be "http"'),
        ({"triggerName": "1st"}, 'triggerName is "1st": must match'),
        ({"triggerConfig": "{"}, "triggerConfig is not valid JSON"),
        ({"triggerConfig": '{"methods": ["GET"], "x": NaN}'}, "triggerConfig is not valid JSON: NaN is not a JSON"),
        ({"triggerConfig": '{"methods": ["GET"], "x": 1e400}'}, "triggerConfig is not valid JSON: 1e400 is too large"),
        ({"triggerConfig": '{"methods": ["GET"], "x": "\\ud800"}'}, "triggerConfig is not valid JSON"),
        ({"triggerConfig": '{"a":' * 100 + "1" + "}" * 100}, "triggerConfig is not valid JSON: it is nested more"),
        ({"triggerConfig": []}, "triggerConfig is []: must be an object"),
        ({"triggerConfig": {"methods": ["GET"], "authType": "basic"}}, 'triggerConfig.authType is "basic": must be'),
        (
            {"triggerConfig": {"methods": ["GET"], "authType": "jwt"}},
            'triggerConfig is {"methods": ["GET"], "authType": "jwt"}: authConfig needs jwks or jwksUrl',
        ),
        ({"triggerConfig": {"methods": []}}, "triggerConfig.methods is []: must have at least 1 entry"),
        ({"triggerConfig": {"methods": ["TRACE"]}}, 'triggerConfig.methods.0 is "TRACE": must be'),
        ({"triggerConfig": {}}, "triggerConfig.methods is missing"),
    ],
)
async def test_a_trigger_that_cannot_be_served_is_refused(either: Api, change: dict[str, Any], says: str) -> None:
    await either.function()
    status, code, message = await either.refused("POST", TRIGGERS, TRIGGER | change)
    assert (status, code) == (400, "InvalidArgument")
    assert message.startswith(says)


async def test_the_second_trigger_of_a_qualifier_is_refused(either: Api) -> None:
    await either.function()
    await either.made("POST", TRIGGERS, TRIGGER)
    status, code, message = await either.refused("POST", TRIGGERS, TRIGGER | {"triggerName": "u"})
    assert (status, code) == (409, "TriggerAlreadyExists")
    assert "'t' for qualifier 'LATEST'" in message
