"""What of a request the rules of an alias and session affinity look at: header fields, cookies, parameters. Pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from runtime.http.fields import find
from runtime.http.framing import Headers

_PARAMETERS_MAX: Final = 1000


class Asked:
    """A request's fields and its query, taken apart only when somebody asks."""

    __slots__ = ("_fields", "_target")

    def __init__(self, fields: Headers, target: bytes) -> None:
        self._fields = fields
        self._target = target

    def value(self, kind: str, key: str) -> str | None:
        """The first value of a `Header`, a `Cookie` or a `Param`; None: the request does not have it."""
        if kind == "Param":
            return self._parameter(key)
        name = key.encode("latin-1", "replace")
        found = find(self._fields, name.lower()) if kind == "Header" else self._cookie(name)
        return None if found is None else found.decode("latin-1")

    def _cookie(self, name: bytes) -> bytes | None:
        for field, value in self._fields:
            if field.lower() == b"cookie":
                for pair in value.split(b";"):
                    key, equals, text = pair.strip().partition(b"=")
                    if equals and key == name:
                        return text.strip(b'"')
        return None

    def _parameter(self, name: str) -> str | None:
        query = self._target.partition(b"?")[2].decode("latin-1")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_PARAMETERS_MAX)
        except ValueError:
            return None  # more than anybody needs: none of them counts
        return next((value for key, value in pairs if key == name), None)
