"""Makes a zygote of one function: imports the handler's module, so that each fork has it already.

What an import leaves behind is not always fit to be forked. A thread, a connection, a child process and a GPU that was
touched are not, and what was read of one instance's own variables would be all instances'. Then the reason is given,
and instances of this function are forked from a process that has not imported it.
"""

from __future__ import annotations

import gc
import importlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from runtime.contract import MODEL_HANDLER
from runtime.instance import birth, isolation
from runtime.instance.config import InstanceConfig
from runtime.instance.handler import HandlerError, is_name, load
from runtime.words import counted

# The driver's own library and devices: the runtime's libraries (libcudart, libcublas) are mere code until it is loaded.
_CUDA: Final = re.compile(r"(/libcuda\.so[.\d]*|/dev/nvidia\S*)$", re.MULTILINE)
_HARMLESS_DEVICES: Final = ("/dev/null", "/dev/urandom", "/dev/random", "/dev/zero")


def prepare(order: dict[str, Any], log: int) -> str:
    """Become the template of `order` (runtime/node/zygote.py has its fields); why not, "" when it has. `log` is taken
    over. Whoever is told why not must end: what was imported is in this process."""
    birth.settle(order, log)
    config = InstanceConfig.from_dict(order["config"])
    before = {target for _, target in _descriptors()}
    read: set[str] = set()
    try:
        with _noting(order["of_one_instance"], read):
            _import(config)
    except BaseException as error:  # the function's own, and SystemExit too: the instance says it in its own words
        return f"its import raised {type(error).__name__}: {error}"
    reason = unfit(before, read)
    gc.collect()
    gc.freeze()  # a collection in a child would otherwise write to every page that it shares with the others
    return reason


def _import(config: InstanceConfig) -> None:
    """What instances of `config` would import. Of a model it is our own server alone: it may be one of any model."""
    if MODEL_HANDLER.fullmatch(config.handler):
        importlib.import_module("runtime.instance.models")
        return
    isolation.enter(config.code, os.environ.get("PYTHONPATH", ""), config.site)
    load(Path(config.code), config.handler, "handler")
    for field, name in (("initializer", config.initializer), ("preStop", config.pre_stop)):
        if is_name(name):
            with suppress(HandlerError):  # it may name nothing, if the handler is an app
                load(Path(config.code), name, field)


def unfit(before: set[str], read: set[str]) -> str:
    """Why this process cannot be forked after an import; "" when it can."""
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        return f"its import started {counted(threads - 1, 'thread')}"
    if any(Path(f"/proc/self/task/{task}/children").read_text() for task in os.listdir("/proc/self/task")):
        return "its import started a process"
    if found := _CUDA.search(Path("/proc/self/maps").read_text()):
        return f"its import touched the GPU ({found[1].rpartition('/')[2]} is loaded)"
    for number, target in _descriptors():
        if target not in before and (kind := unsharable(target, _is_written(number))):
            return f"its import opened {kind}"
    if read:
        return f"its import read {', '.join(sorted(read))}, which each instance has of its own"
    return ""


def unsharable(target: str, is_written: bool) -> str:
    """What is wrong with all forks having this descriptor; "" for nothing. `target` is what /proc/self/fd says."""
    if target.startswith("socket:"):
        return "a connection"
    if not target.startswith("/"):
        return f"a {target.partition(':')[0]}" if target.startswith("pipe:") else f"an {target}"
    if target.startswith(("/dev/", "/memfd:")) and target not in _HARMLESS_DEVICES:
        return target
    return f"{target} for writing" if is_written and target not in _HARMLESS_DEVICES else ""


def _descriptors() -> Iterator[tuple[str, str]]:
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one that this very list was read by
            target = os.readlink(f"/proc/self/fd/{number}")
            if not target.startswith("/proc/"):
                yield number, target


def _is_written(number: str) -> bool:
    found = re.search(r"^flags:\s*(\d+)", Path(f"/proc/self/fdinfo/{number}").read_text(), re.MULTILINE)
    return found is not None and int(found[1], 8) & os.O_ACCMODE != os.O_RDONLY


class _NotingEnviron(os._Environ):  # type: ignore[type-arg]
    """`os.environ` while it is looked at who reads what."""

    watched: Sequence[str] = ()
    read: set[str] = set()  # noqa: RUF012 - one process has one environment

    def __getitem__(self, key: Any) -> Any:
        if key in self.watched:
            self.read.add(key)
        return super().__getitem__(key)


@contextmanager
def _noting(watched: Sequence[str], read: set[str]) -> Iterator[None]:
    plain = os.environ.__class__
    _NotingEnviron.watched, _NotingEnviron.read = watched, read
    os.environ.__class__ = _NotingEnviron  # the one object that everybody has a reference to
    try:
        yield
    finally:
        os.environ.__class__ = plain
