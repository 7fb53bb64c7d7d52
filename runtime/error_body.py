"""How errors are spelled to clients of every version of FC's API, by whichever part answers."""

from __future__ import annotations

import json


def error_body(code: str, message: str, request_id: str) -> bytes:
    """The JSON body of every 4xx/5xx: the union of what the FC API versions spell, as each client reads other keys."""
    return json.dumps(
        {
            "ErrorCode": code,
            "ErrorMessage": message,
            "errorCode": code,
            "errorMessage": message,
            "Code": code,
            "Message": message,
            "RequestId": request_id,
            "requestId": request_id,
        },
        separators=(",", ":"),
    ).encode()
