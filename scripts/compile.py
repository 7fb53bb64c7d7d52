"""Builds what `runtime.compiled` lists. Run by scripts/compile."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from runtime.compiled import GROUP, MODULES, folder, source  # noqa: E402


def main() -> int:
    built = folder()
    if built.is_dir():
        return 0
    compiler = os.environ.get("CC") or (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
        print(f"not compiled: {compiler} or Python.h is missing; the sources run instead, more slowly")
        return 0
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=built.parent, prefix="building-") as directory:
        made = Path(directory, "made")
        _build(Path(directory), made)
        for old in built.parent.iterdir():  # of sources that are no more
            if old.name != Path(directory).name:
                shutil.rmtree(old)
        made.rename(built)
    return 0


def _build(work: Path, made: Path) -> None:
    # In a process of its own, as setuptools and mypyc take their settings from the command line and the folder.
    files = [str(source(module).relative_to(ROOT)) for module in MODULES]
    command = [sys.executable, __file__, "--build", str(work), str(made), *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise SystemExit(f"compiling failed with status {done.returncode}")


def _mypyc(work: str, made: str, files: list[str]) -> None:
    from mypyc.build import mypycify
    from setuptools import Distribution

    extensions = mypycify(files, group_name=GROUP, opt_level="1", debug_level="0", target_dir=f"{work}/c")
    distribution = Distribution({"name": GROUP, "ext_modules": extensions})
    command = distribution.get_command_obj("build_ext")
    command.build_lib, command.build_temp = made, f"{work}/objects"
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--build"]:
        _mypyc(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        sys.exit(main())
