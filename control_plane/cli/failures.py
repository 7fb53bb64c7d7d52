"""What can go wrong in a command, as exceptions that carry the exit code scripts see.

0 done · 1 refused by the server, or it failed · 2 bad input, nothing was sent · 3 Stoke cannot be reached.
"""

from __future__ import annotations

from typing import Final

EXIT_FAILED: Final = 1
EXIT_BAD_INPUT: Final = 2
EXIT_UNREACHABLE: Final = 3


class CliError(Exception):
    """Base: `main` prints the message on stderr and exits with `exit_code`."""

    exit_code = EXIT_FAILED


class Failed(CliError):
    """It was tried and did not work: a function error, an instance that does not start, a time limit."""


class BadInput(CliError):
    """A file, a field or an option is wrong. Raised before the first request that changes something."""

    exit_code = EXIT_BAD_INPUT


class Unreachable(CliError):
    """Nothing answers where Stoke should be."""

    exit_code = EXIT_UNREACHABLE


class ServerError(CliError):
    """The server said no. `code` is FC's ErrorCode, `status` the HTTP status."""

    def __init__(self, status: int, code: str, message: str, request_id: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id
