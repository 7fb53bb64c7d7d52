"""`python -m runtime.node --data DIR --socket PATH --name NAME [--simulated-gpu N:MEMORY_MIB]`.

SIGTERM and SIGINT end the node and leave its instances running; the next node on the same data folder finds them.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from runtime.node import machine
from runtime.node.devices import find_devices
from runtime.node.instances import Instances
from runtime.node.kind_options import kind_arguments, kind_settings, number
from runtime.node.server import Server
from runtime.node.settings import NodeSettings
from runtime.node_contract import NodeInfo

log = logging.getLogger(__name__)

FORKS_AHEAD_MAX = 16
LABEL = r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?"


def main() -> int:
    logging.basicConfig(
        level=os.environ.get("STOKE_LOG_LEVEL", "INFO"), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    settings = settings_from(sys.argv[1:])
    try:
        with lock(settings):
            asyncio.run(serve(settings))
    except (OSError, ValueError) as error:
        log.error("node.failed error=%s", error)
        return 1
    return 0


def settings_from(arguments: list[str]) -> NodeSettings:
    """Arguments, then `STOKE_…` variables, then defaults."""
    parsed = make_parser().parse_args(arguments)
    count, memory_mib = parsed.simulated_gpu
    return NodeSettings(
        data=parsed.data.absolute(),
        socket=parsed.socket.absolute(),
        name=parsed.name,
        # Ahead of all else the folder of our own interpreter: `python` then finds what is installed beside Stoke.
        path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        simulated_gpus=count,
        simulated_gpu_memory_mib=memory_mib,
        memory_limits=parsed.memory_limits,
        **kind_settings(parsed),
        environment_installer=parsed.installer,
        labels=parsed.labels,
        gpu_sharing=parsed.gpu_sharing,
        forks_ahead=parsed.forks_ahead,
    )


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stoke node", description="Launch and watch the instances of one machine.")
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--socket", type=Path, required=True, help="where to listen")
    parser.add_argument("--name", default="local", help="this node's name (default: %(default)s)")
    parser.add_argument(
        "--simulated-gpu",
        type=simulated_gpu,
        default=os.environ.get("STOKE_SIMULATED_GPU", "0:0"),
        metavar="N:MEMORY_MIB",
        help="pretend to have N cards; their use is made up from CPU use, and marked as simulated",
    )
    parser.add_argument(
        "--memory-limits",
        choices=("auto", "watch"),
        default=os.environ.get("STOKE_MEMORY_LIMITS", "auto"),
        help="auto: by control groups where they can be made; watch: by looking twice a second (default: %(default)s)",
    )
    kind_arguments(parser)
    parser.add_argument(
        "--installer",
        choices=("auto", "uv", "pip"),
        default=os.environ.get("STOKE_INSTALLER", "auto"),
        help="what installs a function's requirements.txt; auto: uv where there is one (default: %(default)s)",
    )
    parser.add_argument(
        "--labels",
        type=labels,
        default=os.environ.get("STOKE_LABELS", ""),
        metavar="NAME=VALUE,…",
        help="what functions may ask of the node that they are placed on",
    )
    parser.add_argument(
        "--forks-ahead",
        type=number(0, FORKS_AHEAD_MAX),
        default=os.environ.get("STOKE_FORKS_AHEAD", "1"),
        metavar="N",
        help=f"of each function, processes that wait to be its next instance: 0 to {FORKS_AHEAD_MAX} (default: 1)",
    )
    parser.add_argument(
        "--gpu-sharing",
        choices=("auto", "time-slicing"),
        default=os.environ.get("STOKE_GPU_SHARING", "auto"),
        help="auto: by CUDA MPS where its daemon can be started; time-slicing: never by MPS (default: %(default)s)",
    )
    return parser


def simulated_gpu(text: str) -> tuple[int, int]:
    """Raises ValueError, which argparse turns into a message."""
    count, _, memory_mib = text.partition(":")
    if not (count.isdecimal() and memory_mib.isdecimal()) or (int(count) > 0) != (int(memory_mib) > 0):
        raise argparse.ArgumentTypeError(f"'{text}' must be N:MEMORY_MIB, such as 1:16384")
    return int(count), int(memory_mib)


def labels(text: str) -> dict[str, str]:
    """Raises ArgumentTypeError."""
    parts = [part.partition("=") for part in text.split(",") if part]
    for name, equals, value in parts:
        if not equals or not re.fullmatch(LABEL, name) or not re.fullmatch(LABEL, value):
            raise argparse.ArgumentTypeError(
                f"'{name}{equals}{value}' must be NAME=VALUE, each of up to 63 letters, digits, '-', '_', '.' and '/'"
            )
    return {name: value for name, _, value in parts}


def lock(settings: NodeSettings) -> IO[bytes]:
    """Held for as long as the file is open: two nodes on one data folder would both own its instances."""
    settings.instances.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = open(settings.instances / ".lock", "wb")  # noqa: SIM115 - the caller holds it
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise OSError(error.errno, "another node owns the instances of this data folder", str(settings.data)) from error
    return file


async def serve(settings: NodeSettings) -> None:
    stopping = asyncio.Event()
    for which in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(which, stopping.set)
    devices = find_devices(settings.simulated_gpus, settings.simulated_gpu_memory_mib, settings.data)
    instances = Instances(settings, devices)
    instances.adopt()
    server = Server(instances, node_info(settings), settings)
    listener = await server.listen(settings.socket)
    upkeep = [asyncio.create_task(instances.upkeep()), asyncio.create_task(instances.watch_devices())]
    log.info("node.serving socket=%s data=%s", settings.socket, settings.data)
    stopped = asyncio.ensure_future(stopping.wait())
    await asyncio.wait((stopped, *upkeep), return_when=asyncio.FIRST_COMPLETED)
    listener.close()
    await server.close()
    await instances.close()
    with suppress(FileNotFoundError):
        settings.socket.unlink()
    for task in upkeep:
        if task.done():
            task.result()  # it never ends by itself: what broke it ends the node, and its supervisor starts another
        task.cancel()
    log.info("node.stopped")


def node_info(settings: NodeSettings) -> NodeInfo:
    """But for the devices, which change."""
    return NodeInfo(
        node=settings.name,
        pid=os.getpid(),
        memory_mib=machine.memory_mib(),
        cpu=machine.cpu(),
        runtimes=["python", "custom"],
        disk_mib=machine.disk_mib(settings.data),
        labels=dict(settings.labels),
    )


if __name__ == "__main__":
    sys.exit(main())
