"""Writes resnet50.onnx: the graph of ResNet-50 with weights that were drawn, not trained.

    python functions/resnet50/make.py      # from the root of the repository; some seconds

The graph is the real one (25.6 million weights, 4.1 billion multiplications a picture), with its batch normalizations
folded into the convolutions as exporters do it. The weights come from a seed: it takes the time and the memory of a
ResNet-50, and what it says of a picture means nothing. They are multiples of a power of two with 5 bits, so that the
98 MiB pack into less than a third for a deployment. The same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))  # run as a script, it has its own folder in the path alone

from loadtests.onnx_graph import Node, Tensor, write  # noqa: E402

SEED = 50
STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))  # blocks, and channels inside each
EXPANSION = 4
CLASSES = 1000
LEVELS = 15  # a weight is a whole number from -15 to 15 times its layer's step


class Graph:
    """Nodes and weights, as they are added."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[Node] = []
        self.weights: dict[str, np.ndarray] = {}
        self._draw = np.random.default_rng(seed)
        self._names = self._numbered()

    @staticmethod
    def _numbered() -> Iterator[str]:
        number = 0
        while True:
            yield f"t{number}"
            number += 1

    def add(self, op: str, inputs: list[str], output: str = "", **attributes: int | list[int]) -> str:
        output = output or next(self._names)
        self.nodes.append(Node(op, inputs, [output], attributes))
        return output

    def convolution(self, at: str, into: int, out: int, side: int, stride: int = 1, gain: float = 2.0) -> str:
        """With the folded normalization's bias. `gain` keeps the size of the numbers the same from layer to layer."""
        name = f"conv{len(self.weights) // 2}"
        self.weights[f"{name}.weight"] = self._drawn((out, into, side, side), gain / (into * side * side))
        self.weights[f"{name}.bias"] = np.zeros(out, np.float32)
        pad = side // 2
        return self.add(
            "Conv",
            [at, f"{name}.weight", f"{name}.bias"],
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=[pad, pad, pad, pad],
        )

    def dense(self, at: str, into: int, out: int, output: str) -> str:
        self.weights["fc.weight"] = self._drawn((out, into), 1.0 / into)
        self.weights["fc.bias"] = np.zeros(out, np.float32)
        return self.add("Gemm", [at, "fc.weight", "fc.bias"], output, transB=1)

    def _drawn(self, shape: tuple[int, ...], variance: float) -> np.ndarray:
        """Whole numbers times a power of two, of about this variance."""
        spread = math.sqrt(LEVELS * (LEVELS + 1) / 3)
        step = 2.0 ** round(math.log2(math.sqrt(variance) / spread))
        return self._draw.integers(-LEVELS, LEVELS + 1, shape).astype(np.float32) * np.float32(step)


def build(seed: int = SEED) -> Graph:
    graph = Graph(seed)
    at = graph.add("Relu", [graph.convolution("image", 3, 64, 7, 2)])
    at = graph.add("MaxPool", [at], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, (blocks, inside) in enumerate(STAGES):
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 0 else 1
            at = _bottleneck(graph, at, channels, inside, stride)
            channels = inside * EXPANSION
    at = graph.add("Flatten", [graph.add("GlobalAveragePool", [at])], axis=1)
    graph.dense(at, channels, CLASSES, "untrained_scores")
    return graph


def _bottleneck(graph: Graph, at: str, channels: int, inside: int, stride: int) -> str:
    """1 by 1, 3 by 3 (which strides, as in version 1.5), 1 by 1, and the way around them."""
    out = inside * EXPANSION
    around = at if channels == out and stride == 1 else graph.convolution(at, channels, out, 1, stride, gain=0.5)
    inner = graph.add("Relu", [graph.convolution(at, channels, inside, 1)])
    inner = graph.add("Relu", [graph.convolution(inner, inside, inside, 3, stride)])
    inner = graph.convolution(inner, inside, out, 1, gain=0.5)
    return graph.add("Relu", [graph.add("Add", [inner, around])])


def make(path: Path, seed: int = SEED) -> Path:
    graph = build(seed)
    image = Tensor("image", "float32", ("n", 3, 224, 224))
    scores = Tensor("untrained_scores", "float32", ("n", CLASSES))
    return write(path, graph.nodes, [image], [scores], graph.weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "resnet50.onnx")
    print(make(parser.parse_args().out))


if __name__ == "__main__":
    main()
