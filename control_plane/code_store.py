"""Function code in a folder: each zip by its SHA-256, and beside it the folder that instances read.

CODE/<sha256>.zip    as it was put
CODE/<sha256>/       unpacked; a folder of that name is complete, as it is renamed into place last
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
import os
import re
import shutil
import stat
import struct
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

from control_plane.errors import InvalidArgument, NotFound, Unavailable

ZIP_BYTES_MAX: Final = 100 * 1024 * 1024
UNPACKED_BYTES_MAX: Final = 1024 * 1024 * 1024
ENTRIES_MAX: Final = 100_000
_PATH_BYTES_MAX: Final = 1024
_SCRATCH_AGE_S_MAX: Final = 3600.0
UNUSED_S: Final = 3600.0
"""That code must not have been needed for, at each look, before it is taken away."""
_SCRATCH: Final = ".new-"
_COPY_BYTES: Final = 256 * 1024
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


log = logging.getLogger(__name__)


class FolderCodeStore:
    """Fills `ports.CodeStore`. Works in threads, so that a large zip holds up no other request."""

    def __init__(
        self,
        folder: Path,
        *,
        zip_bytes_max: int = ZIP_BYTES_MAX,
        unpacked_bytes_max: int = UNPACKED_BYTES_MAX,
        entries_max: int = ENTRIES_MAX,
    ) -> None:
        self._folder = folder
        self._zip_bytes_max = zip_bytes_max
        self._unpacked_bytes_max = unpacked_bytes_max
        self._entries_max = entries_max
        self._lock = threading.Lock()  # over what follows, and over whether there is a folder of code
        self._unused_since_s: dict[str, float] = {}

    async def put(self, zip_bytes: bytes) -> str:
        try:
            return await asyncio.to_thread(self._put, zip_bytes)
        except OSError as error:  # a full disk, mostly: whoever deploys is to know that the code is not what is wrong
            raise Unavailable(f"the code cannot be kept: {error.strerror or error}") from error

    async def get(self, sha256: str) -> bytes:
        if not _SHA256.fullmatch(sha256):
            raise _no_code(sha256)
        try:
            return await asyncio.to_thread((self._folder / f"{sha256}.zip").read_bytes)
        except FileNotFoundError:
            raise _no_code(sha256) from None

    async def sweep(self, needed: Collection[str], now_s: float) -> list[str]:
        """Take away what was needed at no look for UNUSED_S, and was not put again since; gives which. `now_s` is of a
        clock that does not step. What cannot be taken away stays until the next look."""
        return await asyncio.to_thread(self._sweep_unused, set(needed), now_s)

    def _sweep_unused(self, needed: set[str], now_s: float) -> list[str]:
        there = {path.stem for path in self._folder.glob("*") if _SHA256.fullmatch(path.stem)}
        with self._lock:
            for sha256 in self._unused_since_s.keys() - (there - needed):
                del self._unused_since_s[sha256]
        removed = []
        for sha256 in sorted(there - needed):
            with self._lock:
                since_s = self._unused_since_s.setdefault(sha256, now_s)
                gone = self._folder / f"{_SCRATCH}gone-{sha256[:16]}"
                if now_s - since_s < UNUSED_S or not self._hide(sha256, gone):
                    continue
                del self._unused_since_s[sha256]
            shutil.rmtree(gone, ignore_errors=True)
            removed.append(sha256)
        return removed

    def _hide(self, sha256: str, gone: Path) -> bool:
        """The folder at once, as instances read it whole or not at all; then the zip."""
        shutil.rmtree(gone, ignore_errors=True)  # of a look that was killed
        try:
            with suppress(FileNotFoundError):
                os.rename(self._folder / sha256, gone)
            (self._folder / f"{sha256}.zip").unlink(missing_ok=True)
        except OSError as error:
            log.warning("code.not_removed code=%s error=%s", sha256[:16], error)
            return False
        return True

    def _put(self, zip_bytes: bytes) -> str:
        if len(zip_bytes) > self._zip_bytes_max:
            raise InvalidArgument(f"code.zipFile has {len(zip_bytes)} bytes: at most {self._zip_bytes_max} are allowed")
        sha256 = hashlib.sha256(zip_bytes).hexdigest()
        with self._lock:
            if (self._folder / sha256).is_dir():
                self._unused_since_s.pop(sha256, None)  # whoever puts it is about to need it
                return sha256
        self._folder.mkdir(parents=True, exist_ok=True)
        _sweep(self._folder)
        scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=self._folder))
        try:
            self._unpack(zip_bytes, scratch / "code")
            (scratch / "zip").write_bytes(zip_bytes)
            _sync_tree(scratch)
            self._publish(scratch, sha256)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return sha256

    def _publish(self, scratch: Path, sha256: str) -> None:
        """The zip first: where the folder is, the zip is. Another put of the same bytes may have been faster."""
        os.rename(scratch / "zip", self._folder / f"{sha256}.zip")
        try:
            os.rename(scratch / "code", self._folder / sha256)
        except OSError:
            if not (self._folder / sha256).is_dir():
                raise
        _sync(self._folder)
        _sync(self._folder.parent)  # which may have got the folder itself just now

    def _unpack(self, zip_bytes: bytes, into: Path) -> None:
        try:
            with zipfile.ZipFile(io.BytesIO(zip_bytes)) as archive:
                self._check(archive.infolist())
                into.mkdir()
                for entry in archive.infolist():
                    _extract(archive, entry, into)
        except (zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, EOFError, ValueError) as error:
            # RuntimeError is how zipfile says that an entry is encrypted or packed in a way that it does not know.
            raise InvalidArgument(f"code.zipFile is not a zip file that can be unpacked: {error}") from error
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            raise InvalidArgument("code.zipFile names one path both as a file and as a folder") from error

    def _check(self, entries: list[zipfile.ZipInfo]) -> None:
        if len(entries) > self._entries_max:
            raise InvalidArgument(f"code.zipFile has {len(entries)} entries: at most {self._entries_max} are allowed")
        # The sizes may be lies, but then reading ends with an error at the size that was stated.
        unpacked = sum(entry.file_size for entry in entries)
        if unpacked > self._unpacked_bytes_max:
            raise InvalidArgument(
                f"code.zipFile unpacks to {unpacked} bytes: at most {self._unpacked_bytes_max} are allowed"
            )
        for entry in entries:
            _check_entry(entry)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    path = PurePosixPath(entry.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or "\0" in entry.orig_filename:
        raise InvalidArgument(f"code.zipFile holds '{entry.filename}': a path must stay inside the code folder")
    if len(os.fsencode(entry.filename)) > _PATH_BYTES_MAX or any(len(os.fsencode(p)) > 255 for p in path.parts):
        raise InvalidArgument(
            f"code.zipFile holds '{entry.filename[:80]}…': a path may have {_PATH_BYTES_MAX} bytes, each name in it 255"
        )
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InvalidArgument(f"code.zipFile holds '{entry.filename}': must be stored or deflated")
    kind = stat.S_IFMT(_mode(entry))
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InvalidArgument(f"code.zipFile holds '{entry.filename}': only files and folders are allowed, no links")


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, into: Path) -> None:
    target = into / entry.filename
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as packed, open(target, "wb") as unpacked:
        shutil.copyfileobj(packed, unpacked, _COPY_BYTES)
    # Readable by all, writable by the owner, and executable if anyone could execute it where it was packed.
    target.chmod(0o755 if _mode(entry) & 0o111 else 0o644)


def _mode(entry: zipfile.ZipInfo) -> int:
    return entry.external_attr >> 16


def _sweep(folder: Path) -> None:
    """Take away what a put that was killed has left."""
    for scratch in folder.glob(f"{_SCRATCH}*"):
        try:
            if time.time() - scratch.stat().st_mtime > _SCRATCH_AGE_S_MAX:
                shutil.rmtree(scratch, ignore_errors=True)
        except FileNotFoundError:
            continue  # its put has just finished


def _sync_tree(folder: Path) -> None:
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            _sync(Path(parent, name))
        _sync(Path(parent))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _no_code(sha256: str) -> NotFound:
    return NotFound("Code", f"there is no code with the SHA-256 '{sha256}'")


def crc64(data: bytes) -> int:
    """CRC-64/XZ, which FC reports of code.

    The xz format ends each block with exactly this checksum, so the standard library computes it at C speed (some
    12 MB/s, without holding the interpreter); a loop in Python is ten times slower and holds it.
    """
    import lzma  # seldom needed

    if not data:
        return 0  # an empty xz stream has no block
    fastest = {"id": lzma.FILTER_LZMA2, "dict_size": 4096, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3, "nice_len": 3}
    compressor = lzma.LZMACompressor(format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, filters=[fastest | {"depth": 1}])
    # Only the end is kept: block … checksum | index | footer (12 bytes; the index's length in units of 4 less 1).
    end = b""
    for start in range(0, len(data), _COPY_BYTES):
        end = (end + compressor.compress(data[start : start + _COPY_BYTES]))[-1024:]
    end = (end + compressor.flush())[-1024:]
    index_bytes = (int.from_bytes(end[-8:-4], "little") + 1) * 4
    checksum_end = len(end) - 12 - index_bytes
    return int.from_bytes(end[checksum_end - 8 : checksum_end], "little")
