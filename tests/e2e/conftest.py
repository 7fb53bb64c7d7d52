"""A real node for the tests of a module; one that needs other options makes its own `process`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.node import NodeProcess, running_node


@pytest.fixture(scope="module")
def process() -> Iterator[NodeProcess]:
    with running_node() as node:
        yield node


@pytest.fixture
async def node(process: NodeProcess) -> AsyncIterator[NodeProcess]:
    async with process.session():
        yield process
