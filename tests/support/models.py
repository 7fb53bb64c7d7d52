"""Small models that tests serve."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from loadtests.onnx_graph import Node, Tensor, write, write_mlp

ROWS = np.array([[1, 10], [2, 20], [3, 30]], dtype=np.float32)


def picks(path: Path) -> Path:
    """`row` [n], a number from 0 to 2, gives `values` [n, 2] of ROWS; any other number fails."""
    given, got = Tensor("row", "int64", ["n"]), Tensor("values", "float32", ["n", 2])
    return write(path, [Node("Gather", ["table", "row"], ["values"])], [given], [got], {"table": ROWS})


def uniques(path: Path) -> Path:
    """`x` [n] gives `y` [m], the numbers in it without repetition: no batch, though all of its axes are free."""
    given, got = Tensor("x", "float32", ["n"]), Tensor("y", "float32", ["m"])
    return write(path, [Node("Unique", ["x"], ["y"])], [given], [got])


def ones(path: Path) -> Path:
    """`x` [n, 2] gives `y` [n, 2], the same, of one row: in spite of its axes it fails on more. Nobody sees that ahead,
    as what it is shaped by is reckoned."""
    nodes = [
        Node("Shape", ["x"], ["shape"]),
        Node("Min", ["shape", "one"], ["least"]),
        Node("Reshape", ["x", "least"], ["y"]),
    ]
    given, got = Tensor("x", "float32", ["n", 2]), Tensor("y", "float32", ["n", 2])
    return write(path, nodes, [given], [got], {"one": np.array([1, 2])})


def nonzeros(path: Path) -> Path:
    """`x` [n] gives `y` [1, m], the places where it is not 0: its shape follows from the values."""
    given, got = Tensor("x", "float32", ["n"]), Tensor("y", "int64", [1, "m"])
    return write(path, [Node("NonZero", ["x"], ["y"])], [given], [got])


def echoes(path: Path) -> Path:
    """`text` [n] gives `said` [n], the same."""
    nodes = [Node("Identity", ["text"], ["said"])]
    return write(path, nodes, [Tensor("text", "str", ["n"])], [Tensor("said", "str", ["n"])])


def fixed(path: Path) -> Path:
    """`x` [4, 2] gives `y` [4, 2], twice as much; never another number of rows."""
    nodes = [Node("Add", ["x", "x"], ["y"])]
    return write(path, nodes, [Tensor("x", "float32", [4, 2])], [Tensor("y", "float32", [4, 2])])


def bfloats(path: Path) -> Path:
    """`x` [n, 2] gives `y` [n, 2], twice as much, both BF16; and `z`, the same in FP32."""
    nodes = [
        Node("Cast", ["x"], ["wide"], {"to": 1}),
        Node("Add", ["wide", "wide"], ["z"]),
        Node("Cast", ["z"], ["y"], {"to": 16}),
    ]
    got = [Tensor("y", "bfloat16", ["n", 2]), Tensor("z", "float32", ["n", 2])]
    return write(path, nodes, [Tensor("x", "bfloat16", ["n", 2])], got)


def sequences(path: Path) -> Path:
    """`x` [n, length] gives `y`, the same doubled."""
    nodes = [Node("Add", ["x", "x"], ["y"])]
    given, got = Tensor("x", "float32", ["n", "length"]), Tensor("y", "float32", ["n", "length"])
    return write(path, nodes, [given], [got])


__all__ = ["ROWS", "bfloats", "echoes", "fixed", "nonzeros", "ones", "picks", "sequences", "uniques", "write_mlp"]
