"""The gateway's side of TLS: its certificate, and SIGHUP to read it again."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from typing import Any

from runtime.gateway.settings import GatewaySettings
from runtime.http.tls import Certificate

log = logging.getLogger(__name__)


def read_certificate(settings: GatewaySettings) -> Certificate | None:
    """None where TLS is not asked for. Raises ValueError: the files are not good."""
    if not settings.tls_certificate:
        return None
    return Certificate(Path(settings.tls_certificate).expanduser(), Path(settings.tls_key).expanduser())


def tls_options(loop: asyncio.AbstractEventLoop, settings: GatewaySettings, certificate: Certificate) -> dict[str, Any]:
    """What `create_server` is told. From now on SIGHUP reads the files again; what is wrong with them is logged."""

    def read_again() -> None:
        try:
            certificate.read()
        except ValueError as error:
            log.error("certificate-kept reason=%r", str(error))
        else:
            log.info("certificate-read file=%r", settings.tls_certificate)

    loop.add_signal_handler(signal.SIGHUP, read_again)
    return {"ssl": certificate.context, "ssl_handshake_timeout": settings.tls_handshake_timeout_s}
