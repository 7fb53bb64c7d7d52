"""How far the pull of an image is, and with which credentials it is made. Pure but for reading the file."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.node.docker.asked import registry_of


class PullProgress:
    """Fed with what the engine says of a pull, line by line."""

    def __init__(self, image: str) -> None:
        self._image = image
        self._layers: dict[str, tuple[int, int]] = {}  # bytes here, and in all

    def hear(self, line: Mapping[str, Any]) -> None:
        layer, detail = line.get("id"), line.get("progressDetail") or {}
        status = str(line.get("status", ""))
        if not layer:
            return
        if status == "Downloading" and detail.get("total"):
            self._layers[layer] = (int(detail.get("current", 0)), int(detail["total"]))
        elif status in ("Download complete", "Pull complete") and layer in self._layers:
            self._layers[layer] = (self._layers[layer][1], self._layers[layer][1])

    @property
    def text(self) -> str:
        """As users read it. Layers that have not begun are not counted, as nobody knows how large they are."""
        here, total = (sum(numbers) for numbers in zip(*self._layers.values(), strict=True)) if self._layers else (0, 0)
        if not total:
            return f"pulling image '{self._image}'"
        return f"pulling image '{self._image}': {here / 2**20:.1f} of {total / 2**20:.1f} MiB"


def auth_header(image: str, user: str, password: str) -> str:
    """The value of X-Registry-Auth for one user of an image's registry."""
    return _encoded({"username": user, "password": password, "serveraddress": registry_of(image)})


def read_credentials(path: Path, image: str) -> str:
    """The value of X-Registry-Auth for an image, from a file like Docker's own config.json; "" if it names none.

    Raises:
        ValueError: the file cannot be read as such; the message names it.
    """
    try:
        auths = json.loads(path.read_text(encoding="utf-8")).get("auths", {})
        entry = auths.get(registry_of(image)) or auths.get(f"https://{registry_of(image)}")
        if not entry:
            return ""
        user, password = entry.get("username", ""), entry.get("password", "")
        if entry.get("auth"):
            user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        token = {"username": user, "password": password, "serveraddress": registry_of(image)}
        if entry.get("identitytoken"):
            token = {"identitytoken": entry["identitytoken"]}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"registry_credentials '{path}' cannot be read: {error}") from error
    return _encoded(token)


def _encoded(token: Mapping[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(token).encode()).decode()


def repository_and_tag(image: str) -> tuple[str, str]:
    """As `POST /images/create` wants them: a digest goes as the tag, and no tag means `latest`, not every tag."""
    name, at, digest = image.partition("@")
    if at:
        return name, digest
    head, colon, tag = image.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (image, "latest")
