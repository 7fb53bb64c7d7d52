"""An ordinary Flask server, run as `runtime: custom` with the command `["python3", "app.py"]`.

It knows nothing of Stoke but the port to listen on and the paths that Function Compute calls. It shows what arrives:
useful to see which headers and which path a function gets.
"""

from __future__ import annotations

import os
import time

from flask import Flask, Response, jsonify, request

METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]
PREPARATION_S = 0.1  # stands for what a real server loads before its first request

app = Flask(__name__)
initialized_at_s = 0.0


@app.post("/initialize")
def initialize() -> Response:
    """Called once before the first request, when the function has an initializer."""
    global initialized_at_s
    time.sleep(PREPARATION_S)
    initialized_at_s = time.time()
    app.logger.warning("initialized request_id=%s", request.headers.get("x-fc-request-id", ""))
    return Response(status=200)


@app.post("/invoke")
def invoke() -> Response:
    """An event invocation: the payload comes back as it came."""
    return Response(request.get_data(), mimetype=request.mimetype or "application/octet-stream")


@app.get("/pre-stop")
def pre_stop() -> Response:
    """Called before the instance is stopped, when the function has a pre-stop hook."""
    app.logger.warning("stopping, served since %.3f", initialized_at_s)
    return Response(status=200)


@app.route("/", defaults={"path": ""}, methods=METHODS)
@app.route("/<path:path>", methods=METHODS)
def echo(path: str) -> Response:
    """An HTTP request on any path: what arrived, as JSON."""
    return jsonify(
        method=request.method,
        path=f"/{path}",
        query=request.args.to_dict(flat=False),
        body=request.get_data(as_text=True),
        initialized=initialized_at_s > 0,
        instance_id=os.environ.get("FC_INSTANCE_ID", ""),
        request_id=request.headers.get("x-fc-request-id", ""),
    )


if __name__ == "__main__":
    app.run(host=os.environ.get("HOST", "127.0.0.1"), port=int(os.environ["FC_SERVER_PORT"]), threaded=True)
