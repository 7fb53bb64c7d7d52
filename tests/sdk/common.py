"""What the scripts share: where Stoke is, clients for it, calls that are told of, and refusals that are read whole.

Arguments of each script: endpoint, folder for its files, and a JSON file of access keys by name, each {"id", "secret",
"token"}.
"""

import base64
import io
import json
import logging
import pathlib
import sys
import time
import urllib.parse
import zipfile

import requests

ENDPOINT = sys.argv[1]
FOLDER = pathlib.Path(sys.argv[2])
KEYS = json.loads(pathlib.Path(sys.argv[3]).read_text())

logging.disable()  # aliyun-fc2 logs every refusal with all of its headers

HANDLER = """\
import os, time

def handler(event, context):
    if event == b"raise":
        raise ValueError("as asked for")
    if event == b"exit":
        os._exit(3)
    while event == b"wait" and not os.path.exists(os.environ["GATE"]):
        time.sleep(0.02)
    return event[::-1]

def app(environ, start_response):
    environ["wsgi.input"].read()  # one that answers without it may do so before the gateway knows what it is
    start_response("200 OK", [("content-type", "text/plain")])
    return [" ".join((environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"])).encode()]
"""


def packed(files):
    """A zip file's bytes."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return written.getvalue()


GATE = FOLDER / "gate"  # what waits, waits for this file
CODE = packed({"app.py": HANDLER})
CODE_BASE64 = base64.b64encode(CODE).decode()


def fc2_client(key="admin", **more):
    import fc2

    given = KEYS[key]
    return fc2.Client(
        endpoint=ENDPOINT,
        accessKeyID=given["id"],
        accessKeySecret=given["secret"],
        securityToken=given.get("token", ""),
        **more,
    )


def tea_client(client_class, key="admin", **more):
    from alibabacloud_tea_openapi.models import Config

    given = KEYS[key]
    config = Config(
        access_key_id=given["id"],
        access_key_secret=given["secret"],
        security_token=given.get("token") or None,
        endpoint=ENDPOINT.removeprefix("http://"),
        protocol="http",
        region_id="cn-local",
        **more,
    )
    return client_class(config)


class Wire:
    """All three SDKs send by `requests`: what goes out is kept, and may be changed after it was signed."""

    def __init__(self):
        self.last = None
        self.change = None  # called with the request that is about to go out
        send = requests.Session.send

        def sending(session, request, **options):
            if self.change is not None:
                self.change(request)
            self.last = request
            return send(session, request, **options)

        requests.Session.send = sending

    def again(self):
        """Send the last request once more, byte for byte. Status and body of the answer."""
        with requests.Session() as session:
            answer = session.send(self.last)
        return answer.status_code, answer.json()


WIRE = Wire()


def answered(name):
    """Say that a call went through, and what it asked for."""
    print("answered", name, WIRE.last.method, urllib.parse.urlparse(WIRE.last.url).path)


def told(error):
    """Status, code and body of what an SDK raised; raises it again if it is no answer of the API."""
    if hasattr(error, "err_code"):  # aliyun-fc2
        return error.status_code, error.err_code, json.loads(error.message)
    if not getattr(error, "data", None):
        raise error
    status = getattr(error, "status_code", None) or getattr(error, "statusCode", None) or error.data.get("statusCode")
    return int(status), error.code, error.data


def check_union(code, body):
    """Each generation of clients reads other keys of an error's body: all of them are there, and say the same."""
    assert body["ErrorCode"] == body["errorCode"] == body["Code"] == code, (body, code)
    assert body["ErrorMessage"] == body["errorMessage"] == body["Message"], body
    assert body["Message"], body
    assert body["RequestId"].startswith("1-"), body
    assert "requestId" not in body or body["requestId"] == body["RequestId"], body


def refused(status, code, name, ask):
    """`ask()` is refused like that. A line says so of the call `name`; the message is given."""
    try:
        ask()
    except Exception as error:
        seen, named, body = told(error)
        assert (seen, named) == (status, code), (name, seen, named, body)
        check_union(code, body)
        print("refused", name, status, code)
        return body["Message"]
    raise AssertionError(f"{name} went through: {code} was expected")


def eventually(ask, what, timeout_s=30.0):
    """Ask until the answer is true, and give it."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.05)


class Fc2Calls:
    """The calls of `aliyun-fc2`: what is answered is told of and given, as data, or whole by `whole`."""

    def __init__(self, client):
        self.client = client

    def whole(self, name, /, *arguments, **named):
        answer = getattr(self.client, name)(*arguments, **named)
        answered(name)
        return answer

    def __call__(self, name, /, *arguments, **named):
        answer = self.whole(name, *arguments, **named)
        return None if answer is None else answer.data

    def refused(self, status, code, name, /, *arguments, **named):
        return refused(status, code, name, lambda: getattr(self.client, name)(*arguments, **named))


class TeaCalls:
    """The calls of the SDKs of 2021 and later. What a request has is given as it is on the wire, and goes through the
    SDK's model of it; what is answered is told of and given as the SDK's model, or whole by `whole`."""

    def __init__(self, client, models):
        self.client = client
        self._models = {name.lower(): model for name, model in vars(models).items()}

    def whole(self, name, /, *path, headers=None, **values):
        answer = self._ask(name, path, headers, values)
        answered(name)
        return answer

    def __call__(self, name, /, *path, **values):
        return getattr(self.whole(name, *path, **values), "body", None)

    def refused(self, status, code, name, /, *path, headers=None, **values):
        return refused(status, code, name, lambda: self._ask(name, path, headers, values))

    def _ask(self, name, path, headers, values):
        model = self._model(name, "Request")
        request = [] if model is None else [model().from_map(values)]
        if headers is None:
            return getattr(self.client, name)(*path, *request)
        from darabonba.runtime import RuntimeOptions

        of = self._model(name, "Headers")
        said = dict(headers) if of is None else of().from_map({**headers, "commonHeaders": dict(headers)})
        return getattr(self.client, f"{name}_with_options")(*path, *request, said, RuntimeOptions())

    def _model(self, name, kind):
        return self._models.get((name + kind).replace("_", "").lower())
