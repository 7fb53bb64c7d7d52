"""One function's trouble is not another's: the loop over all of them goes on."""

from __future__ import annotations

import logging
from types import TracebackType

from control_plane.errors import StokeError, Unavailable
from runtime.contract import VersionKey

log = logging.getLogger(__name__)


class TroubleOf:
    """Errors within, also mistakes of ours, are logged as this function version's; Unavailable is for all, and passes.
    Entered thousands of times a second, so it is no generator."""

    __slots__ = ("_key",)

    def __init__(self, key: VersionKey) -> None:
        self._key = key

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if not isinstance(error, Exception) or isinstance(error, Unavailable):
            return False
        if isinstance(error, StokeError):
            log.warning("autoscale.function_skipped function=%s error=%s", "/".join(self._key), error)
        else:
            log.error("autoscale.function_failed function=%s", "/".join(self._key), exc_info=error)
        return True
