"""A whole Stoke in a temporary folder, and words to use and to hurt it."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from control_plane.cli.signed import FcAuth
from runtime.processes import start_time

ROOT = Path(__file__).parents[2]


def eventually(condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
    """Wait until `condition` gives something true, and give that. Raises AssertionError, naming `what`."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.02)


def zipped(files: Mapping[str, str | bytes]) -> str:
    """Files as the base64 of a zip, as CreateFunction wants them."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return base64.b64encode(packed.getvalue()).decode()


class Stoke:
    """`stoke up` in the foreground on a port the system picked."""

    def __init__(self, data: Path, *options: str) -> None:
        self.data = data
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(timeout=30.0)  # signs with the local key once Stoke is up

    # -- up and down ------------------------------------------------------------------------------------------------

    def up(self) -> Self:
        self.data.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "control_plane.supervisor", "--data", str(self.data), *self._options]
        with (self.data / "supervisor.log").open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT)
        eventually(self._is_up, f"Stoke serves; see {self.data}/logs", timeout_s=30.0)
        self.client.auth = self.auth
        return self

    def __enter__(self) -> Self:
        try:
            return self.up()
        except BaseException:
            self.down()
            raise

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def auth(self) -> FcAuth:
        """Signs as this Stoke's own key, an admin's."""
        key = json.loads((self.data / "credentials.json").read_text())
        return FcAuth(key["access_key_id"], key["access_key_secret"])

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.data / "supervisor.log").read_text()
        with contextlib.suppress(OSError, ValueError):
            return bool(self.stoke_json()["pid"] == self._process.pid)
        return False

    def down(self) -> None:
        self.client.close()
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def kill_supervisor(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stoke_json(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads((self.data / "stoke.json").read_text())
        return values

    @property
    def endpoint(self) -> str:
        return str(self.stoke_json()["endpoint"])

    # -- parts --------------------------------------------------------------------------------------------------------

    def pid(self, part: str) -> int:
        return int(json.loads((self.data / "run" / f"{part}.pid.json").read_text())["pid"])

    def kill(self, part: str) -> int:
        """kill -9 one part; gives the pid it had."""
        pid = self.pid(part)
        os.kill(pid, signal.SIGKILL)
        return pid

    def await_restart(self, part: str, old_pid: int, timeout_s: float = 10.0) -> float:
        """Wait until the part runs again under another pid; gives the seconds that took."""
        began_s = time.monotonic()
        eventually(lambda: self.pid(part) != old_pid and start_time(self.pid(part)), f"{part} restarts", timeout_s)
        return time.monotonic() - began_s

    # -- the API ------------------------------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One API call that must succeed; gives the JSON, None for an empty body."""
        answer = self.client.request(method, self.endpoint + path, json=body)
        assert answer.status_code < 400, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def deploy(
        self, function: str, files: Mapping[str, str | bytes] | None = None, service: str = "svc", **fields: Any
    ) -> None:
        """Create the service (once), the function and an anonymous HTTP trigger."""
        if self.client.get(f"{self.endpoint}/2016-08-15/services/{service}").status_code == 404:
            self.call("POST", "/2016-08-15/services", {"serviceName": service})
        body: dict[str, Any] = {
            "functionName": function, "runtime": "python3.11", "handler": "app.handler", "timeout": 30,
            "memorySize": 256, **fields,
        }  # fmt: skip
        if files is not None:
            body["code"] = {"zipFile": zipped(files)}
        self.call("POST", f"/2016-08-15/services/{service}/functions", body)
        trigger = {
            "triggerName": "http",
            "triggerType": "http",
            "triggerConfig": {"authType": "anonymous", "methods": ["GET", "POST"]},
        }
        self.call("POST", f"/2016-08-15/services/{service}/functions/{function}/triggers", trigger)

    def provision(self, function: str, target: int, *policies: Mapping[str, Any], service: str = "svc") -> Any:
        body = {"target": target, "targetTrackingPolicies": list(policies)}
        return self.call("PUT", self.provision_path(function, service), body)

    def provision_path(self, function: str, service: str = "svc") -> str:
        return f"/2016-08-15/services/{service}.LATEST/functions/{function}/provision-config"

    def status(self, function: str, service: str = "svc") -> dict[str, Any]:
        query = f"service={service}&qualifier=LATEST&function={function}"
        status: dict[str, Any] = self.call("GET", f"/stoke/v1/provision?{query}")
        return status

    def instances(self, function: str, service: str = "svc") -> list[dict[str, Any]]:
        answer = self.call("GET", f"/stoke/v1/instances?service={service}&function={function}")
        rows: list[dict[str, Any]] = answer["instances"]
        return rows

    def ready(self, function: str, service: str = "svc") -> list[dict[str, Any]]:
        return [row for row in self.instances(function, service) if row["state"] == "READY"]

    def await_current(self, function: str, count: int, timeout_s: float = 30.0) -> None:
        eventually(lambda: self.status(function)["current"] == count, f"{function} has {count} instances", timeout_s)

    def trigger_url(self, function: str, path: str = "", service: str = "svc") -> str:
        return f"{self.endpoint}/2016-08-15/proxy/{service}/{function}/{path}"


class Load:
    """Closed-loop clients against one URL. Every answer but 200, and every broken connection, is a failure."""

    def __init__(self, url: str, users: int, body: bytes = b"x", timeout_s: float = 30.0) -> None:
        self.url, self.body, self.timeout_s = url, body, timeout_s
        self.answers: Counter[str] = Counter()
        self.slowest_s = 0.0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._user, daemon=True) for _ in range(users)]

    def _user(self) -> None:
        with httpx.Client(timeout=self.timeout_s) as client:
            while not self._stop.is_set():
                began_s = time.monotonic()
                try:
                    answer = client.post(self.url, content=self.body)
                    outcome = str(answer.status_code) if answer.status_code == 200 else answer.text
                except httpx.HTTPError as error:
                    outcome = repr(error)
                with self._lock:
                    self.answers[outcome] += 1
                    self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)

    @property
    def done(self) -> int:
        return sum(self.answers.values())

    @property
    def failures(self) -> dict[str, int]:
        return {outcome: count for outcome, count in self.answers.items() if outcome != "200"}

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(self.timeout_s + 5.0)

    def await_more(self, requests: int, timeout_s: float = 30.0) -> None:
        """Wait until so many more requests have been answered."""
        goal = self.done + requests
        eventually(lambda: self.done >= goal, f"{requests} more answers", timeout_s)
