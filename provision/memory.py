"""What a decision leaves for the next one. It goes to the store and back as JSON, and nothing is lost on the way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from pydantic_core import to_json

from provision.policies import Kept
from provision.tracking import Standing
from provision.windows import Bucket, Gauge, Usage

FORM: Final = 1  # of the JSON; another one is not read


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one provision config. A fresh one has seen nothing and decided nothing."""

    now: float = 0.0  # the last time seen, UTC seconds
    target: int | None = None  # the last decision's
    usage: Usage = field(default_factory=Usage)
    gauges: Mapping[str, Gauge] = field(default_factory=dict)  # by metric type
    standings: Mapping[str, Standing] = field(default_factory=dict)  # by policy name, of those in force
    kept: Mapping[str, Kept] = field(default_factory=dict)  # by policy name, of those that keep more than a standing

    def to_json(self) -> str:
        values: dict[str, Any] = {
            "form": FORM,
            "now": self.now,
            "target": self.target,
            "usage": tuple(zip(*self.usage, strict=True)),  # a list for each second
            "gauges": {name: gauge.readings for name, gauge in self.gauges.items()},
            "standings": {name: standing.to_values() for name, standing in self.standings.items()},
        }
        if self.kept:
            values["kept"] = {name: kept.to_values() for name, kept in self.kept.items()}
        return to_json(values).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """A fresh memory if the text is in another form: a minute of data is lost then, and no decision."""
        try:
            return cls._from_values(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()

    @classmethod
    def _from_values(cls, values: dict[str, Any]) -> Self:
        if values["form"] != FORM:
            return cls()
        return cls(
            now=values["now"],
            target=values["target"],
            usage=Usage.of([Bucket(*bucket) for bucket in values["usage"]]),
            gauges={n: Gauge(tuple((second, value) for second, value in g)) for n, g in values["gauges"].items()},
            standings={name: Standing(*standing) for name, standing in values["standings"].items()},
            kept={name: Kept.from_values(kept) for name, kept in values.get("kept", {}).items()},
        )
