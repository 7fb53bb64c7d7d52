"""The three SDKs with one set of words: look, make something, invoke, under one key."""

import base64
import hashlib
import io
import json
from datetime import UTC, datetime
from email.utils import formatdate

from common import CODE, CODE_BASE64, FOLDER, fc2_client, tea_client


class Fc2:
    """Its scheme has no nonce, and covers a body where Content-MD5 is sent."""

    def __init__(self, key="admin", **more):
        self._client = fc2_client(key, **more)
        self._headers = {}

    def at(self, utc_s):
        self._headers = {"date": formatdate(utc_s, usegmt=True)}

    def look(self):
        return [
            service["serviceName"] for service in self._client.list_services(headers=self._headers).data["services"]
        ]

    def make(self, name):
        body = json.dumps({"serviceName": name, "description": "d"}).encode()
        self._client.create_service(name, description="d", headers=self._headers | _md5(body))

    def make_function(self):
        self._client.create_service("s")
        (FOLDER / "code.zip").write_bytes(CODE)
        self._client.create_function("s", "g", "python3", "app.handler", codeZipFile=str(FOLDER / "code.zip"))

    def invoke(self, payload):
        headers = self._headers | _md5(payload)
        return self._client.invoke_function("s", "g", payload=payload, headers=headers).data

    def remove(self):
        self._client.delete_function("s", "g")
        self._client.delete_service("s")


class Fc2021:
    def __init__(self, key="admin", **more):
        from alibabacloud_fc_open20210406 import models
        from alibabacloud_fc_open20210406.client import Client

        self._client, self._models = tea_client(Client, key, **more), models

    def at(self, utc_s):
        _set_tea_time(utc_s)

    def look(self):
        listed = self._client.list_services(self._models.ListServicesRequest())
        return [service.service_name for service in listed.body.services]

    def make(self, name):
        self._client.create_service(self._models.CreateServiceRequest(service_name=name))

    def make_function(self):
        self.make("s")
        code = self._models.Code(zip_file=CODE_BASE64)
        self._client.create_function(
            "s",
            self._models.CreateFunctionRequest(
                function_name="g", runtime="python3", handler="app.handler", code=code, timeout=60
            ),
        )

    def invoke(self, payload):
        return self._client.invoke_function("s", "g", self._models.InvokeFunctionRequest(body=payload)).body

    def remove(self):
        self._client.delete_function("s", "g")
        self._client.delete_service("s")


class Fc2023:
    def __init__(self, key="admin", **more):
        from alibabacloud_fc20230330 import models
        from alibabacloud_fc20230330.client import Client

        self._client, self._models = tea_client(Client, key, **more), models

    def at(self, utc_s):
        _set_tea_time(utc_s)

    def look(self):
        listed = self._client.list_functions(self._models.ListFunctionsRequest())
        return [function.function_name for function in listed.body.functions]

    def make(self, name):
        code = self._models.InputCodeLocation(zip_file=CODE_BASE64)
        made = self._models.CreateFunctionInput(
            function_name=name, runtime="python3", handler="app.handler", code=code, timeout=60
        )
        self._client.create_function(self._models.CreateFunctionRequest(body=made))

    def make_function(self):
        self.make("g")

    def invoke(self, payload):
        asked = self._models.InvokeFunctionRequest(body=io.BytesIO(payload))
        return self._client.invoke_function("g", asked).body.read()

    def remove(self):
        self._client.delete_function("g")


def _md5(body):
    return {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}


def _set_tea_time(utc_s):
    from alibabacloud_tea_openapi.utils import Utils

    Utils.get_timestamp = staticmethod(lambda: datetime.fromtimestamp(utc_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


SDKS = {"fc2": Fc2, "fc20210406": Fc2021, "fc20230330": Fc2023}
