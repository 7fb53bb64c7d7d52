"""Builds what `runtime.compiled` lists. Run by scripts/compile."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from runtime.compiled import GROUPS, Group, source  # noqa: E402


def main() -> int:
    missing = [group for group in GROUPS if not group.folder().is_dir()]
    if not missing:
        return 0
    compiler = os.environ.get("CC") or (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
        print(f"not compiled: {compiler} or Python.h is missing; the sources run instead, more slowly")
        return 0
    kept = missing[0].folder().parent
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept, prefix="building-") as directory:
        with ThreadPoolExecutor() as at_once:
            made = list(at_once.map(partial(_built, Path(directory)), missing))
        current = {group.folder() for group in GROUPS}
        for old in kept.iterdir():  # of sources that are no more
            if old not in current and old.name != Path(directory).name:
                shutil.rmtree(old)
        for group, folder in zip(missing, made, strict=True):
            folder.rename(group.folder())
    return 0


def _built(work: Path, group: Group) -> Path:
    # In a process of its own, as setuptools and mypyc take their settings from the command line and the folder.
    made = work / group.name / "made"
    files = [str(source(module).relative_to(ROOT)) for module in group.modules]
    command = [sys.executable, __file__, "--build", group.name, str(work / group.name), str(made), *files]
    # Each with types of its own: mypy's cache is a database that one process at a time may write.
    environment = os.environ | {"MYPY_CACHE_DIR": str(ROOT / "build" / "types" / group.name)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise SystemExit(f"compiling failed with status {done.returncode}")
    return made


def _mypyc(name: str, work: str, made: str, files: list[str]) -> None:
    from mypyc.build import mypycify
    from setuptools import Distribution

    extensions = mypycify(files, group_name=name, opt_level="1", debug_level="0", target_dir=f"{work}/c")
    distribution = Distribution({"name": name, "ext_modules": extensions})
    command = distribution.get_command_obj("build_ext")
    command.build_lib, command.build_temp = made, f"{work}/objects"
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--build"]:
        _mypyc(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
    else:
        sys.exit(main())
