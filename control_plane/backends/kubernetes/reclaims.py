"""Which nodes will be taken away, and when: told by a taint that whoever watches the cloud's notices sets. Pure.

A taint has no deadline in it, so it is reckoned from when the taint was set, or first seen, and the notice that the
cloud gives.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any


class Reclaims:
    """Of all nodes, as last seen."""

    def __init__(self, taints: Collection[str], notice_s: float) -> None:
        self._taints = frozenset(taints)
        self._notice_s = notice_s
        self._at_s: dict[str, float] = {}

    def look(self, nodes: Iterable[Mapping[str, Any]], now_s: float) -> frozenset[str]:
        """Take note of all of them at `now_s` (UTC); gives the nodes that notice was given of since the last look."""
        told = {}
        for node in nodes:
            name = str(node["metadata"]["name"])
            for taint in (node.get("spec") or {}).get("taints") or ():
                if taint.get("key") in self._taints:
                    told[name] = self._at_s.get(name, _seconds(taint.get("timeAdded"), now_s) + self._notice_s)
        new = frozenset(told.keys() - self._at_s.keys())
        self._at_s = told
        return new

    def at_s(self, node: str) -> float:
        """When it goes, UTC seconds; 0: nothing is known of that."""
        return self._at_s.get(node, 0.0)


def _seconds(text: Any, now_s: float) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return now_s
