"""What the tests share: a real store (one server for the whole run, empty for each test), and registries."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from loadtests.engine import end_shared_engine
from runtime.store import find_server
from tests.support.examples import register_profiles
from tests.support.registry import registry, registry_world
from tests.support.store import PrivateStore

__all__ = ["private_store", "registry", "registry_world", "store_server", "store_url"]


# A shell that runs this in the background has Ctrl-C ignored, and every process that a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Before anything imports onnxruntime: it would start to collect usage data otherwise.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
register_profiles()


@pytest.fixture(scope="session")
def store_server() -> Iterator[PrivateStore]:
    if find_server() is None:
        pytest.skip("no valkey-server or redis-server on this machine")
    with PrivateStore() as store:
        yield store


@pytest.fixture
def private_store() -> Iterator[PrivateStore]:
    """A store server for one test alone, which may kill and restart it."""
    if find_server() is None:
        pytest.skip("no valkey-server or redis-server on this machine")
    with PrivateStore() as store:
        yield store


@pytest.fixture
def store_url(store_server: PrivateStore) -> str:
    """`unix://…` of a private store server, empty at the start of the test. Connections are the test's to close."""
    store_server.flush()
    return store_server.url


def pytest_sessionfinish() -> None:
    end_shared_engine()
