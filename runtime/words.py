"""How a count is said, as `provision/words.py` has it: neither package knows of the other."""

from __future__ import annotations


def counted(count: int | str, one: str, many: str = "") -> str:
    return f"{count} {one}" if str(count) == "1" else f"{count} {many or one + 's'}"
