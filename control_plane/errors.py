"""One family of errors, sorted by whose fault it is. Each carries Function Compute's ErrorCode and an HTTP status.

`api/` turns them into responses in one place; adapters translate a library's exceptions where they enter.
Codes and statuses are those of the FC API reference ("Error codes").
"""

from __future__ import annotations


class StokeError(Exception):
    """Base of all errors that a user may see. `code` is FC's ErrorCode."""

    code: str = "InternalServerError"
    status: int = 500

    def __init__(self, message: str, *, code: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status


class RequestError(StokeError):
    """The caller's fault: 4xx."""

    code = "InvalidArgument"
    status = 400


class PlatformError(StokeError):
    """Ours, or a backend's: 5xx. 503 where trying again may help, as FC clients retry 500 and 502 by themselves."""

    code = "InternalServerError"
    status = 500


class AccessDenied(RequestError):
    """Who asks may not, or has not shown who it is."""

    code = "AccessDenied"
    status = 403


class MethodNotAllowed(RequestError):
    code = "MethodNotAllowed"
    status = 405


class InvalidArgument(RequestError):
    """A field has a value that is not allowed. The message names the field, the value and what is allowed."""


class NotFound(RequestError):
    """`what` is the noun of FC's code: Service, Function, Version, Alias, Trigger, ProvisionConfig."""

    status = 404

    def __init__(self, what: str, message: str) -> None:
        super().__init__(message, code=f"{what}NotFound")


class AlreadyExists(RequestError):
    status = 409

    def __init__(self, what: str, message: str) -> None:
        super().__init__(message, code=f"{what}AlreadyExists")


class NotEmpty(RequestError):
    """What is to be deleted still holds something: ServiceNotEmpty, FunctionNotEmpty (412)."""

    status = 412

    def __init__(self, what: str, message: str) -> None:
        super().__init__(message, code=f"{what}NotEmpty")


class InUse(RequestError):
    """What is to be deleted is still pointed at by something else: VersionInUse (412)."""

    status = 412

    def __init__(self, what: str, message: str) -> None:
        super().__init__(message, code=f"{what}InUse")


class ConcurrentUpdate(RequestError):
    """The record changed while this change was being made, too often to try again here."""

    code = "ConcurrentUpdateError"
    status = 409


class PreconditionFailed(RequestError):
    code = "PreconditionFailed"
    status = 412


class EntityTooLarge(RequestError):
    code = "EntityTooLarge"
    status = 400


class Unavailable(PlatformError):
    code = "ServiceUnavailable"
    status = 503


class LaunchRefused(PlatformError):
    """A backend cannot start this instance, and says why; shown to users as `currentError`."""

    code = "ResourceExhausted"
    status = 429


class NoRoom(LaunchRefused):
    """The pool that was asked for has no room now; another one may have."""
