"""What a node answers when it cannot do what was asked, and what ends an instance's life."""

from __future__ import annotations


class CallError(Exception):
    """An answer with `ok: false`."""

    code = "InternalError"


class InvalidArgument(CallError):
    code = "InvalidArgument"


class LaunchRefused(CallError):
    """This node can never run the instance as it is."""

    code = "LaunchRefused"


class NotFound(CallError):
    code = "NotFound"


class Failure(Exception):
    """An instance became FAILED; the message is its reason, as users read it."""


class StopAsked(Exception):
    """Whatever the instance was waiting for, it is to stop now."""
