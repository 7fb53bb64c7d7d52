"""Which messages are spam. `handler: app.app`, `initializer: app.initialize`.

An ASGI app. It answers POST on any path, as an HTTP trigger's URL may put a prefix before its own, and keeps `/invoke`
and `/initialize` for the calls that the platform makes itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tokens import encode, load_vocabulary

HERE = Path(__file__).parent
LABELS = ("not_spam", "spam")  # by key
TEXTS_MAX = 256  # a request: about 0.1 s of work


class BadText(ValueError):
    """The client's fault; the message names what was found and what is allowed."""


@cache
def model() -> tuple[Any, dict[str, int]]:
    """(session, vocabulary), once per instance. Not at import: what that costs is the platform's to see."""
    from runtime.instance import load_session

    return load_session(HERE / "spam.onnx", threads=1), load_vocabulary(HERE / "vocabulary.json")


def texts_from_body(body: bytes) -> list[str]:
    """One text a line, blank lines left out.

    Raises:
        BadText: not UTF-8, no text at all, or more than TEXTS_MAX.
    """
    try:
        lines = body.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadText(f"body has the byte 0x{body[error.start]:02x} at {error.start}, must be UTF-8 text") from None
    texts = [line.strip() for line in lines if line.strip()]
    if not 1 <= len(texts) <= TEXTS_MAX:
        raise BadText(f"body has {len(texts)} texts, must have 1 to {TEXTS_MAX}, one a line")
    return texts


def classify(texts: Sequence[str]) -> list[dict[str, Any]]:
    """One finding for each text, in their order."""
    session, vocabulary = model()
    tokens, lengths = encode(texts, vocabulary)
    (found,) = session.run(None, {"tokens": tokens, "lengths": lengths})
    return [finding(text, *map(float, pair)) for text, pair in zip(texts, found, strict=True)]


def finding(text: str, not_spam: float, spam: float) -> dict[str, Any]:
    key = int(spam > not_spam)
    return {
        "text": text,
        "spam_detection_label": LABELS[key],
        "spam_detection_key": key,
        "spam_probs": round(spam, 6),
        "not_spam_probs": round(not_spam, 6),
    }


def initialize(context: Any = None) -> None:  # noqa: ARG001 - Function Compute calls initializers with a context
    """Loads the model and runs it once: the first inference allocates what all later ones use again."""
    classify(["Hello, are we still meeting for lunch tomorrow?"])


async def warm_up(_request: Request) -> Response:
    initialize()
    return Response(status_code=200)


async def detect(request: Request) -> Response:
    try:
        texts = texts_from_body(await request.body())
    except BadText as error:
        return JSONResponse({"error": str(error)}, status_code=400)
    return JSONResponse(classify(texts))


app = Starlette(
    routes=[
        Route("/initialize", warm_up, methods=["POST"]),
        Route("/{path:path}", detect, methods=["POST"]),
    ]
)
