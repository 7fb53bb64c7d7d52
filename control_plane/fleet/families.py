"""Families of NVIDIA's cards: which one a card belongs to, and which one FC's `instanceType` asks for. Pure."""

from __future__ import annotations

import re
from typing import Final

Capability = tuple[int, int]  # CUDA's compute capability: (8, 6) is 8.6

# By the lowest compute capability of each, the newest first. Ada's 8.9 lies within Ampere's 8.x.
FAMILIES: Final[tuple[tuple[str, Capability], ...]] = (
    ("blackwell", (10, 0)),
    ("hopper", (9, 0)),
    ("ada", (8, 9)),
    ("ampere", (8, 0)),
    ("turing", (7, 5)),
    ("volta", (7, 0)),
    ("pascal", (6, 0)),
    ("maxwell", (5, 0)),
)
_LOWEST: Final = dict(FAMILIES)
# FC's "tesla" is NVIDIA's T4; g1 is the older name of the same.
_NAMED_BY_FC: Final = {"tesla": "turing"}
_TYPE: Final = re.compile(r"fc\.gpu\.([a-z]+)\.\d+")


def capability(text: str) -> Capability | None:
    """Of "8.6"; None for what is no such text, as where the driver does not tell."""
    major, _, minor = text.partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


def family(of: Capability | None) -> str:
    """Its name, "" if it is not known or older than all of them."""
    return next((name for name, lowest in FAMILIES if of is not None and of >= lowest), "")


def family_asked(instance_type: str) -> str:
    """`fc.gpu.ampere.1` → "ampere"; "" for a type that asks for no family of NVIDIA's."""
    if instance_type == "g1":
        return "turing"
    match = _TYPE.fullmatch(instance_type)
    named = _NAMED_BY_FC.get(match[1], match[1]) if match else ""
    return named if named in _LOWEST else ""


def is_at_least(of: Capability, asked: str) -> bool:
    """Is a card of this family or a newer one?"""
    return of >= _LOWEST[asked]


def generations_above(of: Capability, asked: str) -> int:
    """How many families newer a card is than asked for."""
    names = [name for name, _ in FAMILIES]
    return names.index(asked) - names.index(family(of))
