"""Where a function's model lies: what a handler that names one means, and whether the file can be a model at all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from runtime.models.errors import ModelUnusable
from runtime.models.spec import FILE_NAME, NAME, ModelSpec, read_spec

SUFFIX: Final = ".onnx"
TRITON_FILE: Final = "config.pbtxt"
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")
_LFS_POINTER: Final = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class Source:
    """`folder` is what the files that `spec` names are relative to."""

    file: Path
    folder: Path
    name: str
    spec: ModelSpec


def find_source(code: Path, handler: str) -> Source:
    """`handler` is an `.onnx` file, a folder, or its `model.yaml`, in the function's code.

    A folder of Triton's, with config.pbtxt and no `model.yaml`, is one as well. A `model.yaml` beside an `.onnx` file
    that is named by itself counts if it is about that file.

    Raises:
        ModelUnusable: there is no such file or folder, or `model.yaml` is wrong.
    """
    named = (code / handler).resolve()
    if not named.is_relative_to(code.resolve()):
        raise ModelUnusable(f"handler '{handler}' lies outside of the code")
    if named.name == FILE_NAME:
        named = named.parent
    if named.suffix == SUFFIX and not named.is_dir():
        if not named.is_file():
            raise ModelUnusable(f"handler '{handler}': the code has no such file")
        spec = _spec_beside(named)
        return Source(named, named.parent, spec.name or _as_name(named.stem), spec)
    if not named.is_dir():
        raise ModelUnusable(f"handler '{handler}': the code has no such folder")
    if not (named / FILE_NAME).is_file() and (named / TRITON_FILE).is_file():
        return _triton_source(named, handler, name="model" if named == code.resolve() else named.name)
    spec = read_spec(named / FILE_NAME) if (named / FILE_NAME).is_file() else ModelSpec()
    file = _file_of(named, handler, spec)
    default = file.stem if named == code.resolve() else named.name
    return Source(file, named, spec.name or _as_name(default), spec)


def _triton_source(folder: Path, handler: str, name: str) -> Source:
    """A folder as Triton's repositories have them: config.pbtxt, and a folder for each version."""
    from runtime.models.triton.config import read_config  # what other models need not wait for

    try:
        found = read_config((folder / TRITON_FILE).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ModelUnusable(f"{TRITON_FILE} cannot be read: {error}") from error
    there = sorted((int(each.name) for each in folder.iterdir() if _VERSION.fullmatch(each.name)), reverse=True)
    served = [version for version in there if version in found.versions or not found.versions]
    if not served:
        wanted = f"of {', '.join(map(str, found.versions))} " if found.versions else ""
        raise ModelUnusable(f"handler '{handler}': {TRITON_FILE} has no version folder {wanted}beside it, such as 1/")
    if found.wants_several and len(served) > 1:
        there_are = ", ".join(map(str, sorted(served)))
        raise ModelUnusable(
            f"{TRITON_FILE}: version_policy asks for several versions, and there are {there_are}: one is served, by "
            "default the latest"
        )
    file = folder / str(served[0]) / found.file_name
    if not file.is_file() or not file.resolve().is_relative_to(folder):
        raise ModelUnusable(f"handler '{handler}': version {served[0]} has no file '{found.file_name}'")
    spec = msgspec.structs.replace(found.spec, version=str(served[0]))
    return Source(file, folder, spec.name or _as_name(name), spec)


def check_file(file: Path) -> None:
    """Raises ModelUnusable for what is no ONNX model at a first look, with the likely reason."""
    try:
        with file.open("rb") as opened:
            begin = opened.read(256)
    except OSError as error:
        raise ModelUnusable(f"model '{file.name}' cannot be read: {error}") from error
    if not begin:
        raise ModelUnusable(f"model '{file.name}' is empty: an ONNX model is allowed")
    if begin.startswith(_LFS_POINTER):
        raise ModelUnusable(f"model '{file.name}' is a pointer of Git LFS, not the file itself: `git lfs pull` gets it")


def weights_bytes(file: Path) -> int:
    """The file and what may lie beside it as its external data, in bytes: what loading it takes at least."""
    beside = [file.with_name(file.name + suffix) for suffix in ("_data", ".data", ".weights")]
    beside.append(file.with_suffix(".data"))
    beside.append(file.with_suffix(".bin"))
    return sum(each.stat().st_size for each in (file, *beside) if each.is_file())


def check_fits(file: Path, gpu_memory_mib: int, sessions: int = 1) -> None:
    """Raises ModelUnusable when the weights alone, which each session has for itself, are more than the GPU memory that
    the function asks for."""
    mib = weights_bytes(file) / 2**20
    if gpu_memory_mib and mib * sessions > gpu_memory_mib:
        each = f", {sessions} times for {sessions} sessions" if sessions > 1 else ""
        raise ModelUnusable(
            f"model '{file.name}' has {mib:.0f} MiB of weights{each}, gpuMemorySize is {gpu_memory_mib}: at least the "
            "weights and what a run takes must fit"
        )


def _spec_beside(file: Path) -> ModelSpec:
    path = file.with_name(FILE_NAME)
    if not path.is_file():
        return ModelSpec()
    spec = read_spec(path)
    others = [each for each in file.parent.glob(f"*{SUFFIX}") if each != file]
    is_about_it = spec.file == file.name or (spec.file is None and not others)
    return spec if is_about_it else ModelSpec()


def _file_of(folder: Path, handler: str, spec: ModelSpec) -> Path:
    if spec.file is not None:
        file = (folder / spec.file).resolve()
        if not file.is_file() or not file.is_relative_to(folder):
            raise ModelUnusable(f"{FILE_NAME}: file is '{spec.file}': a file in the folder of the model is allowed")
        return file
    found = sorted(folder.glob(f"*{SUFFIX}"))
    if not found:
        raise ModelUnusable(f"handler '{handler}': the folder has no {SUFFIX} file")
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise ModelUnusable(f"handler '{handler}': the folder has {names}; {FILE_NAME} must say which, as `file`")
    return found[0]


def _as_name(text: str) -> str:
    """A name that fits in a path, of a file's or folder's."""
    fitting = re.sub(r"[^A-Za-z0-9._-]", "-", text).lstrip("._-")
    return fitting if NAME.fullmatch(fitting) else "model"
