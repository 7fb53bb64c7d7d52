"""Where Stoke is and with which key to speak to it: from options, the environment and the data folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from control_plane.cli.failures import BadInput, Unreachable

DEFAULT_DATA: Final = "~/.stoke"
START_HINT: Final = "start it with `stoke up`, or name another with --endpoint or STOKE_ENDPOINT"


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key_id: str
    access_key_secret: str


def data_folder(option: Path | None, environment: Mapping[str, str]) -> Path:
    """--data, else STOKE_DATA, else ~/.stoke."""
    return (option or Path(environment.get("STOKE_DATA") or DEFAULT_DATA)).expanduser()


def find_endpoint(option: str | None, data: Path, environment: Mapping[str, str]) -> str:
    """--endpoint, else STOKE_ENDPOINT, else what `stoke up` wrote into the data folder; without a trailing slash.

    Raises:
        BadInput: not an http(s) URL.
        Unreachable: nothing names an endpoint, so nothing was started with this data folder.
    """
    for value, field in ((option, "--endpoint"), (environment.get("STOKE_ENDPOINT"), "STOKE_ENDPOINT")):
        if value:
            return _checked(value, field)
    state = data / "stoke.json"
    endpoint = (_read(state) or {}).get("endpoint")
    if not endpoint:
        raise Unreachable(f"no Stoke runs with the data folder {data}: {START_HINT}")
    return _checked(str(endpoint), str(state))


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to believe that they are the endpoint: by default those whom this machine's authorities vouch for."""

    file: Path | None = None  # PEM certificates that are believed instead
    is_the_certificate: bool = False  # the endpoint's own: whoever has its key is meant, whatever the name


def find_trust(option: str | None, data: Path, environment: Mapping[str, str]) -> Trust:
    """STOKE_CA; else, for the Stoke of the data folder, the certificate that it was started with.

    Raises:
        BadInput: STOKE_CA names no file.
    """
    if given := environment.get("STOKE_CA"):
        path = Path(given).expanduser()
        if not path.is_file():
            raise BadInput(f"STOKE_CA: {given!r} is not a file: a file of PEM certificates is allowed")
        return Trust(path)
    if option or environment.get("STOKE_ENDPOINT"):
        return Trust()
    own = (_read(data / "stoke.json") or {}).get("tls_certificate")
    return Trust(Path(str(own)), is_the_certificate=True) if own else Trust()


def find_credentials(data: Path, environment: Mapping[str, str]) -> Credentials | None:
    """STOKE_ACCESS_KEY_ID and STOKE_ACCESS_KEY_SECRET, else DATA/credentials.json, else None (nothing is signed).

    Raises:
        BadInput: only one of the two variables is set, or the file holds no key.
    """
    key, secret = environment.get("STOKE_ACCESS_KEY_ID"), environment.get("STOKE_ACCESS_KEY_SECRET")
    if key and secret:
        return Credentials(key, secret)
    if key or secret:
        missing = "STOKE_ACCESS_KEY_SECRET" if key else "STOKE_ACCESS_KEY_ID"
        raise BadInput(f"{missing} is not set: an access key needs both its id and its secret")
    file = data / "credentials.json"
    saved = _read(file)
    if saved is None:
        return None
    key, secret = saved.get("access_key_id"), saved.get("access_key_secret")
    if not (key and isinstance(key, str) and secret and isinstance(secret, str)):
        raise BadInput(f"{file}: must hold access_key_id and access_key_secret, as texts")
    return Credentials(key, secret)


def _checked(endpoint: str, field: str) -> str:
    if not _is_url(endpoint):
        raise BadInput(f"{field}: {endpoint!r} is not allowed: must be a URL as http://127.0.0.1:9000")
    return endpoint.rstrip("/")


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        port = url.port  # read here: it is what raises for a port that is none
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.hostname) and port != 0 and not url.query and not url.fragment


def _read(path: Path) -> dict[str, Any] | None:
    """None where there is no such file. Raises BadInput."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise BadInput(f"{path}: cannot be read: must be a JSON object")
    return value
