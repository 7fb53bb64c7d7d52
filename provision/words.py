"""How a count is said: one request, two requests."""

from __future__ import annotations


def counted(count: int | str, one: str, many: str = "") -> str:
    """`count` with its noun. It may be spelled already ("1,234"); `many` is for what takes more than an s."""
    return f"{count} {one}" if str(count) == "1" else f"{count} {many or one + 's'}"
