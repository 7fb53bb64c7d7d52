"""The header rules of an alias (FC's routePolicy): which requests go to its other version. Pure.

An item compares one header field, cookie or parameter of the query with a value. A request that does not have it
matches no item, not even `!=`: nobody should get to a new version by leaving something out. `percent` takes that
share of the values that there are, always the same ones, so a user who was let in once is not turned away by the next
request.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

from runtime.traffic.asked import Asked

RANDOM: Final = "Random"  # the resolvePolicy by which weights decide
CONTENT: Final = "Content"  # the one by which rules do
ITEMS_MAX: Final = 100
_TYPES: Final = ("Header", "Cookie", "Param")
_COMPARED: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "prefix": str.startswith,
}
_PERCENT: Final = ("percent", "percentage")
OPERATORS: Final = (*_COMPARED, "in", *_PERCENT)


@dataclass(frozen=True, slots=True)
class Item:
    kind: str
    key: str
    compare: Callable[[str], bool]

    def matches(self, asked: Asked) -> bool:
        given = asked.value(self.kind, self.key)
        return given is not None and self.compare(given)


@dataclass(frozen=True, slots=True)
class Rules:
    items: tuple[Item, ...]
    needs_all: bool  # AND; else one is enough

    def match(self, asked: Asked) -> bool:
        """Whether a request goes to the other version. No item, no match."""
        if not self.items:
            return False
        found = (item.matches(asked) for item in self.items)
        return all(found) if self.needs_all else any(found)


def parse_rules(policy: Mapping[str, Any]) -> Rules:
    """FC's routePolicy.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """
    condition = policy.get("condition") or "AND"
    if condition not in ("AND", "OR"):
        raise ValueError(f"routePolicy.condition is {_shown(condition)}: must be AND or OR")
    items = policy.get("policyItems") or []
    if not isinstance(items, list) or len(items) > ITEMS_MAX:
        raise ValueError(f"routePolicy.policyItems is {_shown(items)}: must be a list of at most {ITEMS_MAX} items")
    return Rules(
        tuple(_item(f"routePolicy.policyItems[{n}]", each) for n, each in enumerate(items)), condition == "AND"
    )


def _item(where: str, given: Any) -> Item:
    if not isinstance(given, dict):
        raise ValueError(f"{where} is {_shown(given)}: must be an object")
    kind, key, how, value = (given.get(name) for name in ("type", "key", "operator", "value"))
    known = {each.lower(): each for each in _TYPES}.get(str(kind).lower())
    if known is None:
        raise ValueError(f"{where}.type is {_shown(kind)}: must be one of {', '.join(_TYPES)}")
    if not isinstance(key, str) or not key:
        raise ValueError(f"{where}.key is {_shown(key)}: must be the name of a {known.lower()}")
    if not isinstance(value, str):
        raise ValueError(f"{where}.value is {_shown(value)}: must be a string")
    if how in _PERCENT:
        return Item(known, key, _percent(where, key, value))
    if how == "in":
        allowed = frozenset(each.strip() for each in value.strip("[]").split(","))
        return Item(known, key, allowed.__contains__)
    compare = _COMPARED.get(str(how))
    if compare is None:
        raise ValueError(f"{where}.operator is {_shown(how)}: must be one of {', '.join(OPERATORS)}")
    return Item(known, key, lambda text: compare(text, value))


def _percent(where: str, key: str, value: str) -> Callable[[str], bool]:
    if not (value.isascii() and value.isdecimal() and 1 <= int(value) <= 100):
        raise ValueError(f"{where}.value is {_shown(value)}: must be a whole number from 1 to 100")
    bound = int(value) * (1 << 32) // 100
    start = crc32(key.encode())
    # Multiplied by an odd number, as values that differ in their last digits alone are near each other otherwise.
    return lambda text: (crc32(text.encode("utf-8", "replace"), start) * 2654435761 & 0xFFFFFFFF) < bound


def _shown(value: Any) -> str:
    return repr(value)[:80]
