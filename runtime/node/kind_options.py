"""The node's options about what instances run as: arguments, then `STOKE_…` variables, then defaults."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from runtime.mounts import Allowed, SourceError, read_allowed
from runtime.node.docker.asked import LOOSENED

_ENGINE: Final = "/var/run/docker.sock"


def kind_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to the node's parser."""
    add = parser.add_argument
    get = os.environ.get
    add(
        "--backend",
        type=one_of("auto", "process", "docker"),
        metavar="auto|process|docker",
        default=get("STOKE_BACKEND", "auto"),
        help="process: no containers; auto, docker: functions with an image run as containers (default: %(default)s)",
    )
    docker_host = get("DOCKER_HOST", "")  # which may name an engine far away: its containers cannot be watched here
    engine = get("STOKE_ENGINE") or (docker_host if docker_host.startswith("unix://") else f"unix://{_ENGINE}")
    add("--engine", type=engine_socket, default=engine, metavar="unix://PATH", help="the container engine's socket")
    add(
        "--image-pull",
        type=one_of("missing", "always", "never"),
        metavar="missing|always|never",
        default=get("STOKE_IMAGE_PULL", "missing"),
        help="when an image is pulled (default: %(default)s)",
    )
    add(
        "--sandbox",
        type=one_of("auto", "none", "bubblewrap"),
        metavar="auto|none|bubblewrap",
        default=get("STOKE_SANDBOX", "auto"),
        help="what shuts processes in (default: %(default)s)",
    )
    add("--registry-credentials", default=get("STOKE_REGISTRY_CREDENTIALS", ""), metavar="FILE")
    add("--container-loosened", type=loosened, default=get("STOKE_CONTAINER_LOOSENED", ""), metavar="NAME,…")
    add("--container-pids-max", type=number(1, 4_194_304), default=get("STOKE_CONTAINER_PIDS_MAX", "4096"))
    add(
        "--container-gpus",
        type=one_of("nvidia", "cdi"),
        metavar="nvidia|cdi",
        default=get("STOKE_CONTAINER_GPUS", "nvidia"),
        help="how the engine is asked for cards (default: %(default)s)",
    )
    add("--container-network", default=get("STOKE_CONTAINER_NETWORK", "bridge"), metavar="NAME")
    add("--container-user", default=get("STOKE_CONTAINER_USER", ""), metavar="UID[:GID]")
    add(
        "--allowed-mounts",
        type=allowed_mounts,
        default=get("STOKE_ALLOWED_MOUNTS", ""),
        metavar="SOURCE,…",
        help="what functions may have mounted: hostpath:///srv/models, nas.local:/data, and =rw behind what they may "
        "write (default: nothing)",
    )
    add("--container-tmp-mib", type=number(1, 1_048_576), default=get("STOKE_CONTAINER_TMP_MIB", "512"))


def kind_settings(parsed: argparse.Namespace) -> dict[str, Any]:
    """As fields of NodeSettings."""
    names = (
        "sandbox",
        "backend",
        "engine",
        "image_pull",
        "container_loosened",
        "container_pids_max",
        "container_network",
        "allowed_mounts",
    )
    values = {name: getattr(parsed, name) for name in (*names, "container_user", "container_tmp_mib", "container_gpus")}
    credentials = parsed.registry_credentials
    return {**values, "registry_credentials": Path(credentials).expanduser().absolute() if credentials else None}


def engine_socket(text: str) -> Path:
    """Raises ArgumentTypeError for what is no unix socket."""
    kind, _, path = text.partition("://")
    if kind != "unix" or not path.startswith("/"):
        raise argparse.ArgumentTypeError(f"'{text}' must be unix:// and an absolute path, such as unix://{_ENGINE}")
    return Path(path)


def one_of(*names: str) -> Callable[[str], str]:
    """A reader of names, which looks at what variables say as well."""

    def read(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"'{text}' is not known; allowed: {', '.join(names)}")
        return text

    return read


def loosened(text: str) -> tuple[str, ...]:
    """Raises ArgumentTypeError for a name that is not known."""
    names = tuple(filter(None, (name.strip() for name in text.split(","))))
    for name in names:
        if name not in LOOSENED:
            raise argparse.ArgumentTypeError(f"'{name}' is not known; allowed: {', '.join(LOOSENED)}")
    return names


def allowed_mounts(text: str) -> tuple[Allowed, ...]:
    """Raises ArgumentTypeError for what names nothing that can be mounted."""
    try:
        return read_allowed(text)
    except SourceError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def number(least: int, most: int) -> Callable[[str], int]:
    """A reader of whole numbers in a range."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"'{text}' must be a whole number from {least} to {most}")
        return int(text)

    return read
