"""The questions of the registry's benchmark, asked over one kept connection: a client in a few lines, so that what is
timed is Stoke."""

from __future__ import annotations

import base64
import http.client
import io
import json
import random
import statistics
import zipfile
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from control_plane.cli.endpoint import find_credentials
from loadtests.local import LocalStoke
from runtime.signature import authorization

FEW: Final = 10  # functions in the small registry
PER_SERVICE: Final = 10
PAGE: Final = 100  # the most that a listing gives at once
API: Final = "/2021-04-06"
API_3: Final = "/2023-03-30"
WARM_SERVICE: Final = "warm-service"
WARM: Final = "warm"
HANDLER: Final = "def handler(event, context):\n    return event\n"
TIMEOUT_S: Final = 60.0


def spread(number: int) -> tuple[str, str]:
    """Service and function of a number."""
    return f"service-{number // PER_SERVICE:05d}", f"function-{number:06d}"


class Caller:
    """One Stoke's client. Each question asserts that its answer is the right one."""

    def __init__(self, stoke: LocalStoke, functions: int) -> None:
        self.stoke = stoke
        self.functions = functions
        self._random = random.Random(1)
        self._connection: http.client.HTTPConnection | None = None
        self._endpoint = ""
        key = find_credentials(stoke.data, {})
        assert key is not None, "stoke up has written its key"
        self._key = (key.access_key_id, key.access_key_secret)

    def call(self, method: str, target: str, body: bytes = b"", expected: int = 200) -> bytes:
        if self._endpoint != self.stoke.endpoint:
            self.close()
            self._endpoint = self.stoke.endpoint
        if self._connection is None:
            self._connection = http.client.HTTPConnection(urlsplit(self._endpoint).netloc, timeout=TIMEOUT_S)
        sent = self._signed(method, target, {})
        try:
            self._connection.request(method, target, body, sent)
            answer = self._connection.getresponse()
            read = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise ConnectionError(str(error)) from error
        assert answer.status == expected, f"{method} {target}: {answer.status} {read[:200]!r}"
        return read

    def signed_request(self, method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
        """A whole request, for a client of one's own."""
        lines = [f"{name}: {value}\r\n" for name, value in self._signed(method, target, headers).items()]
        head = f"{method} {target} HTTP/1.1\r\n{''.join(lines)}content-length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def _signed(self, method: str, target: str, headers: dict[str, str]) -> dict[str, str]:
        sent = headers | {"date": formatdate(usegmt=True)}
        return sent | {"authorization": authorization(method, target.partition("?")[0], sent, *self._key)}

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def deploy_warm(self) -> None:
        """A small handler with one instance that stays."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("app.py", HANDLER)
        new = {"functionName": WARM, "runtime": "python3", "handler": "app.handler", "timeout": 30}
        code = {"zipFile": base64.b64encode(packed.getvalue()).decode()}
        self.call("POST", f"{API}/services", json.dumps({"serviceName": WARM_SERVICE}).encode())
        self.call("POST", f"{API}/services/{WARM_SERVICE}/functions", json.dumps(new | {"code": code}).encode())
        config = f"{API}/services/{WARM_SERVICE}/functions/{WARM}/provision-config"
        self.call("PUT", config, b'{"target": 1}')
        self.invoke(0)

    # -- questions -----------------------------------------------------------------------------------------------------

    def get(self, _: int) -> None:
        service, name = self._any()
        assert json.loads(self.call("GET", f"{API}/services/{service}/functions/{name}"))["functionName"] == name

    def put(self, at: int) -> None:
        service, name = self._any()
        body = json.dumps({"description": f"changed {at}"}).encode()
        self.call("PUT", f"{API}/services/{service}/functions/{name}", body)

    def invoke(self, _: int) -> None:
        assert self.call("POST", f"{API}/services/{WARM_SERVICE}/functions/{WARM}/invocations", b"hello") == b"hello"

    def put_and_invoke(self, at: int) -> None:
        self.put(at)
        self.invoke(at)

    def unknown(self, _: int) -> None:
        self.call("POST", f"{API}/services/{WARM_SERVICE}/functions/none/invocations", expected=404)

    def unknown_trigger(self, _: int) -> None:
        self.call("GET", f"/2016-08-15/proxy/{WARM_SERVICE}/{WARM}/", expected=404)

    def list_service(self, _: int) -> None:
        found = json.loads(self.call("GET", f"{API}/services/{self._any()[0]}/functions?limit={PER_SERVICE}"))
        assert len(found["functions"]) == PER_SERVICE

    def list_few(self, _: int) -> None:
        found = json.loads(self.call("GET", f"{API_3}/functions?limit={FEW}&prefix={self._any()[0]}"))
        assert len(found["functions"]) == PER_SERVICE

    def list_page(self, _: int) -> None:
        found = json.loads(self.call("GET", f"{API_3}/functions?limit={PAGE}"))
        assert len(found["functions"]) == min(PAGE, self.functions + 1)

    def walk(self, _: int) -> None:
        count, token = 0, ""
        while True:
            more = f"&nextToken={token}" if token else ""
            found: dict[str, Any] = json.loads(self.call("GET", f"{API_3}/functions?limit={PAGE}{more}"))
            count += len(found["functions"])
            token = found.get("nextToken", "").replace("$", "%24")
            if not token:
                break
        assert count == self.functions + 1, count

    def listed(self, question: str) -> int:
        """How many functions the answer has, where the small registry has fewer of them."""
        if question == "list a page of 100":
            return min(PAGE, self.functions + 1)
        return self.functions + 1 if question == "walk all in pages of 100" else 1

    # Name, question, and how often it is asked of all rounds.
    QUESTIONS: ClassVar[tuple[tuple[str, Callable[[Caller, int], None], float], ...]] = (
        ("get a function", get, 1.0),
        ("change a function", put, 1.0),
        ("list 10 functions of a service", list_service, 1.0),
        ("list 10 functions of all", list_few, 1.0),
        ("list a page of 100", list_page, 0.3),
        ("walk all in pages of 100", walk, 0.01),
        ("invoke the warm function", invoke, 1.0),
        ("change a function, then invoke", put_and_invoke, 1.0),
        ("invoke one that is not there", unknown, 1.0),
        ("ask for a trigger that is not there", unknown_trigger, 1.0),
    )

    def _any(self) -> tuple[str, str]:
        return spread(self._random.randrange(self.functions))


class Asked:
    """How long one question took, at each Stoke. `listed` is what the ratio is taken for: one of so many functions."""

    def __init__(self, base: str, listed: dict[str, int]) -> None:
        self._base = base
        self._listed = listed
        self._took_s: dict[str, list[float]] = {}

    def took(self, name: str, seconds: float) -> None:
        self._took_s.setdefault(name, []).append(seconds)

    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            name: {"p50_ms": statistics.median(each) * 1e3, "p99_ms": percentile(each, 0.99) * 1e3, "asked": len(each)}
            for name, each in self._took_s.items()
        }
        each_ms = {name: told[name]["p50_ms"] / self._listed[name] for name in told}
        told["ratio"] = max(ms for name, ms in each_ms.items() if name != self._base) / each_ms[self._base]
        return told


def percentile(values: list[float], share: float) -> float:
    """The smallest value that so large a share of all is not above."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
