"""Latencies counted in buckets that grow by 2 %: percentiles of any number of requests in a few hundred numbers.

A bucket is named by an integer, so two histograms add up by adding counts, and one travels as a small JSON object.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, Self

GROWTH: Final = 1.02  # a percentile is off by 1 % at most: finer than two runs agree
SMALLEST_MS: Final = 0.01  # bucket 0 holds everything up to here
BUCKET_MAX: Final = 1000  # 0.01 ms × 1.02^1000 = 66 minutes: above the longest client time-out


class Histogram:
    """Counts of latencies by bucket."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self._counts: Counter[int] = Counter(counts or {})

    @classmethod
    def merged(cls, parts: Iterable[Histogram]) -> Self:
        whole = cls()
        for part in parts:
            whole._counts.update(part._counts)
        return whole

    @classmethod
    def from_json(cls, counts: Mapping[str, int]) -> Self:
        return cls({int(bucket): n for bucket, n in counts.items()})

    def to_json(self) -> dict[str, int]:
        return {str(bucket): n for bucket, n in sorted(self._counts.items())}

    def add(self, latency_ms: float) -> None:
        self._counts[bucket_of(latency_ms)] += 1

    @property
    def total(self) -> int:
        return self._counts.total()

    def percentile(self, share: float) -> float | None:
        """The latency in ms that `share` (0..1] of the requests stay within; None when there are none."""
        rank = math.ceil(share * self.total)
        for bucket in sorted(self._counts):
            rank -= self._counts[bucket]
            if rank <= 0:
                return middle_ms(bucket)
        return None


def bucket_of(latency_ms: float) -> int:
    if latency_ms <= SMALLEST_MS:
        return 0
    return min(BUCKET_MAX, math.ceil(math.log(latency_ms / SMALLEST_MS, GROWTH)))


def middle_ms(bucket: int) -> float:
    """What a bucket stands for: the geometric middle of its two edges."""
    return SMALLEST_MS * math.pow(GROWTH, bucket - 0.5)
