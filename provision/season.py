"""The same time in past seasons: the mean of each five minutes of a day or a week, newer seasons counting more.

Two bytes a bucket, so that a week is 4 kB: the upper half of a 32-bit float, right to half a percent.
"""

from __future__ import annotations

import struct
from base64 import b85decode, b85encode
from dataclasses import dataclass
from typing import Final, Self

from provision.config import Season

BUCKET_S: Final = 300
LENGTH_S: Final = {Season.DAY: 86_400, Season.WEEK: 604_800}
# The last season counts half, the one before a quarter: a new habit shows the day after, one odd day is soon forgotten.
NEWEST_PART: Final = 0.5

_SIZE: Final = 2
_UNSEEN: Final = b"\xff\xff"  # as a number it is none
_MOST: Final = 1e38  # that the form can hold


@dataclass(frozen=True, slots=True)
class Profile:
    """What was usual at each time of a season. Without a season it knows nothing."""

    codes: bytes = b""

    @classmethod
    def of(cls, season: Season) -> Self:
        """Nothing seen yet."""
        return cls(_UNSEEN * (LENGTH_S.get(season, 0) // BUCKET_S))

    def fits(self, season: Season) -> bool:
        return len(self.codes) == _SIZE * (LENGTH_S.get(season, 0) // BUCKET_S)

    def at(self, bucket: int) -> float | None:
        """What was usual in a bucket, counted from any beginning of a season; None if it was never seen."""
        count = len(self.codes) // _SIZE
        if not count:
            return None
        start = bucket % count * _SIZE
        code = self.codes[start : start + _SIZE]
        return None if code == _UNSEEN else _decoded(code)

    def seen(self, bucket: int, mean: float) -> Profile:
        """With what a bucket's five minutes were this time."""
        count = len(self.codes) // _SIZE
        if not count:
            return self
        before = self.at(bucket)
        value = mean if before is None else before + NEWEST_PART * (mean - before)
        start = bucket % count * _SIZE
        return Profile(self.codes[:start] + _encoded(value) + self.codes[start + _SIZE :])

    def mean(self) -> float:
        """Over all that was seen, 0.0 if nothing was."""
        whole = struct.iter_unpack("2s", self.codes)
        values = [_decoded(code) for (code,) in whole if code != _UNSEEN]
        return sum(values) / len(values) if values else 0.0

    def to_text(self) -> str:
        return b85encode(self.codes).decode()

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Raises ValueError for a text that is none of these."""
        codes = b85decode(text)
        if len(codes) % _SIZE:
            raise ValueError("an odd number of bytes")
        return cls(codes)


def _encoded(value: float) -> bytes:
    """Rounded to the nearest, by half a unit of what is cut off."""
    (whole,) = struct.unpack(">I", struct.pack(">f", min(max(value, 0.0), _MOST)))
    return struct.pack(">H", (whole + 0x8000) >> 16)


def _decoded(code: bytes) -> float:
    value: float = struct.unpack(">f", code + b"\0\0")[0]
    return value
