"""KServe's Python model server, which `loadtests.bench.path` measures us beside: what is asked of it, and how it runs.

It is asked in version 1 of its protocol, the quicker one for it. It lives in an environment of its own, `.venv-kserve`,
that `scripts/install-rivals` makes. One worker, no gRPC, uvloop, and none of the log lines that it writes for each
request; it listens at all addresses, as it has no setting for that.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from loadtests.bench.rivals import PROXY_CORE, accepts, free_port, running, wait_for

ENVIRONMENT: Final = Path(__file__).parents[2] / ".venv-kserve"
NAME: Final = "digits"
START_TIMEOUT_S: Final = 60.0  # it imports pandas and a client of Kubernetes

PATH: Final = f"/v1/models/{NAME}:predict"

# `predict` is awaited in the loop that reads the requests, as are the endpoint and the handler it is measured beside.
SERVER: Final = """
import sys
import kserve, numpy, onnxruntime

class Digits(kserve.Model):
    def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.ready = True

    async def predict(self, asked, headers=None):
        image = numpy.asarray(asked["instances"], dtype=numpy.float32)
        return {"predictions": self.session.run(None, {"image": image})[0].tolist()}

_, name, model, port, log = sys.argv
kserve.logging.configure_logging(log)
digits = Digits(name)
digits.load()
kserve.ModelServer(
    http_port=int(port), workers=1, enable_grpc=False, enable_latency_logging=False, event_loop="uvloop"
).start([digits])
"""
# Without a handler, uvicorn does not even make the line of its access log.
LOGGING: Final = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"errors": {"class": "logging.StreamHandler"}},
    "loggers": {
        name: {"level": "ERROR", "handlers": ["errors"] if name in ("kserve", "uvicorn") else [], "propagate": False}
        for name in ("kserve", "kserve.trace", "uvicorn", "uvicorn.access")
    },
}


def why_not() -> str:
    """Why it cannot be measured here; "" if it can."""
    return "" if (ENVIRONMENT / ".installed").exists() else "no .venv-kserve: scripts/install-rivals makes it"


@contextlib.contextmanager
def start_kserve(folder: Path, model: Path) -> Iterator[tuple[int, int]]:
    """Its port and pid, while the context lasts."""
    script, log = folder / "kserve_server.py", folder / "kserve_logging.json"
    script.write_text(SERVER)
    log.write_text(json.dumps(LOGGING))
    port = free_port()
    python = ENVIRONMENT / "bin" / "python"
    output = folder / "kserve.log"
    with running([str(python), str(script), NAME, str(model), str(port), str(log)], PROXY_CORE, output) as process:
        wait_for(lambda: process.poll() is not None or accepts(port), "KServe", START_TIMEOUT_S)
        if process.poll() is not None:
            raise SystemExit(f"KServe did not start: {output.read_text()[-2000:]}")
        yield port, process.pid
