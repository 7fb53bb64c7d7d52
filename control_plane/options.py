"""What `stoke up` was asked, checked before anything is started. Standard library only."""

from __future__ import annotations

import argparse
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_plane.credentials import has_key
from runtime import store

GATEWAYS_MAX: Final = 64
BACKENDS: Final = ("auto", "process", "docker", "kubernetes")
ENGINE: Final = "unix:///var/run/docker.sock"
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Options:
    """What `stoke up` was asked. `store` is "" for a private one."""

    data: Path
    host: str
    port: int
    store: str = ""
    public_url: str = ""
    simulated_gpu: str = ""  # N:MEMORY_MIB
    gateways: int = 1
    tls_certificate: str = ""  # paths; both or none
    tls_key: str = ""
    backend: str = "auto"  # one of BACKENDS
    engine: str = ""  # unix://PATH; "" = as the node finds it
    kubeconfig: str = ""  # these three are for the backend kubernetes
    namespace: str = ""
    kubernetes_settings: str = ""

    def cluster_arguments(self) -> list[str]:
        """For whoever speaks to the cluster; none for other backends."""
        if self.backend != "kubernetes":
            return []
        given = {
            "--kubeconfig": self.kubeconfig,
            "--namespace": self.namespace,
            "--kubernetes-settings": self.kubernetes_settings,
        }
        return ["--backend", self.backend, *(part for name, value in given.items() if value for part in (name, value))]


def will_have_key(data: Path, environment: Mapping[str, str]) -> bool:
    """Whether this machine will have an access key of its own: from the environment, or in the file that is there."""
    given = environment.get("STOKE_ACCESS_KEY_ID") and environment.get("STOKE_ACCESS_KEY_SECRET")
    return bool(given) or has_key(data / "credentials.json")


def parse(arguments: list[str]) -> Options:
    """Raises SystemExit(2) with a message that names the argument, its value and what is allowed."""
    parser = _parser()
    given = parser.parse_args(arguments)
    host, _, port = given.listen.rpartition(":")
    host = host.strip("[]")
    data = given.data.expanduser().absolute()
    certificate, key, kubeconfig, settings = map(
        _absolute, (given.tls_certificate, given.tls_key, given.kubeconfig, given.kubernetes_settings)
    )
    problem = (
        _wrong_with_listen(given.listen, host, port)
        or _wrong_with_store(given.store)
        or _wrong_with_keys(given.listen, host, data)
        or _wrong_with_numbers(given.simulated_gpu, given.gateways)
        or _wrong_with_tls(certificate, key)
        or _wrong_with_backend(given.backend, given.engine)
        or _wrong_with_cluster(given.backend, given.namespace, kubeconfig, settings)
        or _wrong_with_files(os.environ)
    )
    if problem:
        parser.error(problem)
    return Options(
        data, host, int(port), given.store, given.public_url, given.simulated_gpu, int(given.gateways), certificate,
        key, given.backend, given.engine, kubeconfig, given.namespace, settings,
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stoke up", description="Start Stoke on this machine and keep it running.")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("STOKE_DATA", "~/.stoke")), metavar="DIR")
    parser.add_argument("--listen", default="127.0.0.1:9000", metavar="HOST:PORT")
    parser.add_argument("--store", default=os.environ.get("STOKE_STORE", ""), metavar="URL")
    parser.add_argument("--public-url", default=os.environ.get("STOKE_PUBLIC_URL", ""), metavar="URL")
    parser.add_argument("--simulated-gpu", default="", metavar="N:MEMORY_MIB")
    parser.add_argument("--tls-certificate", default=os.environ.get("STOKE_TLS_CERTIFICATE", ""), metavar="FILE")
    parser.add_argument("--tls-key", default=os.environ.get("STOKE_TLS_KEY", ""), metavar="FILE")
    parser.add_argument("--gateways", default="1", metavar="N")
    parser.add_argument("--backend", default=os.environ.get("STOKE_BACKEND", "auto"), metavar="|".join(BACKENDS))
    parser.add_argument("--engine", default=os.environ.get("STOKE_ENGINE", ""), metavar="unix://PATH")
    parser.add_argument("--kubeconfig", default=os.environ.get("STOKE_KUBECONFIG", ""), metavar="FILE")
    parser.add_argument("--namespace", default=os.environ.get("STOKE_NAMESPACE", ""), metavar="NAME")
    parser.add_argument(
        "--kubernetes-settings", default=os.environ.get("STOKE_KUBERNETES_SETTINGS", ""), metavar="FILE"
    )
    return parser


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute()) if path else ""


