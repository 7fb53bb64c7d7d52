"""Watches the fleet beside a load: target, current and in flight from Stoke's API, a few times a second.

A look that fails (the control plane is away) is counted and left out; the watch goes on.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Final, Self

import httpx

from control_plane.cli.endpoint import Credentials
from control_plane.cli.signed import FcAuth
from loadtests.timeline import Sample, Timeline

WATCH_EVERY_S: Final = 0.25
ANSWER_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Watched:
    """Which function of which endpoint to look at."""

    endpoint: str
    service: str
    function: str
    qualifier: str = "LATEST"
    credentials: Credentials | None = None  # None: nothing is signed


class FleetClient:
    """The two calls that say how a function's fleet is doing."""

    def __init__(self, watched: Watched) -> None:
        key = watched.credentials
        auth = None if key is None else FcAuth(key.access_key_id, key.access_key_secret)
        self._http = httpx.Client(base_url=watched.endpoint, auth=auth, timeout=ANSWER_TIMEOUT_S, trust_env=False)
        self._of = {"service": watched.service, "function": watched.function}
        self._qualifier = watched.qualifier

    def sample(self) -> Sample:
        """Raises httpx.HTTPError when the endpoint is away, ValueError when it answers something else."""
        provision = self._get("/stoke/v1/provision", {**self._of, "qualifier": self._qualifier})
        listed = self._get("/stoke/v1/instances", self._of)
        instances = listed.get("instances", []) if isinstance(listed, dict) else listed
        return parse_sample(time.time(), provision, instances)

    def close(self) -> None:
        self._http.close()

    def _get(self, path: str, query: dict[str, str]) -> Any:
        answer = self._http.get(path, params=query)
        answer.raise_for_status()
        return answer.json()


def parse_sample(at_s: float, provision: dict[str, Any], instances: list[dict[str, Any]]) -> Sample:
    """One look, from the two answers. Keys may be camelCase or snake_case; what is missing counts as nothing."""
    status, rows = _Keys(provision), [_Keys(row) for row in instances]
    ready = [row for row in rows if row("state", "") == "READY"]
    return Sample(
        at_s=at_s,
        target=int(status("target", 0)),
        current=int(status("current", 0)),
        starting=int(status("starting", 0)),
        ready=len(ready),
        on_demand=sum(row("kind", "") == "on-demand" for row in ready),
        draining=sum(row("state", "") == "DRAINING" for row in rows),
        in_flight=sum(int(row("in_flight", 0)) for row in rows),
        utilization=status("utilization", None),
        current_error=str(status("current_error", "")),
        in_force=tuple(map(str, status("in_force", ()))),
        reasons=tuple(map(str, status("reasons", ()))),
        ready_at_s={str(row("instance_id", "")): float(row("ready_at_s", 0.0)) or at_s for row in ready},
    )


class _Keys:
    """A JSON object read by snake_case names, however it spells them; null counts as missing."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = {key.replace("_", "").lower(): value for key, value in values.items() if value is not None}

    def __call__(self, name: str, default: Any) -> Any:
        return self._values.get(name.replace("_", ""), default)


class Watcher:
    """A thread that fills a timeline until told to stop. Use it as a context manager."""

    def __init__(self, watched: Watched, every_s: float = WATCH_EVERY_S) -> None:
        self.timeline = Timeline()
        self._client = FleetClient(watched)
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleet-watcher", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            self._look()
            self._stop.wait(max(0.0, self._every_s - (time.monotonic() - began)))

    def _look(self) -> None:
        try:
            self.timeline.add(self._client.sample())
        except (httpx.HTTPError, ValueError) as error:
            self.timeline.miss(f"{type(error).__name__}: {error}")
