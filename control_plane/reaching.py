"""What the store's client says when the store is away becomes ours, at the edge."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from control_plane.errors import Unavailable


@contextmanager
def reaching_the_store() -> Iterator[None]:
    """Raises Unavailable: the store cannot be reached, or does not answer. What was asked of it may have happened."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise Unavailable(f"the store cannot be reached: {error}") from error
