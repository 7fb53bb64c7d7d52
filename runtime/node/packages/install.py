"""Runs the installer: uv where it is, else pip. Gives a folder that is an environment, or the installer's own words."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import signal
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from runtime.node.packages import indexes
from runtime.node.packages.content import (
    Installed,
    included,
    lines,
    names_files,
    parted,
    resolver_words,
    wants_hashes,
    without_beside,
)

_INCLUDED_DEEP_MAX: Final = 8
_OUTPUT_BYTES_MAX: Final = 1024 * 1024
# Read by the environment's own interpreter alone: what is installed beside Stoke comes after what is in it, .pth files
# and all.
_NOTED_BY: Final = "stoke"
_BESIDE: Final = "stoke-beside.pth"


# Distributions that others install the modules of.
SAME_AS: Final = {"onnxruntime": "onnxruntime-gpu"}


class InstallFailed(Exception):
    """The message is what a user reads: the installer's own words."""


def site_of(environment: Path) -> Path:
    """Where an environment's packages lie."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return environment / "lib" / version / "site-packages"


def platform_sites() -> list[str]:
    """Where what is installed beside Stoke lies."""
    return [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]


def find_uv() -> str | None:
    """Beside our interpreter, or in the node's PATH."""
    return shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


async def install(
    requirements: Path, into: Path, beside: Mapping[str, Installed], timeout_s: float, installer: str = "auto"
) -> None:
    """Make `into` an environment with what `requirements` asks for and `beside` lacks. Relative names in it are of its
    own folder. What is needed meanwhile lies beside `into`, also when this is cut off: the caller removes both.

    Raises:
        InstallFailed: it cannot be resolved or installed, or took longer than `timeout_s`.
        OSError.
    """
    try:
        async with asyncio.timeout(timeout_s):
            await _install(requirements, into, beside, installer)
    except TimeoutError:
        raise InstallFailed(f"not installed within {timeout_s:g} s") from None


async def _install(requirements: Path, into: Path, beside: Mapping[str, Installed], installer: str) -> None:
    uv = find_uv() if installer != "pip" else None
    if uv is None and installer == "uv":
        raise InstallFailed("environment_installer is uv, and there is none in PATH")
    has_pip = importlib.util.find_spec("pip") is not None
    bare = [] if uv is None and not has_pip else ["--without-pip"]
    temporary = into.parent / "tmp"
    temporary.mkdir()
    environment = indexes.for_pip(os.environ) | {"TMPDIR": str(temporary)}
    await _run([sys.executable, "-m", "venv", *bare, str(into)], into.parent, environment)
    sites = "".join(f"import site; site.addsitedir({site!r})\n" for site in platform_sites())
    (site_of(into) / _BESIDE).write_text(sites)
    for name in SAME_AS:
        _note(site_of(into), name, beside)
    if uv is None:
        pip = [str(into / "bin" / "python"), "-m", "pip", "install", "--progress-bar=off"]  # its own, or that beside us
        await _run([*pip, "-r", requirements.name], requirements.parent, environment)
    else:
        await _install_by_uv(uv, requirements, into, beside, temporary)


async def _install_by_uv(
    uv: str, requirements: Path, into: Path, beside: Mapping[str, Installed], temporary: Path
) -> None:
    """uv does not look at what is beside Stoke. So what that satisfies is not asked for but a constraint, the versions
    that it has are the ones to prefer, and of what was resolved it is left out."""
    environment = indexes.for_uv(os.environ, indexes.pip_files(os.environ)) | {"TMPDIR": str(temporary)}
    python = ["--python", str(into / "bin" / "python")]
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", *python]
    if _hashes_count(requirements):
        # They name all that is installed, and go with nothing but the requirements as they are.
        await _run([*install, "--require-hashes", "-r", requirements.name], requirements.parent, environment)
        return
    asked, constraints, pins = _write_for_uv(requirements, temporary, beside)
    emitted = [f"--emit-{what}" for what in ("find-links", "index-url", "build-options")]
    resolve = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", *emitted, *python]
    await _run([*resolve, "-c", constraints, "-o", pins, asked], requirements.parent, environment)
    if _leave_out(Path(pins), requirements, beside):
        await _run([*install, "--no-deps", "-r", pins], requirements.parent, environment)


