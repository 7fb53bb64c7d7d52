"""What a model folder's `model.yaml` says. All of it has a default, so that a bare ONNX file is served as well.

Only what a file says by itself is checked here; whether its graph agrees is seen when it is loaded (`graph.py`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

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


def _as_text(value: Any) -> Any:
    """A version is a text, but whoever writes `version: 2` means the same."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        validate_by_name=False,
        validate_by_alias=True,
    )


class TensorNote(_Part):
    """What is said of one input or output beyond what the graph says; what is said twice must agree."""

    name: str
    datatype: str | None = None
    shape: Annotated[list[Annotated[int, Field(ge=-1)]] | None, Field(max_length=16)] = None
    labels: str | list[str] | None = None  # of the last axis: a list, or a file with one a line

    @field_validator("datatype")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in DTYPES:
            raise ValueError(f"must be one of {', '.join(DTYPES)}")
        return value


class Batching(_Part):
    """`max_batch_size` 0: requests are run one by one, and their first axis is their own affair."""

    max_batch_size: int | None = Field(default=None, ge=0, le=4096)
    latency_target_ms: float = Field(default=100.0, gt=0, le=3_600_000, strict=False)
    buckets: list[Annotated[int, Field(ge=1)]] | None = Field(default=None, min_length=1, max_length=64)

    @model_validator(mode="after")
    def _buckets_ascend(self) -> Self:
        buckets = self.buckets
        if buckets is None:
            return self
        if buckets != sorted(set(buckets)):
            raise ValueError(f"buckets is {buckets}: must ascend")
        if self.max_batch_size is not None and self.max_batch_size != buckets[-1]:
            raise ValueError(f"buckets ends with {buckets[-1]}: must end with maxBatchSize, {self.max_batch_size}")
        return self


class WarmUpInput(_Part):
    """One row of an input for the warm-up: by values, from a `.npy` file, or random in a range."""

    value: Any = None  # a number or text for all elements, or nested lists of one row
    file: str | None = None
    random: Annotated[list[float] | None, Field(min_length=2, max_length=2, strict=False)] = None
    shape: list[Annotated[int, Field(ge=0)]] | None = None  # of one row, where the graph leaves it free

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("value", "file", "random") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"has {' and '.join(given)}: one of value, file, random is allowed")
        return self


class WarmUp(_Part):
    """`runs` of each batch bucket before the model is ready; 0 = none."""

    runs: int = Field(default=1, ge=0, le=100)
    inputs: dict[str, WarmUpInput] = Field(default_factory=dict)


class ModelSpec(_Part):
    """The whole of `model.yaml`."""

    name: str | None = None  # default: the folder's, or the file's without .onnx
    version: Annotated[str, BeforeValidator(_as_text), Field(pattern=r"^[0-9]{1,18}$")] = "1"
    file: str | None = None  # default: the only .onnx file of the folder
    inputs: list[TensorNote] = Field(default_factory=list)
    outputs: list[TensorNote] = Field(default_factory=list)
    batching: Batching = Batching()
    warm_up: WarmUp = WarmUp()
    instances_per_device: int = Field(default=1, ge=1, le=64)
    threads: int | None = Field(default=None, ge=1, le=1024)  # default: the function's share of the CPU
    providers: list[Literal["tensorrt", "cuda", "cpu"]] | None = Field(default=None, min_length=1)
    cuda_graphs: bool = False
    share_weights: bool = False  # on the CPU: external data is mapped and shared by the instances of a machine
    idle_seconds: float | None = Field(default=None, ge=0, strict=False)  # then the session is given back; none: never
    tensor_mib_max: float = Field(default=256, gt=0, strict=False)  # of one input of one request

    @field_validator("name")
    @classmethod
    def _name_fits(cls, value: str | None) -> str | None:
        if value is not None and not NAME.fullmatch(value):
            raise ValueError("must begin with a letter or digit and have letters, digits, '.', '_' and '-' only")
        return value


def read_spec(path: Path) -> ModelSpec:
    """Raises ModelUnusable: names the field, its value and what is allowed."""
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
    try:
        return ModelSpec.model_validate(values)
    except ValidationError as error:
        problems = [_told(problem) for problem in error.errors(include_url=False)]
        raise ModelUnusable(f"{file_name}: {'; '.join(problems)}") from None


def _told(problem: Any) -> str:
    path = ""
    for part in problem["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{path} is not known here"
    if problem["type"] == "missing":
        return f"{path} is missing"
    message = message.replace("Input should be", "must be").replace("String should", "must")
    if problem["type"] == "value_error" and isinstance(problem["input"], dict):
        return f"{path or 'it'}: {message}"
    return f"{path} is {_shown(problem['input'])}: {message}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
