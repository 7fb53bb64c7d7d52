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
from runtime.node.packages.content import Installed, resolver_words, without_beside

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


async def install(requirements: Path, into: Path, beside: Mapping[str, Installed], timeout_s: float) -> None:
    """Make `into` an environment with what `requirements` asks for and `beside` lacks. Relative names in it are of its
    own folder.

    Raises:
        InstallFailed: it cannot be resolved or installed, or took longer than `timeout_s`.
        OSError.
    """
    try:
        async with asyncio.timeout(timeout_s):
            await _install(requirements, into, beside)
    except TimeoutError:
        raise InstallFailed(f"not installed within {timeout_s:g} s") from None


async def _install(requirements: Path, into: Path, beside: Mapping[str, Installed]) -> None:
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    has_pip = importlib.util.find_spec("pip") is not None
    bare = [] if uv is None and not has_pip else ["--without-pip"]
    environment = indexes.for_pip(os.environ)
    await _run([sys.executable, "-m", "venv", *bare, str(into)], into.parent, environment)
    lines = [f"import site; site.addsitedir({site!r})\n" for site in platform_sites()]
    (site_of(into) / _BESIDE).write_text("".join(lines))
    for name in SAME_AS:
        _note(site_of(into), name, beside)
    if uv is None:
        pip = [str(into / "bin" / "python"), "-m", "pip", "install", "--progress-bar=off"]  # its own, or that beside us
        await _run([*pip, "-r", requirements.name], requirements.parent, environment)
    else:
        await _install_by_uv(uv, requirements, into, beside)


async def _install_by_uv(uv: str, requirements: Path, into: Path, beside: Mapping[str, Installed]) -> None:
    """uv does not look at what is beside Stoke: it is told the versions to prefer, and these are left out after."""
    environment = indexes.for_uv(os.environ, indexes.pip_files(os.environ))
    python = ["--python", str(into / "bin" / "python")]
    pins = into / "resolved.txt"
    pins.write_text("".join(f"{name}=={one.version}\n" for name, one in beside.items()))
    compile_pins = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--emit-find-links", *python]
    await _run([*compile_pins, "-o", str(pins), requirements.name], requirements.parent, environment)
    text = pins.read_text()
    places = [line for line in text.splitlines() if line.startswith("-")]
    left = [line for line in without_beside(text, beside) if not line.startswith("-")]
    pins.write_text("\n".join([*places, *left, ""]))
    if left:
        sync = [uv, "pip", "install", "--quiet", "--no-deps", "--compile-bytecode", *python, "-r", str(pins)]
        await _run(sync, requirements.parent, environment)


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
