"""Which request a user sends: the trigger's path and the bodies to take turns with."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from loadtests.options import LoadOptions

DATA: Final = Path(__file__).resolve().parent / "data"
LATEST: Final = "LATEST"


@dataclass(frozen=True, slots=True)
class Payload:
    """One kind of request. `bodies` has at least one entry; an empty one means a request without a body."""

    name: str
    method: str
    path: str
    headers: dict[str, str]
    bodies: tuple[bytes, ...]


def payload(options: LoadOptions, data: Path = DATA) -> Payload:
    """What the options ask for. A body file goes before the sample's own data; other functions get no body.

    Raises:
        ValueError: the body file, or the sample's data, cannot be read.
    """
    bodies, guessed_type = _bodies(options, data)
    content_type = options.content_type or guessed_type
    method = options.method.upper() or ("POST" if bodies[0] else "GET")
    path = options.path or trigger_path(options.service, options.function, options.qualifier)
    name = options.path or options.function
    return Payload(f"{method} {name}", method, path, {"Content-Type": content_type} if content_type else {}, bodies)


def _bodies(options: LoadOptions, data: Path) -> tuple[tuple[bytes, ...], str]:
    if options.body_file:
        file = Path(options.body_file)
        return (_read(file),), mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    if options.function in ("digits", "container"):
        return digits(data), "image/png"
    if options.function == "spam_detection":
        return texts(data), "text/plain"
    return (b"",), ""


def trigger_path(service: str, function: str, qualifier: str = LATEST) -> str:
    """The path of a function's HTTP trigger; LATEST is left out, as FC prints it."""
    qualified = service if qualifier in ("", LATEST) else f"{service}.{qualifier}"
    return f"/2016-08-15/proxy/{quote(qualified)}/{quote(function)}/"


def digits(data: Path = DATA) -> tuple[bytes, ...]:
    """The sample pictures of handwritten digits."""
    files = sorted((data / "digits").glob("*.png"))
    if not files:
        raise ValueError(f"body-file: no *.png in {data / 'digits'}, and no --body-file was given")
    return tuple(_read(file) for file in files)


def texts(data: Path = DATA) -> tuple[bytes, ...]:
    """The sample messages, one a line."""
    lines = tuple(line.strip() for line in _read(data / "spam.txt").splitlines() if line.strip())
    if not lines:
        raise ValueError(f"body-file: {data / 'spam.txt'} is empty, and no --body-file was given")
    return lines


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ValueError(f"body-file: cannot read {file}: {error.strerror}") from error
