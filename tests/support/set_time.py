"""A loop and its clock, both set by the test: deadlines told as stories in time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runtime.http import deadlines


class Timer:
    def __init__(self, at_s: float, callback: Callable[[], None]) -> None:
        self.at_s = at_s
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class SetTime:
    """`go_to` and `pass_` ring what is due on the way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Deadlines go by this clock from now on."""
        self.now_s = 100.0
        self.timers: list[Timer] = []
        self.set_times = 0
        monkeypatch.setattr(deadlines, "monotonic", self.monotonic)

    def monotonic(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(self.now_s + delay_s, callback)
        self.timers.append(timer)
        self.set_times += 1
        return timer

    def go_to(self, now_s: float) -> None:
        while due := [timer for timer in self.timers if timer.at_s <= now_s]:
            timer = min(due, key=lambda each: each.at_s)
            self.timers.remove(timer)
            self.now_s = timer.at_s
            if not timer.cancelled:
                timer.callback()
        self.now_s = now_s

    def pass_(self, seconds: float) -> None:
        self.go_to(self.now_s + seconds)
