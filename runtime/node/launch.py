"""From a LaunchSpec to a running process: what may be launched at all, with what, and the two ways to start it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runtime import short_folder
from runtime.contract import MODEL_HANDLER
from runtime.node import output, process, processes
from runtime.node.environment import instance_environment
from runtime.node.errors import LaunchRefused
from runtime.node.gpu_share import GpuShare, gpu_environment
from runtime.node.process import Process
from runtime.node.processes import Member
from runtime.node.zygote import BEFORE_FORKS, REPLACEABLE
from runtime.node.zygotes import FunctionForks, Key, Template, Zygotes
from runtime.node_contract import LaunchSpec

PID_FILE: Final = "pid"
# Variables that differ from one instance of a function version to the next.
OF_ONE_INSTANCE: Final = ("FC_INSTANCE_ID", "FC_SERVER_PORT", "HOME", "TMPDIR")
OF_ONE_DEVICE: Final = ("CUDA_VISIBLE_DEVICES", "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT")
INSTANCE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
MODELS: Final[Key] = ("", "", "models")  # the zygote of all functions that are models
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PYTHON: Final = re.compile(r"python3(\.\d{1,2})?")
HANDLER: Final = re.compile(r"[A-Za-z_]\w*([./][A-Za-z_]\w*)*\.[A-Za-z_]\w*")
_LOG_END_BYTES: Final = 4096

# The shell writes its pid and joins the memory group before it becomes the user's program, so that not a byte of the
# program escapes the limit, and a node that died in between finds the process again.
_START: Final = 'echo $$ >"$1" && { [ -z "$2" ] || echo 0 >"$2/cgroup.procs"; } && shift 2 && exec "$@"'


@dataclass(frozen=True, slots=True)
class Place:
    """Where an instance lives: folders, port or socket, memory group."""

    folder: Path
    code: Path  # the code, or the instance's own folder when it has none
    address: str
    path: str  # the value of PATH
    port: int = 0  # custom runtimes only
    group: str = ""  # "" = no control group
    shut_in: tuple[str, ...] = ()  # what comes before a command (isolation.py)
    no_new_privileges: bool = True
    site: str = ""  # where the packages of the function's environment lie; "" = it has none
    share: GpuShare | None = None  # of a device

    @property
    def home(self) -> Path:
        return self.folder / "tmp"


def noted_process(place: Place) -> Member | None:
    """The process that noted its pid in the place before the node could, if it lives.

    It is this instance's if it prints into its output: the pid alone could be anybody's by now.
    """
    try:
        pid = int((place.folder / PID_FILE).read_text())
        prints_into = os.readlink(f"/proc/{pid}/fd/1")
    except (OSError, ValueError):
        return None
    stat = processes.read_stat(pid)
    if stat is None or prints_into != str((place.folder / output.NAME).resolve()):
        return None
    return pid, stat.start_ticks


def is_code(spec: LaunchSpec) -> bool:
    """A Python handler, rather than a model or a server."""
    return is_python(spec.runtime) and not MODEL_HANDLER.fullmatch(spec.handler)


def is_python(runtime: str) -> bool:
    return _PYTHON.fullmatch(runtime) is not None


def _is_model(spec: LaunchSpec) -> bool:
    return is_python(spec.runtime) and MODEL_HANDLER.fullmatch(spec.handler) is not None


def check_runtime(runtime: str) -> None:
    """Raises LaunchRefused for a runtime that no process of this node can be, whatever the function."""
    if runtime != "custom" and not is_python(runtime):
        raise LaunchRefused(f"runtime '{runtime}' is not known here; allowed: python3, python3.<minor>, custom")


def check(spec: LaunchSpec, code_root: Path) -> None:
    """Raises LaunchRefused when this node can never run `spec` as it is; names the field."""
    check_limits(spec)
    check_runtime(spec.runtime)
    if spec.code_sha256 and not _SHA256.fullmatch(spec.code_sha256):
        raise LaunchRefused(f"code_sha256 '{spec.code_sha256}' must be 64 hex digits")
    if spec.code_sha256 and not (code_root / spec.code_sha256).is_dir():
        raise LaunchRefused(f"code {spec.code_sha256} is not unpacked on this node")
    if is_python(spec.runtime):
        _check_python(spec)
    elif not spec.command:
        raise LaunchRefused("runtime 'custom' needs a command, and there is none")


def check_limits(spec: LaunchSpec) -> None:
    """What holds for processes and containers alike. Raises LaunchRefused."""
    if not INSTANCE_ID.fullmatch(spec.instance_id):
        raise LaunchRefused(f"instance_id '{spec.instance_id}' must match {INSTANCE_ID.pattern}")
    if spec.memory_mib <= 0:
        raise LaunchRefused(f"memory_mib {spec.memory_mib} must be at least 1")


def _check_python(spec: LaunchSpec) -> None:
    if not HANDLER.fullmatch(spec.handler) and not MODEL_HANDLER.fullmatch(spec.handler):
        raise LaunchRefused(
            f"handler '{spec.handler}' of runtime '{spec.runtime}' must be 'module.attribute', such as 'app.handler', "
            "or a model: 'model.onnx', or its folder, 'digits/'"
        )
    if not spec.code_sha256:
        raise LaunchRefused(f"runtime '{spec.runtime}' needs code, and the function has none")


def socket_path(folder: Path, data: Path) -> Path:
    """Where the built-in server of an instance listens: in its folder, or where the path is short enough."""
    path = folder / "instance.sock"
    return path if short_folder.fits(path) else short_folder.make(data) / f"{folder.name}.sock"


def environment(spec: LaunchSpec, place: Place) -> dict[str, str]:
    port = place.port or spec.ca_port
    gpu = None if place.share is None else gpu_environment(place.share)
    return instance_environment(spec, port=port, code=place.code, home=place.home, path=place.path, gpu=gpu)


def start_command(spec: LaunchSpec) -> Sequence[str]:
    """What a user reads as the start command of an instance that failed."""
    if is_python(spec.runtime):
        return [spec.runtime, spec.handler]
    return [spec.image, *spec.command, *spec.args] if spec.image else spec.command


def log_end(place: Place) -> bytes:
    """The end of what it printed, for a message."""
    return output.tail(place.folder, _LOG_END_BYTES)


async def start_python(spec: LaunchSpec, place: Place, zygotes: Zygotes, log: int, ready: int) -> tuple[Process, str]:
    """A built-in server: forked from the function's zygote if there is one, else from the plain one, or in a fresh
    interpreter if the function brings its own big libraries. Gives the process and the memory group that it is in.

    The descriptors stay the caller's. Raises ForkError, OSError.
    """
    order = _order(spec, place)
    if spec.import_before_fork:
        key = _key(spec, place)
        if (forks := zygotes.ready(key)) is not None:
            return await _forked(forks, order, spec.memory_mib, log, ready)
        if refusal := zygotes.refusal(key):
            os.write(log, f"stoke: each instance imports this function anew: {refusal}\n".encode())
    if _brings_own(place):
        return process.child(_fresh_interpreter(order, place.path, log, ready)), place.group
    return await zygotes.plain.fork(order, log, ready), place.group


async def _forked(
    forks: FunctionForks, order: dict[str, Any], memory_mib: int, log: int, ready: int
) -> tuple[Process, str]:
    """One that waits for its order, or a new one. Born in a memory group if one is at hand, else it moves into the one
    of the order."""
    if (taken := await forks.give(order, memory_mib, log, ready)) is not None:
        return taken
    group: str = order["group"]
    spare = forks.take_spare(memory_mib) if group else ""
    child = await forks.fork({**order, "group": ""} if spare else order, log, ready)
    if group:
        await forks.seek_spare()
    return child, spare or group


def template(spec: LaunchSpec, place: Place) -> Template | None:
    """What the function's zygote would be made of; None if it may have none."""
    if _is_model(spec) and not _brings_own(place):
        return _template_of_models(spec, place)
    module = spec.handler.replace("/", ".").rpartition(".")[0].replace(".", "/")
    has_module = (place.code / f"{module}.py").is_file() or (place.code / module / "__init__.py").is_file()
    if not (spec.import_before_fork and is_code(spec) and has_module):
        return None
    order = _order(spec, place)
    # Nobody's own: who reads one of these at import gets no zygote.
    order["of_one_instance"] = [*OF_ONE_INSTANCE, *(OF_ONE_DEVICE if spec.gpu_memory_mib else ())]
    nobodys = {"FC_INSTANCE_ID": "", "HOME": "/nonexistent", "TMPDIR": "/nonexistent"}
    order["environment"] = {**BEFORE_FORKS, **order["environment"], **nobodys}
    return Template(_key(spec, place), order, _brings_own(place), spec.memory_mib)


