"""The gateway's side of TLS: its certificate, SIGHUP to read it again, and the socket."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from pathlib import Path

from runtime.gateway.settings import GatewaySettings
from runtime.http.handshakes import TlsListener
from runtime.http.server import Server
from runtime.http.tls import Certificate

log = logging.getLogger(__name__)


def read_certificate(settings: GatewaySettings) -> Certificate | None:
    """None where TLS is not asked for. Raises ValueError: the files are not good."""
    if not settings.tls_certificate:
        return None
    return Certificate(Path(settings.tls_certificate).expanduser(), Path(settings.tls_key).expanduser())


def tls_listener(
    loop: asyncio.AbstractEventLoop,
    settings: GatewaySettings,
    certificate: Certificate,
    server: Server,
    sock: socket.socket,
) -> TlsListener:
    """Serves at the socket over TLS. From now on SIGHUP reads the files again; what is wrong with them is logged."""

    def read_again() -> None:
        try:
            certificate.read()
        except ValueError as error:
            log.error("certificate-kept reason=%r", str(error))
        else:
            log.info("certificate-read file=%r", settings.tls_certificate)

    loop.add_signal_handler(signal.SIGHUP, read_again)
    return TlsListener(
        loop,
        server.connection,
        sock,
        certificate.context,
        handshake_timeout_s=settings.tls_handshake_timeout_s,
        connections=lambda: len(server.connections),
        connections_max=settings.connections_max,
    )
