"""A `nasConfig` on FC's wire: given back as it came, or refused with the field; nothing half-applied."""

from __future__ import annotations

import pytest

from runtime.contract import API_VERSION_3
from tests.api.conftest import FUNCTION, Api

NAS = {"userId": 1, "groupId": 2, "mountPoints": [{"serverAddr": "nas:/a", "mountDir": "/mnt/a", "readOnly": True}]}
WRONG = {"mountPoints": [{"serverAddr": "nas:/a", "mountDir": "/mnt/a", "enableTLS": True}]}
SAID = "nasConfig.mountPoints[0].enableTLS is true: must be false"


async def test_a_service_keeps_its_mounts_when_a_change_of_them_is_refused(either: Api) -> None:
    made = await either.made("POST", "/services", {"serviceName": "s", "nasConfig": NAS})
    assert made["nasConfig"] == NAS
    status, code, message = await either.refused("PUT", "/services/s", {"description": "new", "nasConfig": WRONG})
    assert (status, code) == (400, "InvalidArgument")
    assert SAID in message
    kept = await either.made("GET", "/services/s")
    assert (kept["nasConfig"], kept.get("description")) == (NAS, None)


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_function_of_fc_3_has_them_of_its_own(api: Api, method: str) -> None:
    api.version = API_VERSION_3
    is_change = method == "PUT"
    if is_change:
        assert (await api.made("POST", "/functions", FUNCTION | {"nasConfig": NAS}))["nasConfig"] == NAS
    path = "/functions/f" if is_change else "/functions"
    _, _, message = await api.refused(method, path, FUNCTION | {"nasConfig": WRONG})
    assert SAID in message
    status, found = await api.call("GET", "/functions/f")
    assert (status, found.get("nasConfig")) == ((200, NAS) if is_change else (404, None))