def _template_of_models(spec: LaunchSpec, place: Place) -> Template:
    """The one that all models have: it has imported our server, and knows of no function."""
    order = {**_order(spec, place), "of_one_instance": [], "cwd": "/", "environment": dict(BEFORE_FORKS)}
    return Template(MODELS, order, brings_own=False, memory_mib=spec.memory_mib)


def _order(spec: LaunchSpec, place: Place) -> dict[str, Any]:
    return {
        "instance_id": spec.instance_id,
        "environment": environment(spec, place),
        "cwd": str(place.code),
        "pid_file": str(place.folder / PID_FILE),
        "group": place.group,
        "no_new_privileges": place.no_new_privileges,
        "config": instance_config(spec, place),
    }


def _key(spec: LaunchSpec, place: Place) -> Key:
    if _is_model(spec) and not _brings_own(place):
        return MODELS
    return (spec.service, spec.version, spec.function, spec.revision, spec.handler, spec.code_sha256, place.site)


def _brings_own(place: Place) -> bool:
    return any(brings_own_libraries(Path(folder)) for folder in (place.code, place.site) if folder)


def instance_config(spec: LaunchSpec, place: Place) -> dict[str, Any]:
    """What `runtime.instance` is told; its `InstanceConfig` has the same names."""
    return {
        "handler": spec.handler,
        "initializer": spec.initializer,
        "pre_stop": spec.pre_stop,
        "code": str(place.code),
        "site": place.site,
        "socket": place.address.removeprefix("unix:"),
        "instance_concurrency": spec.instance_concurrency,
        "idle_mode": spec.idle_mode,
    }


