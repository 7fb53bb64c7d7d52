"""One function's trouble is not another's: the loop over all of them goes on."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from control_plane.errors import StokeError, Unavailable
from runtime.contract import VersionKey

log = logging.getLogger(__name__)


@contextlib.contextmanager
def trouble_of(key: VersionKey) -> Iterator[None]:
    """Errors in here are logged as this function version's; Unavailable is everybody's, and passes."""
    try:
        yield
    except Unavailable:
        raise
    except StokeError as error:
        log.warning("autoscale.function_skipped function=%s error=%s", "/".join(key), error)