# Each of the next gives what is wrong with some of them, "" if nothing is.


def _wrong_with_listen(listen: str, host: str, port: str) -> str:
    if host and port.isdigit() and 0 <= int(port) <= 65_535:
        return ""
    return f"--listen is {listen!r}; allowed is HOST:PORT with a port from 0 to 65535"


def _wrong_with_store(url: str) -> str:
    if url and not url.startswith(("redis://", "rediss://", "unix://")):
        return f"--store is {url!r}; allowed are redis://…, rediss://… and unix://…"
    if not url and store.find_server() is None:
        return "no valkey-server or redis-server was found, and no --store URL was given"
    return ""


def _wrong_with_keys(listen: str, host: str, data: Path) -> str:
    """Whoever can be reached from elsewhere has to have an access key."""
    if host in LOOPBACK or not (data / "credentials.json").exists() or will_have_key(data, os.environ):
        return ""
    return (
        f"--listen is {listen!r}, and {data / 'credentials.json'} holds no access key: without one only "
        f"{', '.join(LOOPBACK)} are allowed. Take the file away to have a key made, or set both "
        "STOKE_ACCESS_KEY_ID and STOKE_ACCESS_KEY_SECRET"
    )


def _wrong_with_numbers(simulated_gpu: str, gateways: str) -> str:
    if simulated_gpu and not re.fullmatch(r"[1-9]\d*:[1-9]\d*", simulated_gpu):
        return f"--simulated-gpu is {simulated_gpu!r}; allowed is N:MEMORY_MIB, as in 2:16384"
    if not gateways.isdecimal() or not 1 <= int(gateways) <= GATEWAYS_MAX:
        return f"--gateways is {gateways!r}; allowed is a number from 1 to {GATEWAYS_MAX}"
    return ""


def _wrong_with_backend(backend: str, engine: str) -> str:
    """For `docker`, an engine has to answer now."""
    if backend not in BACKENDS:
        return f"--backend is {backend!r}; allowed are {', '.join(BACKENDS)}"
    if engine and not engine.startswith("unix:///"):
        return f"--engine is {engine!r}; allowed is unix:// and an absolute path, as in {ENGINE}"
    if backend != "docker":
        return ""
    docker_host = os.environ.get("DOCKER_HOST", "")
    path = (engine or (docker_host if docker_host.startswith("unix://") else ENGINE)).removeprefix("unix://")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5.0)
        try:
            probe.connect(path)
            probe.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
            answer = probe.recv(64)
        except OSError as error:
            return f"--backend is 'docker', and no container engine answers at {path}: {error}"
    return "" if b" 200 " in answer else f"--backend is 'docker', and what answers at {path} is no container engine"


def _wrong_with_cluster(backend: str, namespace: str, kubeconfig: str, settings: str) -> str:
    given = {"--kubeconfig": kubeconfig, "--namespace": namespace, "--kubernetes-settings": settings}
    if backend != "kubernetes":
        return next((f"{n} is {v!r}; allowed is it with --backend kubernetes alone" for n, v in given.items() if v), "")
    for name in ("--kubeconfig", "--kubernetes-settings"):
        if given[name] and not Path(given[name]).is_file():
            return f"{name} is {given[name]!r}; allowed is a file that is there"
    if namespace and not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", namespace):
        return f"--namespace is {namespace!r}; allowed are up to 63 small letters, digits and hyphens"
    return ""


def _wrong_with_tls(certificate: str, key: str) -> str:
    if not certificate and not key:
        return ""
    if not certificate or not key:
        missing = "--tls-key" if certificate else "--tls-certificate"
        return f"{missing} is missing; allowed are --tls-certificate and --tls-key together"
    from runtime.http.tls import Certificate  # brings the ssl module along, which most do without

    try:
        Certificate(Path(certificate), Path(key))
    except ValueError as error:
        return str(error)
    return ""


def _wrong_with_files(environment: Mapping[str, str]) -> str:
    """Of those that the control plane reads at its start, which would end with each of them, again and again."""
    prices, access = environment.get("STOKE_PRICES"), environment.get("STOKE_PROMETHEUS_ACCESS")
    try:
        if prices:
            from control_plane.metering.prices import read_prices  # brings pydantic along, which others do without

            read_prices(Path(prices))
        if access:
            from control_plane.prometheus_access import read_access

            read_access(Path(access))
    except ValueError as error:
        return str(error)
    return ""
