"""Trains the digit network and writes digits.onnx, with the held-out samples that tests and load tests use.

    pip install -e '.[train]' && python functions/digits/train.py

Data: scikit-learn's bundled copy of the test part of "Optical Recognition of Handwritten Digits" (UCI, CC BY 4.0).
The same seed gives the same split and, on the same kind of machine, the same weights.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import onnx
import torch
from image import INK_MAX, SIDE, ink_from_body
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
MODEL = HERE / "digits.onnx"
SAMPLES = ROOT / "tests" / "data" / "digits_heldout.npz"
PICTURES = ROOT / "loadtests" / "data" / "digits"

SEED = 7
HELD_OUT = 0.25  # of each digit
EPOCHS = 60
BATCH = 64
PICTURES_PER_DIGIT = 2
PICTURE_SCALE = 4  # 8×8 becomes 32×32, the size that the original scans had


class Network(nn.Module):
    """Two convolutions see strokes, one pooling forgives a shift, two layers decide: 38 thousand weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.dense1 = nn.Linear(32 * (SIDE // 2) ** 2, 64)
        self.dense2 = nn.Linear(64, 10)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        x = nn.functional.max_pool2d(x, 2).flatten(1)
        return self.dense2(self.dropout(torch.relu(self.dense1(x))))


def shifted(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each picture moved by up to one pixel each way, so that a client's framing need not be exact."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    places = torch.randint(0, 3, (len(images), 2), generator=generator).tolist()
    return torch.stack([padded[i, :, y : y + SIDE, x : x + SIDE] for i, (y, x) in enumerate(places)])


def train(images: np.ndarray, labels: np.ndarray) -> Network:
    generator = torch.Generator().manual_seed(SEED)
    torch.manual_seed(SEED)
    network = Network()
    x, y = torch.from_numpy(images[:, None] / np.float32(INK_MAX)), torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(x), generator=generator).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(shifted(x[chosen], generator)), y[chosen]).backward()
            optimizer.step()
        schedule.step()
    return network.eval()


def to_onnx(network: Network) -> onnx.ModelProto:
    """The graph written node by node: six operators need no exporter, and the file says the same for every version."""
    weights = [numpy_helper.from_array(value.numpy(), name) for name, value in network.state_dict().items()]
    nodes = [
        helper.make_node("Conv", ["image", "conv1.weight", "conv1.bias"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "conv2.weight", "conv2.bias"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("MaxPool", ["r2"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense1.weight", "dense1.bias"], ["d1"], transB=1),
        helper.make_node("Relu", ["d1"], ["r3"]),
        helper.make_node("Gemm", ["r3", "dense2.weight", "dense2.bias"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 10])],
        weights,
    )
    # IR 8 with opset 17 is read by every ONNX Runtime since 1.13.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def gray_png(pixels: np.ndarray) -> bytes:
    """An 8-bit gray PNG of (height, width) numbers."""
    height, width = pixels.shape
    lines = b"".join(b"\0" + row.tobytes() for row in pixels.astype(np.uint8))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(lines, 9)))
    body = b"".join(_chunk(kind, data) for kind, data in (*chunks, (b"IEND", b"")))
    return b"\x89PNG\r\n\x1a\n" + body


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def picture(ink: np.ndarray) -> bytes:
    """Dark ink on white paper, as a scan looks."""
    return gray_png(np.kron(255 - np.round(ink * (255 / INK_MAX)), np.ones((PICTURE_SCALE, PICTURE_SCALE))))


def write_pictures(images: np.ndarray, labels: np.ndarray) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    for digit in range(10):
        for number, index in enumerate(np.flatnonzero(labels == digit)[:PICTURES_PER_DIGIT]):
            (PICTURES / f"{digit}-{number}.png").write_bytes(picture(images[index]))


def accuracy(network: Network, images: np.ndarray, labels: np.ndarray) -> float:
    with torch.no_grad():
        found = network(torch.from_numpy(images[:, None] / np.float32(INK_MAX))).argmax(dim=1).numpy()
    return float((found == labels).mean())


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    data = load_digits()
    images, labels = data.images.astype(np.float32), data.target.astype(np.int64)
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels, test_size=HELD_OUT, random_state=SEED, stratify=labels
    )
    network = train(train_x, train_y)
    onnx.save(to_onnx(network), MODEL)
    np.savez_compressed(SAMPLES, images=test_x.astype(np.uint8), labels=test_y.astype(np.uint8))
    write_pictures(test_x, test_y)
    pictured = np.stack([ink_from_body(picture(image)) for image in test_x])
    print(f"trained on {len(train_x)}, held out {len(test_x)}; {MODEL.name}: {MODEL.stat().st_size} bytes")
    print(f"accuracy on the training part: {accuracy(network, train_x, train_y):.4f}")
    print(f"accuracy held out, 8×8 numbers: {accuracy(network, test_x, test_y):.4f}")
    print(f"accuracy held out, as PNG: {accuracy(network, pictured, test_y):.4f}")


if __name__ == "__main__":
    main()
