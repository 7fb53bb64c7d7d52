"""A policy that follows a Prometheus which speaks TLS, with an authority of its own, on a real Stoke."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Files
from tests.support.stoke import Stoke, eventually

CODE = {"app.py": "def handler(event, context):\n    return event\n"}
ANSWER = b'{"status":"success","data":{"resultType":"scalar","result":[1435781451.781,"1700"]}}'


class Prometheus(BaseHTTPRequestHandler):
    """Whatever is asked, there are 1700 of it."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_: Any, **__: Any) -> None:
        pass


@contextmanager
def serving(files: Files) -> Iterator[str]:
    """Its URL. A client that does not trust the certificate breaks the handshake off, which is no error of a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Prometheus)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5.0)


def following(url: str) -> dict[str, Any]:
    return {
        "name": "by-prometheus", "metricType": "Prometheus", "url": url, "query": "sum(tokens)", "metricTarget": 850,
        "minCapacity": 0, "maxCapacity": 4,
    }  # fmt: skip


def why(stoke: Stoke, function: str) -> str:
    found = stoke.call("GET", f"/stoke/v1/provision/explain?service=svc&qualifier=LATEST&function={function}")
    return json.dumps(found["decisions"])


def _is_doubted(stoke: Stoke, function: str) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in why(stoke, function)


def test_a_server_is_followed_by_its_own_authority_and_refused_by_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = Files(tmp_path / "one"), Files(tmp_path / "other", "other")
    with serving(one) as trusted, serving(one) as doubted, serving(one) as unnamed:
        access = tmp_path / "access.json"
        servers = [
            {"url": trusted, "caFile": str(one.certificate)},
            {"url": doubted, "caFile": str(other.certificate)},
        ]
        access.write_text(json.dumps(servers))
        monkeypatch.setenv("STOKE_PROMETHEUS_URLS", f"{trusted},{doubted},{unnamed}")
        monkeypatch.setenv("STOKE_PROMETHEUS_ACCESS", str(access))
        with Stoke(tmp_path / "data", "--listen", "127.0.0.1:0") as stoke:
            for function, url in (("f", trusted), ("g", doubted), ("h", unnamed)):
                stoke.deploy(function, CODE)
                stoke.provision(function, 0, following(url))
            eventually(lambda: stoke.status("f")["target"] == 2, "1700 at 850 for one are 2")
            for function, url in (("g", doubted), ("h", unnamed)):
                eventually(partial(_is_doubted, stoke, function), "why not is said")
                assert f"{url}: cannot be asked" in why(stoke, function)
                assert stoke.status(function)["target"] == 0
            assert "cannot be asked" not in why(stoke, "f")
