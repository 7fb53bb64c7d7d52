"""Which digit is in a picture. `handler: app.app`, `initializer: app.initialize`.

An ASGI app. It answers POST on any path, as an HTTP trigger's URL may put a prefix before its own, and keeps `/invoke`
and `/initialize` for the calls that the platform makes itself.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from image import INK_MAX, SIDE, BadImage, ink_from_body
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

MODEL = Path(__file__).with_name("digits.onnx")


@cache
def session() -> Any:
    """The loaded model, once per instance. Not at import: what that costs is the platform's to see, at /initialize."""
    from runtime.instance import load_session

    return load_session(MODEL, threads=1)


def probabilities(ink: np.ndarray) -> np.ndarray:
    """Ten numbers that add up to 1 for each picture: float32 (n, 8, 8) in [0, 16] → float32 (n, 10)."""
    (result,) = session().run(None, {"image": ink.reshape(-1, 1, SIDE, SIDE) / np.float32(INK_MAX)})
    return result


def initialize(context: Any = None) -> None:  # noqa: ARG001 - Function Compute calls initializers with a context
    """Loads the model and runs it once: the first inference allocates what all later ones use again."""
    probabilities(np.zeros((1, SIDE, SIDE), np.float32))


async def warm_up(_request: Request) -> Response:
    initialize()
    return Response(status_code=200)


async def recognize(request: Request) -> Response:
    try:
        ink = ink_from_body(await request.body())
    except BadImage as error:
        return JSONResponse({"error": str(error)}, status_code=400)
    found = probabilities(ink)[0]
    return JSONResponse({"digit": int(found.argmax()), "probabilities": [round(float(p), 6) for p in found]})


app = Starlette(
    routes=[
        Route("/initialize", warm_up, methods=["POST"]),
        Route("/{path:path}", recognize, methods=["POST"]),
    ]
)
