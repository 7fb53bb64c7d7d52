"""What a model folder's `model.yaml` says. All of it has a default, so that a bare ONNX file is served as well.

Only what a file says by itself is checked here; whether its graph agrees is seen when it is loaded (`graph.py`). It is
msgspec that reads it, as this is imported while a model starts: pydantic alone would take as long as a small model.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct, field

from runtime.models.errors import ModelUnusable
from runtime.models.tensors import DTYPES

FILE_NAME: Final = "model.yaml"
FILE_BYTES_MAX: Final = 1024 * 1024
MIB: Final = 2**20
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

PROVIDERS: Final = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}

Axis = Annotated[int, Meta(ge=-1)]
Size = Annotated[int, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0)]


class TensorNote(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What is said of one input or output beyond what the graph says; what is said twice must agree."""

    name: str
    datatype: str | None = None
    shape: Annotated[list[Axis], Meta(max_length=16)] | None = None
    labels: str | list[str] | None = None  # of the last axis: a list, or a file with one a line

    def __post_init__(self) -> None:
        if self.datatype is not None and self.datatype not in DTYPES:
            raise ValueError(f"datatype is '{self.datatype}': must be one of {', '.join(DTYPES)}")


class Batching(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`max_batch_size` 0: requests are run one by one, and their first axis is their own affair."""

    max_batch_size: Annotated[int, Meta(ge=0, le=4096)] | None = None
    latency_target_ms: Annotated[float, Meta(gt=0, le=3_600_000)] = 100.0
    buckets: Annotated[list[Count], Meta(min_length=1, max_length=64)] | None = None

    def __post_init__(self) -> None:
        buckets = self.buckets
        if buckets is None:
            return
        if buckets != sorted(set(buckets)):
            raise ValueError(f"buckets is {buckets}: must ascend")
        if self.max_batch_size is not None and self.max_batch_size != buckets[-1]:
            raise ValueError(f"buckets ends with {buckets[-1]}: must end with maxBatchSize, {self.max_batch_size}")


class WarmUpInput(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One row of an input for the warm-up: by values, from a `.npy` file, or random in a range."""

    value: Any = None  # a number or text for all elements, or nested lists of one row
    file: str | None = None
    random: Annotated[list[float], Meta(min_length=2, max_length=2)] | None = None
    shape: list[Size] | None = None  # of one row, where the graph leaves it free

    def __post_init__(self) -> None:
        given = [name for name in ("value", "file", "random") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"has {' and '.join(given)}: one of value, file, random is allowed")


class WarmUp(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`runs` of each batch bucket before the model is ready; 0 = none."""

    runs: Annotated[int, Meta(ge=0, le=100)] = 1
    inputs: dict[str, WarmUpInput] = field(default_factory=dict)


class ModelSpec(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The whole of `model.yaml`."""

    name: str | None = None  # default: the folder's, or the file's without .onnx
    version: str = "1"
    file: str | None = None  # default: the only .onnx file of the folder
    inputs: list[TensorNote] = field(default_factory=list)
    outputs: list[TensorNote] = field(default_factory=list)
    batching: Batching = Batching()
    warm_up: WarmUp = WarmUp()
    instances_per_device: Annotated[int, Meta(ge=1, le=64)] = 1
    threads: Annotated[int, Meta(ge=1, le=1024)] | None = None  # default: the function's share of the CPU
    providers: Annotated[list[str], Meta(min_length=1)] | None = None  # default: the best that is there
    cuda_graphs: bool = False
    share_weights: bool = False  # on the CPU: external data is mapped and shared by the instances of a machine
    idle_seconds: Seconds | None = None  # then the session is given back; none: never
    model_control: Literal["none", "explicit"] = "none"  # explicit: clients may load and unload it (repository)
    tensor_mib_max: Annotated[float, Meta(gt=0, le=2**30)] = 256.0  # of one input of one request

    def __post_init__(self) -> None:
        if self.name is not None and not NAME.fullmatch(self.name):
            raise ValueError(
                f"name is '{self.name}': must begin with a letter or digit and have letters, digits, '.', '_', '-' only"
            )
        unknown = [each for each in self.providers or () if each not in PROVIDERS]
        if unknown:
            raise ValueError(f"providers has '{unknown[0]}': {', '.join(PROVIDERS)} are allowed")
        if not re.fullmatch(r"[0-9]{1,18}", self.version):
            raise ValueError(f"version is '{self.version}': must be a whole number")


def read_spec(path: Path) -> ModelSpec:
    """Raises ModelUnusable: names the field, its value and what is allowed."""
    import yaml  # here, as a model without such a file starts sooner without it

    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ModelUnusable(f"{path.name} has more than {FILE_BYTES_MAX} bytes")
        values = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ModelUnusable(f"{path.name} is not YAML: {error}") from error
    except OSError as error:
        raise ModelUnusable(f"{path.name} cannot be read: {error}") from error
    return parse_spec({} if values is None else values, path.name)


def parse_spec(values: Any, file_name: str = FILE_NAME) -> ModelSpec:
    """Raises ModelUnusable, as `read_spec` does."""
    if not isinstance(values, dict):
        raise ModelUnusable(f"{file_name} is a {type(values).__name__}: an object is allowed")
    version = values.get("version")
    if isinstance(version, int) and not isinstance(version, bool):  # a text, but who writes 2 means the same
        values = {**values, "version": str(version)}
    try:
        return msgspec.convert(values, ModelSpec)
    except msgspec.ValidationError as error:
        raise ModelUnusable(f"{file_name}: {_told(str(error), values)}") from None


def _told(message: str, values: Any) -> str:
    """msgspec's "Expected `int` >= 1 - at `$.threads`" with the value, and in the words that are used here."""
    said, _, place = message.partition(" - at `$")
    path = place.removesuffix("`").removeprefix(".")
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", said)
    if unknown is not None:
        return f"{path + '.' if path else ''}{unknown[1]} is not known here"
    missing = re.fullmatch(r"Object missing required field `(.*)`", said)
    if missing is not None:
        return f"{path + '.' if path else ''}{missing[1]} is missing"
    if not said.startswith("Expected"):  # one of the words above, which have the value in them
        return f"{path}: {said}" if path else said
    allowed = re.sub(r", got .*", "", said.replace("`", "").removeprefix("Expected "))
    return f"{path} is {_shown(_at(path, values))}: {allowed} is allowed"


def _at(path: str, values: Any) -> Any:
    """The value at such a path; where msgspec does not say which key of a mapping it means, the mapping."""
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        try:
            values = values[int(index)] if index else values[name]
        except (KeyError, IndexError, TypeError):
            break
    return values


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
