"""What a process does first when it becomes an instance, forked or fresh; then it serves."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import types
from pathlib import Path
from typing import Any, Final

from runtime.instance import serve
from runtime.instance.stage import Prepared

_PR_SET_NO_NEW_PRIVS: Final = 38  # linux/prctl.h
_NOBODY: Final = "__stoke_instance__"


def become_instance(order: dict[str, Any], log: int, ready: int, prepared: Prepared | None = None) -> int:
    """Live as the instance of `order` (runtime/node/zygote.py has its fields) in a session of its own already.

    Returns the exit status, for os._exit. `log` and `ready` are taken over. `prepared` is what it has ahead of it.
    """
    # 1. Its pid on disk and its memory limit in force before anything of the function runs.
    Path(order["pid_file"]).write_text(str(os.getpid()))
    if order["group"]:
        (Path(order["group"]) / "cgroup.procs").write_text("0")
    if order["no_new_privileges"]:
        _give_up_new_privileges()
    # 2. Its own output, folder and environment.
    settle(order, log)
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()  # else all forks would draw the same numbers
    gc.enable()
    return serve.main(order["config"], ready, prepared or Prepared())


def settle(order: dict[str, Any], log: int) -> None:
    """An output, a folder and an environment, and an interpreter that shows nothing of whom it came from."""
    _redirect(log)
    os.umask(0o022)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.dont_write_bytecode = True
    sys.argv = ["stoke-instance"]
    if not hasattr(sys.modules["__main__"], _NOBODY):  # a function's subprocesses must not run the zygote again
        sys.modules["__main__"] = types.ModuleType("__main__")
        setattr(sys.modules["__main__"], _NOBODY, True)


def _give_up_new_privileges() -> None:
    """From here on no program that it runs gains a right by a set-user-id bit or a capability of its file."""
    if ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        print("stoke: this kernel has no no-new-privileges", file=sys.stderr, flush=True)  # noqa: T201


def _redirect(log: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
