"""TLS by certificate files: what a server's listening socket needs, read anew without touching a connection."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator
from pathlib import Path


class Certificate:
    """A certificate chain and its private key, both PEM, and the context that handshakes use.

    `read` may be called again when the files have changed: handshakes from then on get the new certificate, connections
    that are there keep theirs, and files that are not good leave all as it was.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises as `read`."""
        self._certificate = certificate
        self._key = key
        self.context = new_context()
        self.read()

    def read(self) -> None:
        """Take what the files have now.

        Raises:
            ValueError: a file cannot be read, or they are no certificate and its key. The message names them.
        """
        try:
            certificate, key = self._certificate.read_bytes(), self._key.read_bytes()
        except OSError as error:
            raise ValueError(
                f"--tls-certificate and --tls-key: {error.filename}: {error.strerror}; PEM files are allowed"
            ) from None
        try:
            _load(new_context(), certificate, key)
        except (ssl.SSLError, ValueError) as error:
            reason = error.reason or "not PEM" if isinstance(error, ssl.SSLError) else error
            raise ValueError(
                f"--tls-certificate '{self._certificate}' with --tls-key '{self._key}': {reason}; a PEM certificate "
                "chain and its private key, not encrypted, are allowed"
            ) from None
        _load(self.context, certificate, key)  # the very bytes that were good


def new_context() -> ssl.SSLContext:
    """For a server that speaks HTTP/1.1 over TLS 1.2 and 1.3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # which would let a client make the server work for nothing
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """The context takes files only, so it gets files in memory: a key is written to no disk."""
    with _in_memory(certificate) as certificate_path, _in_memory(key) as key_path:
        context.load_cert_chain(certificate_path, key_path, password=_no_password)


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    descriptor = os.memfd_create("tls")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _no_password() -> str:
    raise ValueError("the key is encrypted")  # and nobody is there to ask
