"""`stoke up` and `stoke down`: start the supervisor, in the foreground or detached, and stop it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from control_plane.options import parse
from runtime.processes import host_id, start_time

UP_TIMEOUT_S = 40.0
DOWN_TIMEOUT_S = 120.0

DataOption = Annotated[
    Path, typer.Option("--data", envvar="STOKE_DATA", metavar="DIR", help="Where Stoke keeps what it must not forget.")
]
DEFAULT_DATA = Path("~/.stoke")


def up(
    data: DataOption = DEFAULT_DATA,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the gateway listens; port 0 lets the system pick.")
    ] = "127.0.0.1:9000",
    store: Annotated[
        str, typer.Option(envvar="STOKE_STORE", metavar="URL", help="redis://… or unix://…; a private store without.")
    ] = "",
    public_url: Annotated[
        str, typer.Option(envvar="STOKE_PUBLIC_URL", metavar="URL", help="What trigger URLs begin with.")
    ] = "",
    simulated_gpu: Annotated[
        str, typer.Option(metavar="N:MEMORY_MIB", help="Pretend to have N cards; shown as simulated everywhere.")
    ] = "",
    tls_certificate: Annotated[
        str,
        typer.Option(
            envvar="STOKE_TLS_CERTIFICATE", metavar="FILE", help="Speak TLS, with this PEM certificate chain."
        ),
    ] = "",
    tls_key: Annotated[
        str, typer.Option(envvar="STOKE_TLS_KEY", metavar="FILE", help="The certificate's private key, PEM.")
    ] = "",
    gateways: Annotated[
        str, typer.Option(metavar="N", help="How many gateway processes share the port; more than cores is no use.")
    ] = "1",
    backend: Annotated[
        str,
        typer.Option(
            envvar="STOKE_BACKEND",
            metavar="auto|process|docker|kubernetes",
            help="custom-container functions run as containers: docker; not at all: process; where an engine is: auto; "
            "as Pods of a cluster: kubernetes.",
        ),
    ] = "auto",
    engine: Annotated[
        str, typer.Option(envvar="STOKE_ENGINE", metavar="unix://PATH", help="The container engine's socket.")
    ] = "",
    kubeconfig: Annotated[
        str, typer.Option(envvar="STOKE_KUBECONFIG", metavar="FILE", help="The cluster, by its current context.")
    ] = "",
    namespace: Annotated[
        str, typer.Option(envvar="STOKE_NAMESPACE", metavar="NAME", help="Where in the cluster Pods are made.")
    ] = "",
    kubernetes_settings: Annotated[
        str, typer.Option(envvar="STOKE_KUBERNETES_SETTINGS", metavar="FILE", help="YAML: GPUs, nodes, volumes.")
    ] = "",
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when Stoke serves, and leave it running.")
    ] = False,
) -> None:
    """Start Stoke on this machine: store, control plane, node and gateway. Prints the endpoint when it serves."""
    folder = data.expanduser().absolute()
    arguments = ["--data", str(folder), "--listen", listen, "--store", store]
    arguments += ["--public-url", public_url, "--simulated-gpu", simulated_gpu, "--gateways", gateways]
    arguments += ["--tls-certificate", tls_certificate, "--tls-key", tls_key, "--backend", backend, "--engine", engine]
    arguments += ["--kubeconfig", kubeconfig, "--namespace", namespace, "--kubernetes-settings", kubernetes_settings]
    parse(arguments)  # complains here, in the foreground, and exits with 2
    command = [sys.executable, "-m", "control_plane.supervisor", *arguments]
    if not detach:
        os.execv(command[0], command)  # noqa: S606 - no shell is wanted
    typer.echo(f"endpoint: {_start_detached(command, folder)}")


def _start_detached(command: list[str], data: Path) -> str:
    (data / "logs").mkdir(parents=True, exist_ok=True)
    log_path = data / "logs" / "supervisor.log"
    begin = log_path.stat().st_size if log_path.exists() else 0
    with log_path.open("ab") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    deadline_s = time.monotonic() + UP_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if child.poll() is not None:
            said = log_path.read_bytes()[begin:].decode(errors="replace").strip().splitlines()
            typer.echo(said[-1] if said else f"stoke up: exited with {child.returncode}", err=True)
            raise typer.Exit(1)
        found = _running(data)
        if found and found["pid"] == child.pid:
            return str(found["endpoint"])
        time.sleep(0.02)
    typer.echo(f"stoke up: does not serve after {UP_TIMEOUT_S:g} s; see {log_path}", err=True)
    raise typer.Exit(1)


def _running(data: Path) -> dict[str, Any] | None:
    """What `stoke.json` says, if the supervisor that wrote it lives: after a power cut its pid may be another's."""
    try:
        values = _state(data)
        began = start_time(int(values["pid"]))
    except (ValueError, TypeError, KeyError):
        return None
    is_it = (values.get("start_time", began), values.get("host", host_id())) == (began, host_id())
    return values if began and is_it else None


def _state(data: Path) -> dict[str, Any]:
    """`stoke.json`, {} where there is none that can be read."""
    try:
        values = json.loads((data / "stoke.json").read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _tls_of_before(data: Path) -> list[str]:
    """As options: an adopted gateway goes on speaking what it spoke."""
    values = _state(data)
    if "tls_certificate" not in values or "tls_key" not in values:
        return []
    return ["--tls-certificate", str(values["tls_certificate"]), "--tls-key", str(values["tls_key"])]


def _gateways_of_before(data: Path) -> str:
    return str(_state(data).get("gateways", 1))


def down(data: DataOption = DEFAULT_DATA) -> None:
    """Stop Stoke: requests inside finish, instances are stopped, then the parts."""
    folder = data.expanduser().absolute()
    found = _running(folder)
    if found is None:
        if not (folder / "run").exists():
            typer.echo(f"Stoke does not run on {folder}")
            return
        # A supervisor that was killed leaves its parts running: a new one adopts them, and then stops them.
        arguments = ["--data", str(folder), "--listen", "127.0.0.1:0", *_tls_of_before(folder)]
        # An engine that is asked for and away must not keep Stoke from ending.
        arguments += ["--gateways", _gateways_of_before(folder), "--backend", "auto"]
        _start_detached([sys.executable, "-m", "control_plane.supervisor", *arguments], folder)
        found = _running(folder)
        if found is None:
            return
    pid = int(str(found["pid"]))
    began = start_time(pid)
    os.kill(pid, signal.SIGTERM)
    deadline_s = time.monotonic() + DOWN_TIMEOUT_S
    while start_time(pid) == began and time.monotonic() < deadline_s:
        time.sleep(0.05)
    if start_time(pid) == began:
        typer.echo(f"stoke down: still running after {DOWN_TIMEOUT_S:g} s; see {folder / 'logs'}", err=True)
        raise typer.Exit(1)
    typer.echo("Stoke is down")
