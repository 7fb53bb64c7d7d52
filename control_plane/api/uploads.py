"""Code that is uploaded before its function is made, as Serverless Devs' component fc3 does it.

The client asks for a token, puts one object by it where it believes object storage to be, and then names the object
in place of `code.zipFile`. The object's own signature is checked here (OSS's, version 1), with a secret that
follows from its name and the token's end, so that nothing is kept of a token. Which upload has which zip is kept in
memory: code that was uploaded, but not used before a restart, has to be uploaded again, and clients do that with
each deployment.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.api.auth import UPLOADS
from control_plane.api.context import Context, context
from control_plane.errors import AccessDenied, InvalidArgument, NotFound

BUCKET: Final = "stoke"
GOOD_FOR_S: Final = 600
_EXPIRES_CHARS_MAX: Final = 12


async def token(request: Request) -> Response:
    """What one object may be put with, for ten minutes."""
    at = context(request)
    name, expires = secrets.token_hex(16), str(int(time.time()) + GOOD_FOR_S)
    credentials = {
        "AccessKeyId": f"STS.{name}",
        "AccessKeySecret": secret_of(at.url_key, name, expires),
        "SecurityToken": expires,
    }
    return wire.reply(
        {
            "credentials": credentials,
            "ossRegion": f"oss-{at.settings.region}",
            "ossBucket": BUCKET,
            "objectName": f"{UPLOADS}/{name}",
        }
    )


async def put(request: Request) -> Response:
    """The object: a zip of code."""
    at, name = context(request), wire.path_name(request, "upload")
    if not _is_signed(request, at.url_key, name, time.time()):
        message = f"upload '{wire.shorten(name)}' is not signed by its token, or that ended: ask for another"
        raise AccessDenied(message)
    zip_bytes = await wire.read_body(request, at.limits.code_body_bytes_max)
    digest = request.headers.get("content-md5", "")
    md5 = base64.b64encode(hashlib.md5(zip_bytes, usedforsecurity=False).digest()).decode()
    if digest not in ("", md5):
        raise InvalidArgument(f"header Content-MD5 is '{wire.shorten(digest)}': the body's is '{md5}'")
    at.uploads.keep(name, await at.code.put(zip_bytes))
    return Response(status_code=200, headers={"etag": f'"{hashlib.sha256(zip_bytes).hexdigest()}"'})


async def uploaded(at: Context, code: dict[str, Any]) -> bytes:
    """The zip that `code` names by ossBucketName and ossObjectName, in any case.

    Raises:
        InvalidArgument: it names no upload of ours.
    """
    given = {key.lower(): value for key, value in code.items()}
    bucket, name = given.get("ossbucketname"), given.get("ossobjectname")
    if bucket is None or name is None:
        allowed = "zipFile (base64), or ossBucketName and ossObjectName, are allowed"
        raise InvalidArgument(f"code has {', '.join(sorted(code))}: {allowed}")
    if bucket != BUCKET:
        raise InvalidArgument(f"code.ossBucketName is '{wire.shorten(str(bucket))}': must be {BUCKET}, or give zipFile")
    sha256 = at.uploads.sha256_of(str(name).rpartition("/")[2])
    if sha256 is None:
        raise _not_there(name)
    try:
        return await at.code.get(sha256)
    except NotFound:
        raise _not_there(name) from None


def _not_there(name: object) -> InvalidArgument:
    """It never came, or so long ago that it has been taken away again."""
    given = wire.shorten(str(name))
    return InvalidArgument(f"code.ossObjectName is '{given}': must be what was uploaded; upload the code again")


def secret_of(key: bytes, name: str, expires: str) -> str:
    return hmac.digest(key, f"PUT {UPLOADS}/{name} {expires}".encode(), hashlib.sha256).hex()


def string_to_sign(account: str, name: str, headers: dict[str, str]) -> str:
    """What OSS's signature of version 1 is made of. `headers` by lower-case name."""
    named = sorted((key, value.strip()) for key, value in headers.items() if key.startswith("x-oss-"))
    return "\n".join(
        (
            "PUT",
            headers.get("content-md5", ""),
            headers.get("content-type", ""),
            headers.get("x-oss-date") or headers.get("date", ""),
            *(f"{key}:{value}" for key, value in named),
            f"/{BUCKET}/{account}/{UPLOADS}/{name}",
        )
    )


def _is_signed(request: Request, key: bytes, name: str, now_s: float) -> bool:
    headers = dict(request.headers)
    expires = headers.get("x-oss-security-token", "")
    if not (expires.isascii() and expires.isdecimal() and len(expires) <= _EXPIRES_CHARS_MAX) or int(expires) < now_s:
        return False
    text = string_to_sign(wire.path_name(request, "account"), name, headers)
    wanted = base64.b64encode(hmac.digest(secret_of(key, name, expires).encode(), text.encode(), "sha1")).decode()
    given = headers.get("authorization", "").rpartition(":")[2]
    return hmac.compare_digest(wanted.encode(), given.encode("utf-8", "surrogateescape"))
