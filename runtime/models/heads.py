"""What a model's server asks of a request's head. Pure."""

from __future__ import annotations

from runtime.contract import HEADER_REQUEST_ID
from runtime.http.head import Request as Head


def within(path: str, base_path: str) -> str:
    """What of a path is below the function's URL: some forms of it have a beginning that names the function."""
    if base_path and (path + "/").startswith(base_path.rstrip("/") + "/"):
        path = path[len(base_path.rstrip("/")) :]
    return path or "/"


def headers_of(head: Head) -> dict[str, str]:
    """By lower-case name; values of the same name are joined by a comma."""
    found: dict[str, str] = {}
    for raw_name, raw_value in head.fields:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def request_id_of(head: Head) -> str:
    wanted = HEADER_REQUEST_ID.encode()
    for name, value in reversed(head.fields):  # the gateway says it at the end
        if name == wanted:
            return value.decode("latin-1")
    return "-"
