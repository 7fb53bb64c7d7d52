"""Trains the spam network on the synthetic corpus and writes spam.onnx, vocabulary.json and the held-out samples.

    pip install -e '.[train]' && python functions/spam_detection/train.py [--folds]

With --folds nothing is written: each of the five ways to hold out a fifth of the templates is trained and measured.
The same seed gives the same messages and, on the same kind of machine, the same weights.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from corpus import FOLDS, SPAM, Message, generate, read_handwritten
from onnx import TensorProto, helper, numpy_helper
from tokens import PADDING, UNKNOWN, encode, number_words, tokenize
from torch import nn

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
MODEL = HERE / "spam.onnx"
VOCABULARY = HERE / "vocabulary.json"
SAMPLES = ROOT / "tests" / "data" / "spam_heldout.tsv"
LOAD_TEXTS = ROOT / "loadtests" / "data" / "spam.txt"

SEED = 11
FOLD = FOLDS - 1  # the templates that the shipped model never saw
TRAIN_MESSAGES = 12_000
TEST_MESSAGES = 2_000
SAMPLE_MESSAGES = 300  # of the held-out ones, kept for the tests
LOAD_MESSAGES = 100
WORD_COUNT_MIN = 3  # rarer words are slips of the finger
EMBEDDING, HIDDEN = 32, 32
EPOCHS = 5
BATCH = 64
FORGET = 0.2  # share of the words replaced by UNKNOWN in training, so that no verdict hangs on one of them


class Network(nn.Module):
    """Words as vectors, one LSTM reading each way, and the two last states decide."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, EMBEDDING, padding_idx=PADDING)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN, bidirectional=True)
        self.dense = nn.Linear(2 * HIDDEN, 2)
        self.dropout = nn.Dropout(0.4)

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        read = self.dropout(self.embedding(tokens).transpose(0, 1))
        packed = nn.utils.rnn.pack_padded_sequence(read, lengths, enforce_sorted=False)
        _, (last, _) = self.lstm(packed)
        return self.dense(self.dropout(last.transpose(0, 1).flatten(1)))


def learn_vocabulary(messages: Sequence[Message]) -> dict[str, int]:
    counts = Counter(token for message in messages for token in tokenize(message.text))
    words = sorted(word for word, count in counts.items() if count >= WORD_COUNT_MIN)
    return number_words(words)


def as_tensors(messages: Sequence[Message], vocabulary: dict[str, int]) -> tuple[torch.Tensor, ...]:
    tokens, lengths = encode([message.text for message in messages], vocabulary)
    labels = np.array([message.label for message in messages], np.int64)
    return torch.from_numpy(tokens), torch.from_numpy(lengths.astype(np.int64)), torch.from_numpy(labels)


def train(messages: Sequence[Message], vocabulary: dict[str, int]) -> Network:
    torch.manual_seed(SEED)
    network = Network(len(vocabulary) + UNKNOWN + 1)
    tokens, lengths, labels = as_tensors(messages, vocabulary)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(tokens)).split(BATCH):
            read = tokens[chosen, : int(lengths[chosen].max())]
            read = read.masked_fill((torch.rand(read.shape) < FORGET) & (read != PADDING), UNKNOWN)
            optimizer.zero_grad()
            scores = network(read, lengths[chosen])
            nn.functional.cross_entropy(scores, labels[chosen], label_smoothing=0.05).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        schedule.step()
    return network.eval()


def accuracy(network: Network, messages: Sequence[Message], vocabulary: dict[str, int]) -> tuple[float, float, float]:
    """(of all, of the spam how much was found, of the others how much was taken for spam)."""
    tokens, lengths, labels = as_tensors(messages, vocabulary)
    with torch.no_grad():
        found = network(tokens, lengths).argmax(dim=1)
    spam = labels == SPAM
    return tuple(round(float(part.float().mean()), 4) for part in (found == labels, found[spam], found[~spam]))