def _hashes_count(requirements: Path, deep: int = 0) -> bool:
    """In the file or in those that it includes."""
    try:
        text = requirements.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):  # the installer says it better
        return False
    inner = included(text) if deep < _INCLUDED_DEEP_MAX else []
    return wants_hashes(text) or any(_hashes_count(requirements.parent / name, deep + 1) for name in inner)


def _write_for_uv(requirements: Path, into: Path, beside: Mapping[str, Installed]) -> tuple[str, str, str]:
    """What is asked for, constraints and preferences, as files."""
    text = requirements.read_text("utf-8-sig")
    wanted, there = (text.splitlines(), []) if names_files(text) else parted(text, beside)
    asked = requirements if names_files(text) else into / "asked.txt"
    if asked != requirements:
        asked.write_text("\n".join(wanted) + "\n")
    constraints, pins = into / "constraints.txt", into / "resolved.txt"
    constraints.write_text("".join(f"{line}\n" for line in there))
    pins.write_text("".join(f"{name}=={one.version}\n" for name, one in beside.items()))
    return str(asked), str(constraints), str(pins)


def _leave_out(pins: Path, requirements: Path, beside: Mapping[str, Installed]) -> bool:
    """Leave in a file of pins what is not there yet; is there any?"""
    resolved = [line for line in pins.read_text().splitlines() if line.strip()]
    options = [_from_root(line, requirements.parent) for line in resolved if line.startswith("-")]
    if "--no-index" in lines(requirements.read_text("utf-8-sig")):
        options.append("--no-index")
    left = without_beside([line for line in resolved if not line.startswith("-")], beside)
    pins.write_text("\n".join([*options, *left, ""]))
    return bool(left)


def _from_root(line: str, folder: Path) -> str:
    """`--find-links wheels` as it is meant: of the folder with the requirements."""
    option, _, value = line.partition(" ")
    is_place = option == "--find-links" and "://" not in value and not value.startswith("$")
    return f"{option} {folder / value}" if is_place else line


def _note(site: Path, name: str, beside: Mapping[str, Installed]) -> None:
    """Say that a distribution is there which another one beside Stoke is as good as."""
    one = beside.get(name)
    if one is None or one.is_named:
        return
    folder = site / f"{name}-{one.version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {one.version}\n")
    (folder / "INSTALLER").write_text(f"{_NOTED_BY}\n")
    (folder / "RECORD").write_text("".join(f"{folder.name}/{file},,\n" for file in ("METADATA", "INSTALLER", "RECORD")))


async def _run(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        output = b""
        while chunk := await process.stdout.read(64 * 1024):
            output = (output + chunk)[-_OUTPUT_BYTES_MAX:]
        status = await process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    if status != 0:
        raise InstallFailed(resolver_words(output.decode("utf-8", "replace")))


def installed(environment: Path) -> list[str]:
    """The distributions in an environment, as `name==version`."""
    found = metadata.distributions(path=[str(site_of(environment))])
    return sorted(
        f"{one.name}=={one.version}" for one in found if (one.read_text("INSTALLER") or "").strip() != _NOTED_BY
    )


def relocate(environment: Path, new: Path) -> None:
    """Programs of an environment name its interpreter by path; make that the path it will have."""
    for program in (environment / "bin").iterdir():
        if program.is_symlink() or not program.is_file():
            continue
        text = program.read_bytes()
        if text.startswith(b"#!") or program.name.startswith("activate"):
            program.write_bytes(text.replace(os.fsencode(environment), os.fsencode(new)))


def machine() -> str:
    """What compiled packages depend on besides the interpreter."""
    return sysconfig.get_platform()
