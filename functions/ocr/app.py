"""What is written in a picture. `handler: app.app`, `initializer: app.initialize`.

An ASGI app around RapidOCR, which comes by `requirements.txt` with its models. Importing it starts no thread and loads
no model, so Stoke imports it once and forks every instance from that.
"""

from __future__ import annotations

import asyncio
import math
import os
from functools import cache
from typing import Any

import cv2
import numpy as np
from rapidocr_onnxruntime import RapidOCR
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

SIDE_MAX = 4096  # pixels
BYTES_MAX = 16 * 1024 * 1024


class BadImage(ValueError):
    """The message says what was found and what is allowed."""


@cache
def engine() -> Any:
    """The loaded models, once per instance, with as many threads as the function's share of the CPU."""
    threads = max(1, math.ceil(float(os.environ.get("STOKE_CPU") or 0)))
    return RapidOCR(intra_op_num_threads=threads, inter_op_num_threads=1)


def picture_from(body: bytes) -> np.ndarray:
    """Raises BadImage."""
    if len(body) > BYTES_MAX:
        raise BadImage(f"the body has {len(body)} bytes: at most {BYTES_MAX} are allowed")
    picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR) if body else None
    if picture is None:
        raise BadImage("the body is no picture: PNG, JPEG, WebP, BMP and TIFF are allowed")
    height, width = picture.shape[:2]
    if max(height, width) > SIDE_MAX:
        raise BadImage(f"the picture has {width} by {height} pixels: at most {SIDE_MAX} by {SIDE_MAX} are allowed")
    return picture


def lines_in(picture: np.ndarray) -> list[dict[str, Any]]:
    """From top to bottom: the text, how sure it is (0 to 1), and the corners around it, clockwise from top left."""
    found, _ = engine()(picture)
    return [
        {"text": text, "score": round(float(score), 4), "box": [[round(x), round(y)] for x, y in box]}
        for box, text, score in found or ()
    ]


def initialize(context: Any = None) -> None:  # noqa: ARG001 - Function Compute calls initializers with a context
    """Loads the models and runs them once: the first inference allocates what all later ones use again."""
    picture = np.full((64, 256, 3), 255, np.uint8)
    cv2.putText(picture, "ready", (20, 44), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 0, 0), 2)
    lines_in(picture)


async def warm_up(_request: Request) -> Response:
    initialize()
    return Response(status_code=200)


async def read(request: Request) -> Response:
    try:
        picture = picture_from(await request.body())
    except BadImage as error:
        return JSONResponse({"error": str(error)}, status_code=400)
    lines = await asyncio.to_thread(lines_in, picture)
    return JSONResponse({"text": "\n".join(line["text"] for line in lines), "lines": lines})


app = Starlette(
    routes=[
        Route("/initialize", warm_up, methods=["POST"]),
        Route("/{path:path}", read, methods=["POST"]),
    ]
)