def reordered(weight: torch.Tensor) -> np.ndarray:
    """PyTorch stacks the gates as input, forget, cell, output; ONNX as input, output, forget, cell."""
    i, f, c, o = weight.numpy().reshape(4, HIDDEN, -1)
    return np.concatenate([i, o, f, c])


def lstm_weights(lstm: nn.LSTM) -> dict[str, np.ndarray]:
    """W, R and B of ONNX's LSTM, each with the two directions first."""
    values = lstm.state_dict()

    def both(name: str) -> np.ndarray:
        return np.stack([reordered(values[f"{name}_l0{way}"]) for way in ("", "_reverse")])

    bias = np.concatenate([both("bias_ih"), both("bias_hh")], axis=1).squeeze(2)
    return {"lstm.W": both("weight_ih"), "lstm.R": both("weight_hh"), "lstm.B": bias}


def to_onnx(network: Network) -> onnx.ModelProto:
    """The graph written node by node: ONNX's own LSTM knows lengths, so padding changes nothing in the answer."""
    weights = {
        "embedding": network.embedding.weight.detach().numpy(),
        "dense.weight": network.dense.weight.detach().numpy(),
        "dense.bias": network.dense.bias.detach().numpy(),
        **lstm_weights(network.lstm),
    }
    nodes = [
        helper.make_node("Gather", ["embedding", "tokens"], ["vectors"]),
        helper.make_node("Transpose", ["vectors"], ["steps"], perm=[1, 0, 2]),
        helper.make_node(
            "LSTM",
            ["steps", "lstm.W", "lstm.R", "lstm.B", "lengths"],
            ["", "last"],
            hidden_size=HIDDEN,
            direction="bidirectional",
        ),
        helper.make_node("Transpose", ["last"], ["sides"], perm=[1, 0, 2]),
        helper.make_node("Flatten", ["sides"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense.weight", "dense.bias"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "spam",
        [
            helper.make_tensor_value_info("tokens", TensorProto.INT64, ["n", "longest"]),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, ["n"]),
        ],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()],
    )
    # IR 8 with opset 17 is read by every ONNX Runtime since 1.13.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def write_samples(messages: Sequence[Message]) -> None:
    lines = [f"{'spam' if m.label == SPAM else 'not_spam'}\t{m.text}\n" for m in messages[:SAMPLE_MESSAGES]]
    SAMPLES.write_text("".join(lines), encoding="utf-8")
    LOAD_TEXTS.write_text("".join(f"{m.text}\n" for m in messages[-LOAD_MESSAGES:]), encoding="utf-8")


def measure(fold: int) -> tuple[Network, dict[str, int], list[Message]]:
    """(network, vocabulary, held-out messages) of one fold, its figures printed."""
    roll = random.Random(SEED)
    messages = generate(TRAIN_MESSAGES, roll, fold=fold, held_out=False)
    held_out = generate(TEST_MESSAGES, roll, fold=fold, held_out=True)
    vocabulary = learn_vocabulary(messages)
    network = train(messages, vocabulary)
    parts = {"training": messages, "held-out templates": held_out, "handwritten": read_handwritten()}
    for name, part in parts.items():
        right, found, mistaken = accuracy(network, part, vocabulary)
        print(f"{name}, {len(part)} messages: accuracy {right}, spam found {found}, others taken for spam {mistaken}")
    return network, vocabulary, held_out


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if "--folds" in sys.argv[1:]:
        for fold in range(FOLDS):
            print(f"fold {fold}")
            measure(fold)
        return
    network, vocabulary, held_out = measure(FOLD)
    VOCABULARY.write_text(json.dumps(list(vocabulary), ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    onnx.save(to_onnx(network), MODEL)
    write_samples(held_out)
    print(f"{len(vocabulary)} words; {MODEL.name}: {MODEL.stat().st_size} bytes")


if __name__ == "__main__":
    main()
