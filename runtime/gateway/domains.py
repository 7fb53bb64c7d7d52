"""Which function a custom domain's path leads to. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from runtime.contract import LATEST, DomainRoute
from runtime.gateway.refusal import Refusal
from runtime.gateway.resolve import Names


class Path(NamedTuple):
    """One of a domain's paths."""

    names: Names
    methods: frozenset[bytes]  # empty: what the function's trigger allows


class Domain:
    """A domain's paths, ready for requests: an exact one wins over one with an asterisk, a longer over a shorter."""

    def __init__(self, route: DomainRoute) -> None:
        self._name = route.domain
        self._exact: dict[bytes, Path] = {}
        below: list[tuple[bytes, Path]] = []
        for value in route.paths:
            text = str(value["path"]).encode()
            if text.endswith(b"/*"):
                below.append((text[:-1], _path(value)))
            else:
                self._exact[text] = _path(value)
        self._below = sorted(below, key=lambda pair: len(pair[0]), reverse=True)

    def names(self, target: bytes, method: bytes) -> Names:
        """The function of a request's path.

        Raises:
            Refusal: 404, there is none; 405, the path is there for other methods.
        """
        text = target.partition(b"?")[0]
        path = self._exact.get(text) or next(
            (path for prefix, path in self._below if text.startswith(prefix) or text + b"/" == prefix), None
        )
        if path is None:
            shown = text[:200].decode("latin-1")
            raise Refusal(404, "RouteNotFound", f"no route of domain name '{self._name}' has the path '{shown}'")
        if path.methods and method not in path.methods:
            allowed = b", ".join(sorted(path.methods)).decode()
            message = f"method '{method.decode('latin-1')}': {allowed} is allowed by the domain's route"
            raise Refusal(405, "MethodNotAllowed", message, (("allow", allowed),))
        return path.names


def _path(value: dict[str, Any]) -> Path:
    names = Names(str(value["service"]), str(value.get("qualifier") or LATEST), str(value["function"]))
    return Path(names, frozenset(str(method).upper().encode() for method in value.get("methods") or ()))
