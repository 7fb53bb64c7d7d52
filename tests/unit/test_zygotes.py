"""Which functions have a zygote, and what an import may not leave behind. No process is started."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from runtime.instance.template import unsharable
from runtime.node.cgroups import MemoryGroups
from runtime.node.forks import Forks, Refused
from runtime.node.zygotes import FunctionForks, Limits, Template, Zygotes


class FakeForks(FunctionForks):
    """Made at once; what it has of children is as the test says."""

    made: dict[str, FakeForks]
    refuse: frozenset[str] = frozenset()

    def __init__(self, plain: Forks, template: Template, limits: Limits, groups: MemoryGroups | None = None) -> None:
        super().__init__(plain, template, limits)
        self.name = template.key[0]
        self.made[self.name] = self
        self.living = 0
        self.is_closed = False
        self.asked_ahead = 0

    async def prepare(self) -> None:
        if self.name in self.refuse:
            raise Refused("its import started 1 thread")

    @property
    def is_ready(self) -> bool:
        return not self.is_closed

    @property
    def pid(self) -> int:
        return 0 if self.is_closed else 1

    @property
    def children(self) -> int:
        return self.living

    def ask_ahead(self, after_s: float = 0.0) -> None:
        self.asked_ahead += 1

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeForks]:
    monkeypatch.setattr(FakeForks, "made", {}, raising=False)
    return FakeForks.made


def zygotes(functions_max: int = 2, idle_s: float = 600.0) -> Zygotes:
    return Zygotes(Limits(functions_max=functions_max, idle_s=idle_s), make=FakeForks)


async def warmed(all_of_them: Zygotes, *names: str) -> None:
    for name in names:
        all_of_them.warm(Template((name,), {}, brings_own=False))
        while all_of_them._warming:
            await asyncio.sleep(0)


def kept(all_of_them: Zygotes) -> list[str]:
    return [one["function"][0] for one in all_of_them.listing() if not one["refused"]]


async def test_the_one_that_was_not_used_for_longest_makes_room(made: dict[str, FakeForks]) -> None:
    all_of_them = zygotes()
    await warmed(all_of_them, "a", "b")
    assert all_of_them.ready(("a",)) is made["a"]
    await warmed(all_of_them, "c")
    assert kept(all_of_them) == ["a", "c"]
    assert made["b"].is_closed


async def test_forks_are_made_ahead_when_it_is_there_and_after_each_launch(made: dict[str, FakeForks]) -> None:
    all_of_them = zygotes()
    await warmed(all_of_them, "a")
    assert made["a"].asked_ahead == 1
    await warmed(all_of_them, "a")
    assert made["a"].asked_ahead == 2


async def test_one_that_has_died_is_made_again_by_the_next_instance_that_is_ready(made: dict[str, FakeForks]) -> None:
    all_of_them = zygotes()
    await warmed(all_of_them, "a")
    first = made["a"]
    first.close()
    await warmed(all_of_them, "a")
    assert made["a"] is not first


async def test_one_with_children_makes_no_room_and_does_not_end_when_idle(made: dict[str, FakeForks]) -> None:
    all_of_them = zygotes(idle_s=0.0)
    await warmed(all_of_them, "a", "b")
    made["a"].living = made["b"].living = 1
    await warmed(all_of_them, "c")
    all_of_them.reap()
    assert kept(all_of_them) == ["a", "b"]
    made["a"].living = 0
    all_of_them.reap()
    assert kept(all_of_them) == ["b"]


async def test_one_that_died_is_made_again_and_one_that_was_refused_is_not(
    made: dict[str, FakeForks], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeForks, "refuse", frozenset({"threads"}))
    all_of_them = zygotes()
    await warmed(all_of_them, "a", "threads")
    assert all_of_them.refusal(("threads",)) == "its import started 1 thread"
    first = made["a"]
    first.close()
    assert all_of_them.ready(("a",)) is None
    all_of_them.reap()
    made.pop("threads")
    await warmed(all_of_them, "a", "threads")
    assert made["a"] is not first
    assert "threads" not in made


def test_groups_for_children_of_another_node_are_left_alone(tmp_path: Path) -> None:
    names = [f"stoke-spare-{owner}-aa" for owner in (os.getpid(), os.getppid(), 2**30)]
    for name in (*names, "stoke-spare-aa", "stoke-c-1"):
        (tmp_path / name).mkdir()
    Zygotes(Limits(), MemoryGroups(tmp_path, "limit", "swap", "events"), FakeForks).remove_spares()
    assert {path.name for path in tmp_path.iterdir()} == {names[1], "stoke-c-1"}


@pytest.mark.parametrize(
    ("target", "is_written", "reason"),
    [
        ("socket:[12]", True, "a connection"),
        ("pipe:[12]", False, "a pipe"),
        ("anon_inode:[eventpoll]", True, "an anon_inode:[eventpoll]"),
        ("/memfd:x (deleted)", True, "/memfd:x (deleted)"),
        ("/dev/nvidia0", True, "/dev/nvidia0"),
        ("/data/log", True, "/data/log for writing"),
        ("/data/model.onnx", False, ""),
        ("/dev/null", True, ""),
        ("/dev/urandom", False, ""),
    ],
)
def test_descriptors_that_all_forks_would_share_are_told_from_harmless_ones(
    target: str, is_written: bool, reason: str
) -> None:
    assert unsharable(target, is_written) == reason


def test_the_drivers_library_counts_as_the_gpu_and_the_mere_runtime_does_not() -> None:
    from runtime.instance.template import _CUDA

    here = "7f00-7f01 r-xp 00000000 08:01 1   /usr/lib/x86_64-linux-gnu/"
    assert _CUDA.search(f"{here}libc.so.6\n{here}libcuda.so.550.54\n")
    assert _CUDA.search("7f00-7f01 rw-s 00000000 00:05 1   /dev/nvidiactl\n")
    assert not _CUDA.search(f"{here}libcudart.so.12\n{here}libtorch_cuda.so\n")
