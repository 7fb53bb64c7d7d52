"""How long a function version takes from a launch until READY, `/initialize` included: the median of recent launches.

Pure: durations in, a median out. The keeper notes each instance that becomes READY, and, after a restart, each one it
adopts that is so; the autoscaler hands `seconds_of` to decisions as `Seen.launch_s`.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Final

from runtime.contract import VersionKey

# Few enough that new code or a warmer cache shows after some launches; odd, so that one slow launch is never a median.
RECENT_MAX: Final = 9
# Longer than FC lets a launch (120 s) and an initializer (300 s) take: a clock was set meanwhile.
LAUNCH_S_MAX: Final = 600.0
VERSIONS_MAX: Final = 20_000  # remembered; those that launched longest ago go first


class LaunchTimes:
    """The last launches of each function version.

    `note(key, launched_at_s, ready_at_s)`: one launch that succeeded; both in UTC seconds.
    `seconds_of(key)`: the median of the last RECENT_MAX of them, in seconds; None before the first one. A failed launch
    is none: it says how long a failure takes.
    """

    def __init__(self) -> None:
        self._recent: dict[VersionKey, deque[float]] = {}
        self._medians: dict[VersionKey, float] = {}

    def note(self, key: VersionKey, launched_at_s: float, ready_at_s: float) -> None:
        """Take in a launch. One that a step of the clock has made shorter than nothing, or endless, is left out."""
        took_s = ready_at_s - launched_at_s
        if not 0.0 <= took_s <= LAUNCH_S_MAX:
            return
        recent = self._recent.pop(key, None) or deque[float](maxlen=RECENT_MAX)
        recent.append(took_s)
        self._recent[key] = recent  # the last in order: of all versions it launched last
        self._medians[key] = median(recent)
        if len(self._recent) > VERSIONS_MAX:
            oldest = next(iter(self._recent))
            del self._recent[oldest], self._medians[oldest]

    def seconds_of(self, key: VersionKey) -> float | None:
        """The median of the recent launches of a function version, None while there was none."""
        return self._medians.get(key)
