"""The zygote: a process that has imported what every Python function needs, and forks an instance in milliseconds.

`python -m runtime.node.zygote FD` speaks to its node over the socket FD, one JSON packet a message:

    → {"id", "instance_id", "environment", "cwd", "pid_file", "group",
       "no_new_privileges", "config"}               with two descriptors: log, ready pipe
    ← {"ready": true}                                   once, when everything is imported
    ← {"id", "pid", "start_ticks"}                      with one descriptor: the child's pidfd
    ← {"id", "error"}
    ← {"exited": pid, "status"}                         as subprocess has it: negative for a signal

    → {"join": group}                                   move into this memory group: the next child is born in it
    ← {"joined": group}                                 "" if it could not

    → {"ahead": group}                                  fork a child that waits for its order; of a function's zygote,
                                                        which sits in this group
    ← {"ahead": pid, "start_ticks", "group"}            with two descriptors: the child's pidfd, and the socket on which
                                                        it takes one order, as above; it ends when that is closed
    ← {"ahead": 0, "error"}

An order with `"template": true` has a socket in place of the ready pipe: the child imports the function of the order
and becomes a zygote too, with that socket (runtime/instance/template.py). There it says, in place of ready:

    ← {"refused": reason}                               what was imported cannot be forked; it ends

`python -m runtime.node.zygote FD own` has not imported what a function may bring itself; it carries out one such
order, the first, in itself. It ends when the node closes the socket; its children live on. Nothing here may start a
thread, open a session or touch a GPU before the fork: none of that can be forked.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from runtime.compiled import REQUESTS

PACKET_BYTES_MAX: Final = 160 * 1024  # below the kernel's default for one packet of a unix socket
# What the instance server and most functions import. The last ones are optional for a function, and dear to import.
PRELOADED: Final = (
    "asyncio",
    "uvloop",
    "uvicorn",
    "a2wsgi",
    "concurrent.futures.thread",
    "starlette.applications",
    "starlette.responses",
    "starlette.routing",
    "runtime.instance.birth",
    "runtime.instance.ahead",
    "runtime.instance.template",
    # Of what serves models only this: the rest needs packages that functions may bring themselves.
    "runtime.models.batching",
    "runtime.models.bound",
    "runtime.models.routes",
    "numpy",
    "onnxruntime",
)
BEFORE_FORKS: Final = {
    "OPENBLAS_NUM_THREADS": "1",  # its pool would start threads at import
    "ORT_DISABLE_TELEMETRY": "1",  # so would this, with a database that all forks would share
}
# A function that brings its own copy of one of these needs an interpreter in which ours was not imported.
REPLACEABLE: Final = ("numpy", "onnxruntime")
_WITHOUT_OWN: Final = tuple(n for n in PRELOADED if n not in REPLACEABLE and not n.startswith("runtime.models"))


def main() -> None:
    node = socket.socket(fileno=int(sys.argv[1]))
    is_for_own = "own" in sys.argv[2:]
    REQUESTS.use()
    preload(_WITHOUT_OWN if is_for_own else PRELOADED)
    zygote = Zygote(node)
    if is_for_own:
        zygote.carry_out_in_itself()
    zygote.say_ready()
    zygote.serve()
    os._exit(0)  # nothing here needs the usual way out, and libraries take their time on it


def preload(names: Sequence[str] = PRELOADED) -> None:
    os.environ.update(BEFORE_FORKS)
    for name in names:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a child would otherwise write to every page that it shares with the others


class Zygote:
    def __init__(self, node: socket.socket) -> None:
        self._node = node
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._config: dict[str, Any] = {}  # of the function that was imported, as instances are told it
        # Held here: once a function was imported, ours are not to be found by name any more.
        self._birth = importlib.import_module("runtime.instance.birth")
        self._ahead = importlib.import_module("runtime.instance.ahead")
        self._template = importlib.import_module("runtime.instance.template")

    def say_ready(self) -> None:
        self._say({"ready": True})

    def carry_out_in_itself(self) -> None:
        """Take the first order, a template's, and become it. Ends the process if that cannot be."""
        packet, descriptors, _, _ = socket.recv_fds(self._node, PACKET_BYTES_MAX, 2)
        if not packet:
            os._exit(0)
        log, *others = descriptors
        for descriptor in others:
            os.close(descriptor)
        self.become_template(json.loads(packet), log)

    def become_template(self, order: dict[str, Any], log: int) -> None:
        self._config = order["config"]
        if reason := self._template.prepare(order, log):
            self._say({"refused": reason})
            os.killpg(0, signal.SIGKILL)  # and what the import has started

    def serve(self) -> None:
        """Until the node is gone."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the node decides, not the terminal
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._node, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self._wake_read:
                    self._drain()
                elif not self._answer_one():
                    return
            self._reap()

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._wake_read, 512):
                pass

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self._say({"exited": ended[0], "status": os.waitstatus_to_exitcode(ended[1])})

    def _answer_one(self) -> bool:
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._node, PACKET_BYTES_MAX, 2)
        except ConnectionResetError:  # the node is gone, with news from here that it has not read
            return False
        if not packet:
            return False
        order = json.loads(packet)
        if "join" in order:
            self._join(order["join"])
            return True
        if "ahead" in order:
            self._fork_ahead(order["ahead"])
            return True
        try:
            self._fork(order, *descriptors)
        except OSError as error:
            self._say({"id": order["id"], "error": f"fork: {error}"})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _fork(self, order: dict[str, Any], log: int, ready: int) -> None:
        pid = os.fork()
        if pid == 0 and order.get("template"):
            self._become_zygote(order, log, ready)
        if pid == 0:
            self._become_instance(order, log, ready)
        self._tell_of(pid, {"id": order["id"], "pid": pid})

    def _fork_ahead(self, group: str) -> None:
        """A child that waits for its order, with all done that needs none."""
        orders, of_child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with orders, of_child:
            try:
                pid = os.fork()
            except OSError as error:
                self._say({"ahead": 0, "error": f"fork: {error}"})
                return
            if pid == 0:
                orders.close()  # else it would not hear that nobody has an order for it any more
                self._become_waiting(of_child)
            self._tell_of(pid, {"ahead": pid, "group": group}, orders.fileno())

    def _tell_of(self, pid: int, message: dict[str, Any], *more: int) -> None:
        pidfd = os.pidfd_open(pid)  # nobody else waits for the child, so the pid is its own
        stat = Path(f"/proc/{pid}/stat").read_text()
        start_ticks = int(stat[stat.rindex(")") + 2 :].split()[19])
        try:
            self._say({**message, "start_ticks": start_ticks}, [pidfd, *more])
        finally:
            os.close(pidfd)

    def _join(self, group: str) -> None:
        try:
            (Path(group) / "cgroup.procs").write_text("0")
        except OSError:
            group = ""
        self._say({"joined": group})

    def _become_zygote(self, order: dict[str, Any], log: int, node: int) -> None:
        try:
            self._leave()
            zygote = Zygote(socket.socket(fileno=node))
            os.set_inheritable(node, False)
            zygote.become_template(order, log)
            zygote.say_ready()
            zygote.serve()
        finally:
            os._exit(0)

    def _leave(self) -> None:
        """A child is nobody's zygote, and has a session of its own."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        self._node.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _become_instance(self, order: dict[str, Any], log: int, ready: int) -> None:
        self._live(lambda: self._birth.become_instance(order, log, ready))

    def _become_waiting(self, orders: socket.socket) -> None:
        self._live(lambda: self._ahead.wait(self._config, orders))

    def _live(self, life: Callable[[], int]) -> None:
        status = 1
        try:
            self._leave()
            status = life()
        except BaseException as error:  # a child must never return into the zygote's loop
            print(f"the instance could not be started: {error!r}", file=sys.stderr, flush=True)  # noqa: T201
        finally:
            os._exit(status)

    def _say(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the node is gone: serve() ends at its next turn
            socket.send_fds(self._node, [json.dumps(message).encode()], descriptors or [])


if __name__ == "__main__":
    main()
