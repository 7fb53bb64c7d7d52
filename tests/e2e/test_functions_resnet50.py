"""The resnet50 folder: the real graph with weights that were drawn, served without code, and said to be untrained."""

from __future__ import annotations

import importlib.util
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.support.node import NodeProcess, http

FUNCTION = Path(__file__).parents[2] / "functions" / "resnet50"
WEIGHTS = 25_530_472  # of the published network, its batch normalizations folded into the convolutions

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("resnet50_make", FUNCTION / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_graph_has_the_weights_of_the_published_one_and_they_pack_small(make: ModuleType) -> None:
    graph = make.build()
    assert sum(weights.size for weights in graph.weights.values()) == WEIGHTS
    assert sum(node.op == "Conv" for node in graph.nodes) == 53
    some = graph.weights["conv40.weight"].tobytes()
    assert len(zlib.compress(some, 6)) < 0.3 * len(some)
    assert make.build().weights["conv40.weight"].tobytes() == some


async def test_it_is_served_without_code_and_says_that_it_is_untrained(node: NodeProcess, make: ModuleType) -> None:
    function = node.python(
        {"model.yaml": (FUNCTION / "model.yaml").read_text()},
        handler="model.yaml",
        initializer="true",
        initialization_timeout_s=120.0,
        launch_timeout_s=120.0,
        memory_mib=2048,
        instance_concurrency=8,
    )
    make.make(node.data / "code" / function.code_sha256 / "resnet50.onnx")
    status = await node.launched(function)
    picture = np.random.default_rng(1).standard_normal((1, 3, 224, 224)).round(2)
    async with http(status.address) as client:
        answer = (await client.post("/", json={"inputs": {"image": picture.tolist()}})).json()
    scores = np.array(answer["outputs"]["untrained_scores"])
    assert scores.shape == (1, 1000)
    assert np.isfinite(scores).all()
    assert 0.05 < scores.std() < 5.0, "numbers neither die out nor explode on their way through 50 layers"
