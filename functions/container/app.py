"""A server in a container, of the standard library alone: says how large a body is and gives a slow hash of it.

Any HTTP server does that listens on 0.0.0.0 at the port in FC_SERVER_PORT. The hash stands for a model: it keeps one
core busy for about as long as a small network does.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

ROUNDS: Final = 20_000  # some 15 ms
BODY_BYTES_MAX: Final = 8 * 1024 * 1024


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        if length > BODY_BYTES_MAX:
            return self._answer(413, {"error": f"the body has {length} bytes; at most {BODY_BYTES_MAX} are allowed"})
        body = self.rfile.read(length)
        if self.path == "/initialize":
            return self._answer(200, {})
        began_s = time.perf_counter()
        hashed = hashlib.pbkdf2_hmac("sha256", body or b"-", b"stoke", ROUNDS).hex()
        took_ms = (time.perf_counter() - began_s) * 1000
        return self._answer(200, {"bytes": length, "hash": hashed, "ms": round(took_ms, 1)})

    do_GET = do_POST  # noqa: N815 - http.server's name

    def _answer(self, status: int, values: dict[str, object]) -> None:
        body = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: a line for each request is the gateway's to write."""


def main() -> None:
    address = (os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("FC_SERVER_PORT", "9000")))  # noqa: S104
    server = ThreadingHTTPServer(address, Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"serving on port {address[1]}", flush=True)
    server.serve_forever()
    sys.exit(0)


if __name__ == "__main__":
    main()
