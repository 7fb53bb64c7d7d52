"""What the control plane shows to a Prometheus server that asks who it is: a token or a password, and whom it trusts.

A file of the operator's says it, by server. Secrets stand elsewhere, in a variable of the environment or a file that it
names, and are read anew for each question, so that a renewed one counts at once. A provision config never has any.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from control_plane.prometheus import is_allowed

SECRET_BYTES_MAX: Final = 16 * 1024  # a token with many claims is a few KiB
SERVERS_MAX: Final = 100


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel)


class Secret(_Strict):
    """Where a secret stands: one of the two."""

    env: Annotated[str, Field(min_length=1)] | None = None
    file: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("must have either env, the name of a variable, or file, a path")
        return self

    def read(self) -> str:
        """Raises ValueError, which names the place and not what is there."""
        if self.env is not None:
            found, place = os.environ.get(self.env, ""), f"the environment variable {self.env}"
        else:
            place = f"the file {self.file}"
            try:
                with Path(self.file or "").open(encoding="utf-8") as file:
                    found = file.read(SECRET_BYTES_MAX + 1).strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{place} cannot be read: {type(error).__name__}") from None
        if not found:
            raise ValueError(f"{place} has no secret")
        if len(found) > SECRET_BYTES_MAX or not found.isprintable():
            raise ValueError(f"{place} has no secret of one line with at most {SECRET_BYTES_MAX} bytes")
        return found


class Access(_Strict):
    """Of one server, and of what is under its path."""

    url: str
    bearer_token: Secret | None = None
    username: Annotated[str, Field(min_length=1, pattern="^[^:]*$")] | None = None
    password: Secret | None = None
    ca_file: str | None = None  # whom to trust instead of the system's authorities

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not is_allowed(self.url, [self.url]):
            plain = self.url.rpartition("@")[2]  # what stands before it could be a password
            raise ValueError(f"url is {plain}: must be an http:// or https:// URL without a user")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.bearer_token is not None and self.password is not None:
            raise ValueError("either bearerToken or username and password is allowed")
        if self.ca_file is not None and not self.url.startswith("https:"):
            raise ValueError(f"caFile is {self.ca_file}: only an https:// url has use for it")
        return self

    def headers(self) -> dict[str, str]:
        """What says who asks. Raises ValueError where the secret is not to be had."""
        if self.bearer_token is not None:
            return {"authorization": f"Bearer {self.bearer_token.read()}"}
        if self.username is not None and self.password is not None:
            pair = f"{self.username}:{self.password.read()}".encode()
            return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}
        return {}

    def trust(self) -> ssl.SSLContext:
        """Raises ValueError where the file with authorities is not one."""
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            said = f"prometheus_access: caFile is {self.ca_file}: must be a file with certificates ({error})"
            raise ValueError(said) from None


_SERVERS: Final = TypeAdapter(Annotated[list[Access], Field(max_length=SERVERS_MAX)])


def read_access(path: Path | None) -> tuple[Access, ...]:
    """Of a file that has a JSON list; nothing without one. Raises ValueError, with each mistake and where it is."""
    if path is None:
        return ()
    try:
        servers = tuple(_SERVERS.validate_json(path.read_bytes()))
    except OSError as error:
        raise ValueError(f"prometheus_access: {path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        # Without the values: somebody may have written a secret where the name of its place belongs.
        wrong = [f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in error.errors(include_input=False)]
        raise ValueError(f"prometheus_access: {path}: {'; '.join(wrong)}") from None
    for server in servers:
        server.trust()
    return servers


def access_of(url: str, servers: Iterable[Access]) -> Access | None:
    """The one for a URL; of several the one with the longest path."""
    fitting = [server for server in servers if is_allowed(url, [server.url])]
    return max(fitting, key=lambda server: len(server.url.rstrip("/")), default=None)
