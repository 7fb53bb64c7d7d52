"""The gateway's settings: one frozen object, made once in `main.py` from arguments and `STOKE_…` variables.

A plain dataclass: the checks are few, and a settings library would take a quarter of this process's memory.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from runtime.gateway.outliers import OutlierLimits
from runtime.http.server import ServerLimits

_ENVIRONMENT_PREFIX: Final = "STOKE_"
_STORE_SCHEMES: Final = ("redis://", "rediss://", "unix://")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
LEASE_S_MIN: Final = 3.0
_MIB: Final = 1 << 20


def _number(default: float, least: float, most: float, about: str) -> Any:
    return field(default=default, metadata={"least": least, "most": most, "help": about})


def _text(about: str) -> Any:
    return field(default="", metadata={"help": about})


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    listen: str = _text("HOST:PORT to serve at; port 0 takes a free one and says which")
    listen_fd: int = _number(-1, -1, 1 << 20, "a listening socket inherited from the parent, instead of --listen")
    store: str = _text("redis://… or unix://PATH")
    control_plane: str = _text("unix:PATH or tcp:HOST:PORT of the control plane")
    data: str = _text("the data folder, for credentials.json and secret.key")
    id: str = _text("the gateway's name in its reports; by default made of the process id")

    # Several gateways at one port share the instances' slots: each uses those that it was granted.
    gateways: int = _number(1, 1, 64, "how many gateways serve this port, this one among them")
    number: int = _number(1, 1, 64, "which of them this one is")
    lease_s: float = _number(0.0, 0.0, 3600.0, "of a gateway whose process the control plane cannot see; 0: it can")
    # By default longer than Kubernetes takes to start a store's Pod on another node when its own is lost.
    lease_away_s: float = _number(
        600.0, 0.0, 86_400.0, "that it may go on by the control plane's word, without a store"
    )
    sockets: str = _text("a folder where they find each other, for the metrics of all")

    # A body is streamed, so these bound what a client may ask for, not what is held.
    invocation_body_bytes_max: int = _number(32 * _MIB, 0, 1 << 40, "of an InvokeFunction; FC's limit is 32 MiB")
    trigger_body_bytes_max: int = _number(1024 * _MIB, 0, 1 << 40, "of a request to an HTTP trigger")
    api_body_bytes_max: int = _number(256 * _MIB, 0, 1 << 40, "of any other API request, code among them")
    # Small bodies are held whole, larger ones wait with the client.
    held_body_bytes_max: int = _number(65_536, 0, 1 << 30, "held of a body that waits or may have to be sent again")
    head_bytes_max: int = _number(65_536, 1024, _MIB, "of a request's line and header fields")
    head_timeout_s: float = _number(10.0, 0.01, 3600.0, "from the first byte of a request's head to its last")
    body_timeout_s: float = _number(60.0, 0.01, 3600.0, "between two pieces of a request's body")
    write_timeout_s: float = _number(60.0, 0.01, 3600.0, "that a client may leave what is buffered for it unread")
    idle_timeout_s: float = _number(75.0, 0.01, 86_400.0, "that a client's connection may stay unused")
    connections_max: int = _number(10_000, 1, 1_000_000, "from clients, at once")
    tls_certificate: str = _text("a PEM file with the certificate chain to speak TLS with; SIGHUP reads it again")
    tls_key: str = _text("the PEM file with its private key")
    tls_handshake_timeout_s: float = _number(10.0, 0.01, 600.0, "for a TLS handshake")

    queue_length_max: int = _number(1000, 0, 1_000_000, "requests that may wait for a slot, of one function version")
    # Half a thousand bodies of the size that is held: what waits is the most of a gateway's memory under overload.
    queue_bytes_max: int = _number(32 * _MIB, 0, 1 << 40, "held by what waits for one function version")
    all_queues_length_max: int = _number(5000, 0, 1_000_000, "requests that may wait, of all functions together")
    all_queues_bytes_max: int = _number(64 * _MIB, 0, 1 << 40, "held by what waits for all functions together")
    queue_wait_s: float = _number(60.0, 0.01, 86_400.0, "that a request waits for a slot, a cold start included")
    connect_timeout_s: float = _number(2.0, 0.01, 60.0, "for a connection to an instance")
    # Below the five seconds after which uvicorn, the usual server in an instance, closes from its side.
    instance_idle_s: float = _number(4.0, 0.01, 3600.0, "that a connection to an instance is kept unused")
    api_timeout_s: float = _number(120.0, 0.01, 86_400.0, "until the control plane begins to answer")

    key_requests_per_s: float = _number(0.0, 0.0, 1e9, "of one access key, in requests to functions; 0: no limit")
    key_requests_burst: float = _number(0.0, 0.0, 1e9, "of one access key at once; 0: as many as in a second")
    retry_share: float = _number(0.2, 0.0, 1.0, "of a function's requests that may be sent again, over 10 s")
    retry_least_per_s: float = _number(3.0, 0.0, 1e6, "that may be sent again besides, of one function version")
    outlier_failures: int = _number(5, 0, 1_000_000, "in a row that leave an instance out; 0: never")
    outlier_share_max: float = _number(0.5, 0.0, 1.0, "of a function's instances that may be left out, never the last")
    outlier_least_s: float = _number(1.0, 0.01, 3600.0, "that an instance is left out, the first time")
    outlier_most_s: float = _number(60.0, 0.01, 86_400.0, "the same, however often it fails")
    websocket_idle_s: float = _number(300.0, 0.01, 86_400.0, "that neither side of a WebSocket may send anything")

    async_payload_bytes_max: int = _number(131_072, 0, 32 * _MIB, "of an asynchronous payload; FC's limit is 128 KiB")
    async_result_bytes_max: int = _number(131_072, 0, 32 * _MIB, "kept of what an asynchronous invocation answers")
    async_queue_length_max: int = _number(100_000, 0, 100_000_000, "events that may wait, of one function version")
    async_demand_max: int = _number(10, 0, 10_000, "waiting events counted as demand, of one function version")
    async_poll_s: float = _number(1.0, 0.01, 60.0, "between two looks for events that others have queued")
    async_claim_after_s: float = _number(10.0, 0.1, 3600.0, "after which a silent gateway's events are taken over")
    async_record_s: float = _number(3600.0, 1.0, 2_592_000.0, "that an ended invocation's id is remembered")
    async_stateful_record_s: float = _number(
        604_800.0, 1.0, 2_592_000.0, "the same of a stateful one, with its payload"
    )
    async_delivery_timeout_s: float = _number(10.0, 0.01, 300.0, "for one delivery of a result to a URL")
    async_deliveries_max: int = _number(16, 1, 1000, "results on their way to destinations, at once")
    async_stream_length_max: int = _number(10_000, 1, 10_000_000, "entries kept of a stream that is a destination")

    access_log: str = _text("a file that gets a line of JSON for each request to a function; none by default")
    otlp_endpoint: str = _text("http://HOST:PORT of an OpenTelemetry collector that gets spans; none by default")
    otlp_share: float = _number(1.0, 0.0, 1.0, "of the traces that begin here that get a span; others as they say")
    nonces_max: int = _number(200_000, 2, 100_000_000, "of signed requests, remembered so that none is sent again")
    report_every_s: float = _number(1.0, 0.01, 60.0, "between two usage reports")
    # Twice what a client that sends once a second leaves between two requests.
    shutdown_grace_s: float = _number(2.0, 0.0, 3600.0, "of that, that connections without a request stay open")
    shutdown_timeout_s: float = _number(30.0, 0.0, 3600.0, "for what is in flight, after SIGTERM")

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            least, most = each.metadata.get("least"), each.metadata.get("most")
            if least is not None and most is not None and not least <= value <= most:
                raise ValueError(f"{_option(each.name)} {value}: {least:g} to {most:g} is allowed")
        if not self.listen and self.listen_fd < 0:
            raise ValueError("--listen or --listen-fd is needed")
        if self.listen:
            split_address(self.listen)
        if self.listen and split_address(self.listen)[0] not in _LOOPBACK and not self.has_keys:
            raise ValueError(
                f"--listen {self.listen!r}: without credentials.json or secret.key in --data {self.data!r} nobody "
                f"could sign a request, so {', '.join(_LOOPBACK)} are allowed"
            )
        if bool(self.tls_certificate) != bool(self.tls_key):
            missing = "--tls-key" if self.tls_certificate else "--tls-certificate"
            raise ValueError(f"{missing} is missing: --tls-certificate and --tls-key are allowed together")
        if not self.store.startswith(_STORE_SCHEMES):
            raise ValueError(f"--store {self.store!r}: redis://…, rediss://… and unix://PATH are allowed")
        if self.number > self.gateways:
            raise ValueError(f"--number {self.number}: 1 to --gateways {self.gateways} is allowed")
        if self.gateways > 1 and not self.sockets and not self.lease_s:
            raise ValueError(f"--gateways {self.gateways}: --sockets is needed, a folder, or --lease-s")
        if 0.0 < self.lease_s < LEASE_S_MIN:
            raise ValueError(f"--lease-s {self.lease_s:g}: 0 and {LEASE_S_MIN:g} to 3600 are allowed")
        if self.otlp_endpoint:
            _check_collector(self.otlp_endpoint)
        if not self.control_plane.startswith(("unix:", "tcp:")):
            raise ValueError(f"--control-plane {self.control_plane!r}: unix:PATH and tcp:HOST:PORT are allowed")

    @property
    def shares(self) -> bool:
        """Whether others serve the same instances, so that their slots have to be granted."""
        return self.gateways > 1 or self.lease_s > 0.0

    @property
    def word_s(self) -> float:
        """How long after a renewal in the store the control plane's word counts; without the key to its seal, it is
        never asked for."""
        return self.lease_away_s if self.lease_s and self.secret_key_path.exists() else 0.0

    @property
    def server_limits(self) -> ServerLimits:
        return ServerLimits(
            head_bytes_max=self.head_bytes_max,
            head_timeout_s=self.head_timeout_s,
            body_timeout_s=self.body_timeout_s,
            write_timeout_s=self.write_timeout_s,
            idle_timeout_s=self.idle_timeout_s,
            connections_max=self.connections_max,
        )

    @property
    def outlier_limits(self) -> OutlierLimits:
        return OutlierLimits(self.outlier_failures, self.outlier_share_max, self.outlier_least_s, self.outlier_most_s)

    @property
    def has_keys(self) -> bool:
        """Whether there is a key of this machine, or the means to read those of the store."""
        return self.credentials_path.exists() or self.secret_key_path.exists()

    @property
    def credentials_path(self) -> Path:
        return Path(self.data).expanduser() / "credentials.json"

    @property
    def secret_key_path(self) -> Path:
        """The key that opens the secrets of the access keys in the store."""
        return Path(self.data).expanduser() / "secret.key"


def _check_collector(endpoint: str) -> None:
    """Raises ValueError: it is no address of a collector."""
    try:
        url = urlsplit(endpoint)
        fits = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        fits = False
    if not fits or url.username or url.query or url.fragment:
        raise ValueError(f"--otlp-endpoint {endpoint!r}: http://HOST[:PORT][/PATH] and https://… are allowed")


def split_address(listen: str) -> tuple[str, int]:
    """HOST:PORT, with an IPv6 host in brackets. Raises ValueError for anything else."""
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"--listen {listen!r}: HOST:PORT is allowed, with a port of 0 to 65535")
    return host.strip("[]"), int(port)


def read_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> GatewaySettings:
    """Arguments, then the environment, then the defaults.

    Raises:
        ValueError: a value is not allowed; the message names it.
        SystemExit: an unknown argument, or --help.
    """
    parser = argparse.ArgumentParser(prog="stoke gateway", description="Serve requests to functions.")
    given: dict[str, Any] = {}
    for each in dataclasses.fields(GatewaySettings):
        parser.add_argument(_option(each.name), dest=each.name, help=each.metadata["help"])
    from_arguments = vars(parser.parse_args(arguments))
    for each in dataclasses.fields(GatewaySettings):
        value = from_arguments[each.name]
        if value is None:
            value = environment.get(_ENVIRONMENT_PREFIX + each.name.upper())
        if value is not None:
            given[each.name] = _convert(each.name, value, type(each.default))
    return GatewaySettings(**given)


def _convert(name: str, value: str, kind: type) -> Any:
    if kind is str:
        return value
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"{_option(name)} {value!r}: a number is allowed") from None


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
