"""The engine of a module's tests, once Docker and, in long runs, once Podman."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loadtests import engine as engines
from loadtests.engine import PrivateEngine
from loadtests.podman import PodmanEngine, why_not_podman


@pytest.fixture(scope="module", params=["docker", pytest.param("podman", marks=pytest.mark.long)])
def engine(request: pytest.FixtureRequest) -> Iterator[PrivateEngine]:
    """In its network. Skips with the reason where it cannot be had."""
    kinds = {"docker": (PrivateEngine, engines.why_not), "podman": (PodmanEngine, why_not_podman)}
    kind, why_not = kinds[request.param]
    if why := why_not():
        pytest.skip(why)
    engine = engines.shared_engine(kind)
    with engine.network():
        yield engine
