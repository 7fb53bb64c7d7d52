"""A registry with one image of one small layer, which it gives slowly: what a pull looks like from its beginning to its
end. It speaks as much of the distribution API as an engine needs to pull."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.server
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

NAME = "shop/server"
USER, PASSWORD = "puller", "let-me-in"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_LAYER_BYTES = 4 * 1024 * 1024


class RegistryServer:
    """`go_on` lets the second half of the layer out, which drips until then. `host` is what image names begin with."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        layer_tar = io.BytesIO()
        with tarfile.open(fileobj=layer_tar, mode="w") as tar:
            entry = tarfile.TarInfo("noise")
            entry.size = _LAYER_BYTES
            tar.addfile(entry, io.BytesIO(os.urandom(_LAYER_BYTES)))
        layer = gzip.compress(layer_tar.getvalue(), 1)
        config = {
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/nothing"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer_tar.getvalue())]},
        }  # fmt: skip
        config_bytes = json.dumps(config).encode()
        manifest = {
            "schemaVersion": 2, "mediaType": _MANIFEST,
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config_bytes),
                       "digest": _digest(config_bytes)},
            "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(layer),
                        "digest": _digest(layer)}],
        }  # fmt: skip
        self.manifest = json.dumps(manifest).encode()
        self.layer_digest = _digest(layer)
        self.blobs = {_digest(layer): layer, _digest(config_bytes): config_bytes}
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.host = f"127.0.0.1:{self.server.server_address[1]}"

    @property
    def image(self) -> str:
        return f"{self.host}/{NAME}:1"

    @property
    def digest(self) -> str:
        return _digest(self.manifest)

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        registry = self
        token = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.headers.get("authorization") != token:
                    return self._answer(401, b"{}", "application/json", {"WWW-Authenticate": 'Basic realm="here"'})
                kind, _, reference = self.path.rpartition("/")
                if self.path == "/v2/":
                    return self._answer(200, b"{}", "application/json")
                if kind.endswith("/manifests"):
                    return self._answer(
                        200, registry.manifest, _MANIFEST, {"Docker-Content-Digest": _digest(registry.manifest)}
                    )
                blob = registry.blobs.get(reference, b"")
                return self._answer(200 if blob else 404, blob, "application/octet-stream")

            do_HEAD = do_GET  # noqa: N815 - http.server's name

            def _answer(self, status: int, body: bytes, kind: str, more: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(more or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "HEAD":
                    return
                half = len(body) // 2 if registry.layer_digest in self.path else 0
                self.wfile.write(body[:half])
                # Podman tells of progress when bytes come, so they never cease to: byte by byte.
                while half and half < len(body) - 1 and not registry.go_on.wait(0.05):
                    self.wfile.write(body[half : half + 1])
                    half += 1
                self.wfile.write(body[half:])

            def log_message(self, *_: object) -> None: ...

        return Handler


@contextmanager
def running_registry() -> Iterator[RegistryServer]:
    """In the network of the calling thread."""
    registry = RegistryServer()
    thread = threading.Thread(target=registry.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        registry.go_on.set()
        registry.server.shutdown()
        registry.server.server_close()
        thread.join()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
