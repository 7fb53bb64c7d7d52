"""The access log on a disk that is full for a while, on a loop whose timers the test rings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from runtime.gateway.access_log import AccessLog
from tests.unit.test_gateway_metrics import record


class Loop:
    """What is given to a thread is done at once."""

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []

    def call_later(self, _: float, callback: Callable[[], None]) -> Any:
        self._due.append(callback)
        return asyncio.get_running_loop().call_soon(lambda: None)

    def run_in_executor(self, _: None, work: Callable[[bytes], None], data: bytes) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            work(data)
            done.set_result(None)
        except OSError as error:
            done.set_exception(error)
        return done

    async def ring(self) -> None:
        due, self._due = self._due, []
        for callback in due:
            callback()
        await asyncio.sleep(0)  # the loop tells of what is done


async def test_lines_that_could_not_be_written_are_counted_and_the_next_ones_begin_anew(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.symlink_to("/dev/full")
    loop = Loop()
    access_log = AccessLog(cast(asyncio.AbstractEventLoop, loop), str(path))
    for request_id in ("a", "b"):
        access_log.add(record(request_id=request_id))
        await loop.ring()
    path.unlink()  # there is room again
    access_log.add(record(request_id="c"))
    await loop.ring()
    await access_log.close()
    text = path.read_text()
    assert text.startswith("\n")  # behind what may have been written of a line
    said = [json.loads(line) for line in text.splitlines() if line]
    assert [line.get("requestId") or line.get("dropped") for line in said] == ["c", 2]


async def test_a_full_disk_does_not_keep_a_gateway_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.symlink_to("/dev/full")
    access_log = AccessLog(cast(asyncio.AbstractEventLoop, Loop()), str(path))
    access_log.add(record())
    await access_log.close()