def brings_own_libraries(code: Path) -> bool:
    return any((code / name).is_dir() or (code / f"{name}.py").is_file() for name in REPLACEABLE)


def _fresh_interpreter(order: dict[str, Any], path: str, log: int, ready: int) -> subprocess.Popen[bytes]:
    popen = subprocess.Popen(
        [sys.executable, "-P", "-m", "runtime.instance", str(log), str(ready)],
        stdin=subprocess.PIPE,
        pass_fds=[log, ready],
        env={"PATH": path, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        start_new_session=True,
    )
    assert popen.stdin is not None
    with (
        suppress(BrokenPipeError),
        popen.stdin as stdin,
    ):  # not as an argument, which every user of the machine could read
        stdin.write(json.dumps(order).encode())
    return popen


def start_command_line(spec: LaunchSpec, place: Place, log: int) -> Process:
    """The user's own program, leader of a session of its own. Raises FileNotFoundError, PermissionError, OSError."""
    values = environment(spec, place)
    program = find_program(spec.command[0], place.code, values["PATH"])
    arguments = ["/bin/sh", "-c", _START, "sh", str(place.folder / PID_FILE), place.group]
    popen = subprocess.Popen(
        [*arguments, *place.shut_in, program, *spec.command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=values,
        cwd=place.code,
        start_new_session=True,
        umask=0o022,
    )
    return process.child(popen)


def find_program(name: str, code: Path, path: str) -> str:
    """An absolute path stays; else the program is looked for in the code, then (a bare name) in PATH.

    Raises:
        FileNotFoundError, PermissionError: with a message for users.
    """
    in_code = code / name  # an absolute `name` replaces `code`
    if in_code.is_file():
        if not os.access(in_code, os.X_OK):
            raise PermissionError(f"command[0] '{name}' is not executable (chmod +x before it is packed)")
        return str(in_code)
    found = None if "/" in name else shutil.which(name, path=path)
    if found is None:
        raise FileNotFoundError(f"command[0] '{name}' is neither in the code nor in PATH")
    return found
