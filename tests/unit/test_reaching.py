"""A store that is away is told in our words, whatever its client says."""

from __future__ import annotations

import pytest
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as RedisConnectionError

from control_plane.errors import Unavailable
from control_plane.reaching import reaching_the_store


@pytest.mark.parametrize(
    "said", [RedisConnectionError("refused"), BusyLoadingError("loading"), OSError("broken pipe"), TimeoutError("late")]
)
def test_whatever_the_client_says_it_is_unavailable_with_the_clients_words(said: Exception) -> None:
    with pytest.raises(Unavailable, match=f"the store cannot be reached: {said}"), reaching_the_store():
        raise said


def test_what_is_no_fault_of_the_store_passes() -> None:
    with pytest.raises(ValueError, match="ours"), reaching_the_store():
        raise ValueError("ours")
