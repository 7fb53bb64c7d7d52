"""Locust users for the HTTP trigger of a deployed function.

`python -m loadtests.run` starts it; by hand: `locust -f loadtests/locustfile.py --headless --host URL --shape burst`.
Which function, with what body, and how hard is told by options; what happened goes to `--record` (see `recorder.py`).
"""

from __future__ import annotations

import argparse
import time
from itertools import cycle
from pathlib import Path
from typing import Any, ClassVar

import gevent
from locust import LoadTestShape, constant, constant_pacing, events, task
from locust.contrib.fasthttp import FastHttpUser
from locust.env import Environment

from loadtests.options import add_load_options, check_load_options
from loadtests.payload import Payload, payload
from loadtests.recorder import Recorder
from loadtests.shapes import users_at

FLUSH_EVERY_S = 1.0
SPAWN_RATE = 100.0  # users a second: a shape says how many there are, and they come and go at once
FAILURE_PAUSE_S = 0.1  # a refused client does not come back at once; a dead endpoint must not become a busy loop


def add_options(parser: argparse.ArgumentParser) -> None:
    add_load_options(parser)
    parser.add_argument("--record", default="", help="file to append what was seen to, one JSON object a second")


def options_of(environment: Environment | None) -> Any:
    """What the command line said; Locust hands it over as a namespace without types."""
    assert environment is not None
    return environment.parsed_options


class Shape(LoadTestShape):
    """The users over time that the options name. The run ends with it."""

    _rose = False

    def tick(self) -> tuple[int, float] | None:
        options = options_of(self.runner.environment if self.runner else None)
        t = self.get_run_time()  # type: ignore[no-untyped-call]
        if t >= options.duration_s:
            return None
        users = users_at(options.shape, t, low=options.low, high=options.high, duration_s=options.duration_s)
        if not self._rose and TriggerUser.recorder is not None and (options.shape == "steady" or users > options.low):
            self._rose = True
            TriggerUser.recorder.rose(time.time())
        return users, SPAWN_RATE


class TriggerUser(FastHttpUser):
    """A closed-loop client: asks, waits for the answer, keeps its pace, asks again."""

    payload: ClassVar[Payload]
    recorder: ClassVar[Recorder | None] = None

    @classmethod
    def prepare(cls, environment: Environment, **_: Any) -> None:
        options = options_of(environment)
        check_load_options(options)
        cls.payload = payload(options)
        # Paced from the start of one request to the start of the next, so a slow answer does not slow the load.
        cls.wait_time = constant_pacing(options.pacing_s) if options.pacing_s > 0 else constant(0)
        cls.network_timeout = cls.connection_timeout = options.timeout_s
        if options.record:
            lines = Path(options.record).open("a", encoding="utf-8")  # noqa: SIM115 - open as long as the process
            cls.recorder = Recorder(lines, time.time())
            record(environment, cls.recorder)

    def on_start(self) -> None:
        self.bodies = cycle(self.payload.bodies)

    @task
    def trigger(self) -> None:
        recorder, request = self.recorder, self.payload
        if recorder is not None:
            recorder.began(time.time())
        try:
            answer = self.client.request(
                request.method,
                request.path,
                name=request.name,
                data=next(self.bodies),  # type: ignore[arg-type]  # bytes are sent as they are
                headers=request.headers,
            )
        finally:
            if recorder is not None:
                recorder.ended(time.time())
        if not 0 < answer.status_code < 400:
            gevent.sleep(FAILURE_PAUSE_S)


def record(environment: Environment, recorder: Recorder) -> None:
    """Tell the recorder of every answer, and write its lines: each second, and once more at the end."""

    def flush() -> None:
        recorder.flush(environment.runner.user_count if environment.runner else 0, time.time())

    def flush_always() -> None:
        while True:
            gevent.sleep(FLUSH_EVERY_S)
            flush()

    def on_request(name: str, response_time: float, response: Any, exception: BaseException | None, **_: Any) -> None:
        headers = getattr(response, "headers", None) or {}
        recorder.answered(
            name,
            response_time,
            time.time(),
            error=f"{type(exception).__name__}: {exception}" if exception is not None else "",
            cold_start=headers.get("x-stoke-cold-start") == "true",
            instance=headers.get("x-fc-instance-id") or "",
        )

    environment.events.request.add_listener(on_request)  # type: ignore[no-untyped-call]
    environment.events.quitting.add_listener(lambda **_: flush())  # type: ignore[no-untyped-call]
    gevent.spawn(flush_always)


events.init_command_line_parser.add_listener(add_options)  # type: ignore[no-untyped-call]
events.init.add_listener(TriggerUser.prepare)  # type: ignore[no-untyped-call]
