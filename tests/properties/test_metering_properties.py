"""Whatever is launched, relabelled and ended, and whenever somebody writes or dies: each millisecond counts once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from control_plane.metering.meter import Amounts, Batch, Meter, Size
from runtime.contract import InstanceRecord, InstanceState, Kind

START_S = 1_700_000_000.0
KEY = ("svc", "LATEST", "f")
SIZE = Size(500, 256, 1024)

# What happens, each some milliseconds after the one before.
ACTIONS = ("launch", "end", "relabel", "write", "restart", "die")
STORIES = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.integers(0, 5_000_000), st.integers(0, 3)), min_size=1, max_size=40
)


@dataclass
class Book:
    """The store, as far as it matters here."""

    until_ms: int | None = None
    total: Amounts = field(default_factory=Amounts)
    latest_hour_s: int = 0

    def write(self, batch: Batch) -> None:
        assert batch.from_ms == self.until_ms
        assert batch.until_ms > (self.until_ms or 0)
        self.until_ms = batch.until_ms
        for used in batch.lines.values():
            self.total = self.total.plus(used)


def fresh(book: Book, living: dict[str, InstanceRecord], now_s: float) -> Meter:
    meter = Meter(book.until_ms)
    meter.sized(KEY, "r", SIZE)
    for record in living.values():
        meter.saw(record, now_s)
    return meter


@given(STORIES)
def test_each_millisecond_of_each_instance_counts_once_but_what_died_unwritten(
    story: list[tuple[str, int, int]],
) -> None:
    book, living = Book(), dict[str, InstanceRecord]()
    lived_ms: defaultdict[str, int] = defaultdict(int)  # what must be counted
    unwritten: set[str] = set()  # ended since the last write: a kill -9 forgets them
    now_ms = round(START_S * 1000)
    meter = fresh(book, living, START_S)
    number = 0
    for action, after_ms, which in story:
        now_ms += after_ms
        now_s = now_ms / 1000
        names = sorted(living)
        if action == "launch":
            number += 1
            name = f"i{number}"
            living[name] = InstanceRecord(
                name, *KEY[::2], KEY[1], "r", Kind.ON_DEMAND, InstanceState.LAUNCHING, 1, "n", launched_at_s=now_s
            )
            meter.sized(KEY, "r", SIZE)  # as for every launch
            meter.saw(living[name], now_s)
        elif action == "relabel" and names:
            name = names[which % len(names)]
            other = Kind.PROVISIONED if living[name].kind is Kind.ON_DEMAND else Kind.ON_DEMAND
            living[name] = replace(living[name], kind=other)
            meter.saw(living[name], now_s)
        elif action == "end" and names:
            name = names[which % len(names)]
            record = living.pop(name)
            lived_ms[name] = now_ms - round(record.launched_at_s * 1000)
            unwritten.add(name)
            meter.ended(name, now_s)
        elif action in ("write", "restart") and meter.is_due(now_s):
            book.write(meter.take(now_s))
            unwritten.clear()
            if action == "restart":
                meter = fresh(book, living, now_s)
        elif action == "die":
            for name in unwritten:  # what was written of them stays, what was not is lost
                lived_ms[name] = -1
            unwritten.clear()
            meter = fresh(book, living, now_s)
    now_ms += 1
    book.write(meter.take(now_ms / 1000))
    for name, record in living.items():
        lived_ms[name] = now_ms - round(record.launched_at_s * 1000)
    known_ms = sum(ms for ms in lived_ms.values() if ms >= 0)
    counted_ms = book.total.instance_ms
    if -1 not in lived_ms.values():
        assert counted_ms == known_ms
    else:
        assert counted_ms >= known_ms
    assert book.total.gpu_memory_mib_ms == counted_ms * SIZE.gpu_memory_mib
    assert book.total.cpu_milli_ms == counted_ms * SIZE.cpu_milli
