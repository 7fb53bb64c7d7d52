"""A container engine of one's own for tests, benches and the demo: dockerd in a network namespace of its own, and an
image that needs no registry. `loadtests.podman` has the same with Podman.

`STOKE_TEST_ENGINE=unix:///PATH` names an engine that runs already, which is then used instead: one of this machine,
whose containers' addresses can be reached from here.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import httpx

IMAGE: Final = "stoke/python:base"
CLONE_NEWNET: Final = 0x40000000
_NETWORK: Final = "/proc/thread-self/ns/net"
_START_TIMEOUT_S: Final = 30.0


class EngineFailed(Exception):
    """No engine can be had; says why."""


@dataclass
class PrivateEngine:
    """`socket` answers the Docker Engine API. `process` is dockerd, None where it is not ours."""

    kind: ClassVar[str] = "docker"
    socket: Path
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    network_fd: int = -1

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """This thread, and what it starts meanwhile, reach the containers' addresses."""
        if self.network_fd < 0:
            yield
            return
        with _network_kept():
            _call("setns", self.network_fd, CLONE_NEWNET)
            yield

    def http(self, timeout_s: float = 60.0) -> httpx.Client:
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://engine", timeout=timeout_s
        )

    def containers(self) -> list[dict[str, Any]]:
        """All of Stoke's, running or not."""
        with self.http() as client:
            answer = client.get("/containers/json", params={"all": 1, "filters": '{"label":["stoke.instance"]}'})
            answer.raise_for_status()
            rows: list[dict[str, Any]] = answer.json()
            return rows

    def kill(self) -> None:
        """kill -9; its containers go on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        """In the network of the thread that calls."""
        command, environment = self.command()
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, env={**os.environ, **environment}
            )
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                raise EngineFailed((self.folder / "log").read_text()[-2000:])
            time.sleep(0.02)

    def command(self) -> tuple[list[str], dict[str, str]]:
        """What to run, and variables for it. Live restore lets containers outlive it."""
        (self.folder / "pid").unlink(missing_ok=True)
        return ["dockerd", "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec", "-H",
                f"unix://{self.socket}", "-p", f"{self.folder}/pid", "--live-restore"], {}  # fmt: skip

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.socket))
                probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 " in probe.recv(64)
            except OSError:
                return False

    def stop(self) -> None:
        for container in self.containers():
            with self.http() as client:
                client.delete(f"/containers/{container['Id']}", params={"force": 1})
        assert self.process is not None
        self.process.terminate()
        self.process.wait(_START_TIMEOUT_S)


def why_not() -> str:
    """Why no engine can be had here, "" when one can."""
    if os.environ.get("STOKE_TEST_ENGINE"):
        return ""
    if shutil.which("dockerd") is None:
        return "there is no dockerd (scripts/install-engine installs Debian's docker.io where it may)"
    return why_no_network()


def why_no_network() -> str:
    """Why an engine cannot have a network of its own here, "" when it can."""
    if os.geteuid() != 0:
        return "a container engine of one's own needs root"
    if subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode != 0:
        return "no network namespace can be made here"
    return ""


_shared = contextlib.ExitStack()
_engines: dict[str, PrivateEngine] = {}


def shared_engine(kind: type[PrivateEngine] = PrivateEngine) -> PrivateEngine:
    """One of a kind for the whole run, started when first asked for; `end_shared_engine` ends them."""
    if kind.kind not in _engines:
        _engines[kind.kind] = _shared.enter_context(running_engine(kind))
    return _engines[kind.kind]


def end_shared_engine() -> None:
    _engines.clear()
    _shared.close()


@contextlib.contextmanager
def running_engine(kind: type[PrivateEngine] = PrivateEngine) -> Iterator[PrivateEngine]:
    """An engine with IMAGE, in a network of its own, which `network` enters."""
    given = os.environ.get("STOKE_TEST_ENGINE", "")
    if given and kind is PrivateEngine:
        engine = PrivateEngine(Path(given.removeprefix("unix://")), Path())
        with engine.http() as client:
            put_base_image(client)
        yield engine
        return
    # In memory where there is room: an engine makes sure of every file on the disk, which here is worth nothing.
    roomy = Path("/dev/shm")  # noqa: S108 - a folder of a name of its own is made in it
    has_room = roomy.is_dir() and shutil.disk_usage(roomy).free > 4 * 2**30
    folder = Path(tempfile.mkdtemp(prefix="stoke-engine-", dir=roomy if has_room else None))
    engine = kind(folder / "engine.sock", folder)
    try:
        with _own_network() as engine.network_fd:
            engine.start()
        try:
            with engine.http() as client:
                put_base_image(client)
            yield engine
        finally:
            engine.stop()
            os.close(engine.network_fd)
    finally:
        _unmount_below(folder)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _own_network() -> Iterator[int]:
    """This thread, and what it starts, in a new network namespace with a loopback device. Gives a descriptor of it."""
    with _network_kept():
        _call("unshare", CLONE_NEWNET)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield os.open(_NETWORK, os.O_RDONLY | os.O_CLOEXEC)


@contextlib.contextmanager
def _network_kept() -> Iterator[None]:
    before = os.open(_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        _call("setns", before, CLONE_NEWNET)
        os.close(before)


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def _unmount_below(folder: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "-l", mount], check=False)


# -- the image --------------------------------------------------------------------------------------------------------


def put_base_image(client: httpx.Client) -> None:
    """IMAGE: a Python with its standard library and a shell, and nothing else. Made once, and kept as a file."""
    if client.get(f"/images/{IMAGE}/json").status_code == 200:
        return
    with base_root().open("rb") as root:
        answer = client.post(
            "/images/create",
            params={"fromSrc": "-", "repo": IMAGE, "changes": ["ENV PATH=/usr/local/bin:/usr/bin:/bin"]},
            content=iter(lambda: root.read(1 << 20), b""),
        )
    answer.raise_for_status()
    assert client.get(f"/images/{IMAGE}/json").status_code == 200, answer.text


def base_root() -> Path:
    """A tar of a small root: this machine's Python as `python3`, and what it needs. In the user's cache folder."""
    files = dict(_files())
    digest = hashlib.sha256(
        repr([(name, path.stat().st_size, path.stat().st_mtime_ns) for name, path in sorted(files.items())]).encode()
    ).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stoke"
    made = cache / f"base-{digest}.tar"
    if not made.exists():
        cache.mkdir(parents=True, exist_ok=True)
        scratch = cache / f"base-{digest}.{os.getpid()}.new"
        with tarfile.open(scratch, "w") as tar:
            for folder in ("tmp", "proc", "sys", "dev", "etc", "bin", "lib64", "usr", "usr/bin", "usr/local/bin"):
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
                tar.addfile(entry)
            for name, path in sorted(files.items()):
                tar.add(path, name, recursive=False)
        os.replace(scratch, made)
        for older in set(cache.glob("base-*.tar")) - {made}:
            older.unlink(missing_ok=True)
    return made


def _files() -> Iterator[tuple[str, Path]]:
    python = (
        Path(sys._base_executable).resolve() if hasattr(sys, "_base_executable") else Path(sys.executable).resolve()
    )
    shell = Path("/bin/sh").resolve()
    standard = Path(sysconfig.get_path("stdlib"))
    extensions = list((standard / "lib-dynload").glob("*.so"))
    yield "usr/local/bin/python3", python
    yield "bin/sh", shell
    for name, path in _libraries([python, shell, *extensions]).items():
        yield name, path
    skipped = {"test", "tests", "idlelib", "ensurepip", "__pycache__", "site-packages", "dist-packages", "tkinter"}
    for path in standard.rglob("*"):
        if path.is_file() and not skipped & set(path.relative_to(standard).parts) and "config-3" not in str(path):
            yield str(path).lstrip("/"), path.resolve()


def _libraries(programs: list[Path]) -> dict[str, Path]:
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=True).stdout
    found = {}
    for word in said.split():
        if word.startswith("/") and not word.endswith(":") and ".so" in word:
            found[word.lstrip("/")] = Path(word).resolve()
    return found
