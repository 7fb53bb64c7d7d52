"""What is wrong with a request that cannot be read, as its client is told. Pure."""

from __future__ import annotations

from runtime.http.exchange import Problem


def malformed(status: int, message: str) -> Problem:
    return Problem(status, "InvalidArgument", f"the request is not valid HTTP/1.1: {message}")


def too_slow(message: str) -> Problem:
    return Problem(408, "RequestTimeout", message)


def head_too_large(begin: bytes) -> Problem:
    """Which part of it is: RFC 9112, section 3, has a status for a method and one for a target."""
    if b"\r\n" in begin:
        status, what = 431, "head"
    elif b" " in begin:
        status, what = 414, "target"
    else:
        status, what = 501, "method"
    return Problem(
        status, "EntityTooLarge", f"the request's {what} is too large: at most {len(begin)} bytes are allowed"
    )
