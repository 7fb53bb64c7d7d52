"""The folder of function code: what is taken, what is refused, and what is left behind."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from control_plane.code_store import UNUSED_S, FolderCodeStore, crc64
from control_plane.errors import InvalidArgument, NotFound, Unavailable


def packed(*entries: tuple[str, str | bytes], mode: int = 0o100644) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return memory.getvalue()


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


async def test_a_zip_is_unpacked_and_given_back_as_it_was(tmp_path: Path) -> None:
    store = FolderCodeStore(tmp_path / "code")
    zip_bytes = packed(("app.py", "x = 1\n"), ("data/", ""), ("deep/er/model.bin", b"\0\1"))
    sha256 = await store.put(zip_bytes)
    assert sha256 == hashlib.sha256(zip_bytes).hexdigest()
    assert await store.get(sha256) == zip_bytes
    unpacked = tmp_path / "code" / sha256
    assert (unpacked / "app.py").read_text() == "x = 1\n"
    assert (unpacked / "deep" / "er" / "model.bin").read_bytes() == b"\0\1"
    assert (unpacked / "data").is_dir()
    assert left_in(tmp_path / "code") == [sha256, f"{sha256}.zip"]


async def test_executables_stay_executable(tmp_path: Path) -> None:
    store = FolderCodeStore(tmp_path)
    sha256 = await store.put(packed(("bootstrap", "#!/bin/sh\n"), mode=0o100755))
    assert stat.S_IMODE((tmp_path / sha256 / "bootstrap").stat().st_mode) == 0o755
    sha256 = await store.put(packed(("bootstrap", "#!/bin/sh\n"), mode=0o106644))
    assert stat.S_IMODE((tmp_path / sha256 / "bootstrap").stat().st_mode) == 0o644, "no set-id bits"


async def test_the_same_bytes_again_change_nothing(tmp_path: Path) -> None:
    store = FolderCodeStore(tmp_path)
    zip_bytes = packed(("app.py", "x = 1\n"))
    sha256 = await store.put(zip_bytes)
    before = (tmp_path / sha256).stat()
    assert await store.put(zip_bytes) == sha256
    assert (tmp_path / sha256).stat() == before


async def test_the_same_bytes_at_once_are_kept_once(tmp_path: Path) -> None:
    store = FolderCodeStore(tmp_path)
    zip_bytes = packed(*((f"f{n}.py", "x" * 1000) for n in range(50)))
    sha256s = await asyncio.gather(*(store.put(zip_bytes) for _ in range(8)))
    assert len(set(sha256s)) == 1
    assert left_in(tmp_path) == [sha256s[0], f"{sha256s[0]}.zip"]


async def test_what_was_interrupted_long_ago_is_swept_away(tmp_path: Path) -> None:
    for name, at_s in ((".new-old", 1.0), (".new-now", None)):
        (tmp_path / name / "code").mkdir(parents=True)
        if at_s is not None:
            os.utime(tmp_path / name, (at_s, at_s))
    await FolderCodeStore(tmp_path).put(packed(("a", "a")))
    assert ".new-now" in left_in(tmp_path)
    assert ".new-old" not in left_in(tmp_path)


def link() -> bytes:
    return packed(("link", "/etc/passwd"), mode=0o120777)


def device() -> bytes:
    return packed(("null", ""), mode=0o020666)


def corrupt() -> bytes:
    whole = bytearray(packed(("a.txt", "hello " * 100)))
    whole[35:43] = b"\xff" * 8  # where the deflated bytes begin
    return bytes(whole)


def encrypted() -> bytes:
    whole = bytearray(packed(("a", "a")))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = whole.index(mark) + offset
        whole[at : at + 2] = struct.pack("<H", 1)
    return bytes(whole)


def packed_otherwise() -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a", "a")
    return memory.getvalue()


def cut_short() -> bytes:
    return packed(("a.txt", "hello"))[:-10]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: b"", "is not a zip file"),
        (lambda: b"hello", "is not a zip file"),
        (cut_short, "is not a zip file"),
        (corrupt, "is not a zip file"),
        (encrypted, "is not a zip file"),
        (packed_otherwise, "must be stored or deflated"),
        (lambda: packed(("../escaped", "x")), "a path must stay inside"),
        (lambda: packed(("a/../../escaped", "x")), "a path must stay inside"),
        (lambda: packed(("/escaped", "x")), "a path must stay inside"),
        (lambda: packed(("..\\escaped", "x")), "a path must stay inside"),
        (lambda: packed(("a" * 300, "x")), "a path may have 1024 bytes, each name in it 255"),
        (lambda: packed(("a/" * 600 + "b", "x")), "a path may have 1024 bytes"),
        (lambda: packed(("a", "x"), ("a/b", "x")), "names one path both as a file and as a folder"),
        (lambda: packed(("a/b", "x"), ("a", "x")), "names one path both as a file and as a folder"),
        (link, "only files and folders are allowed"),
        (device, "only files and folders are allowed"),
        (lambda: packed(("big", "x" * 1001)), "unpacks to 1001 bytes: at most 1000 are allowed"),
        (lambda: packed(*((f"f{n}", "") for n in range(6))), "has 6 entries: at most 5 are allowed"),
        (lambda: packed(("a", os.urandom(5000))), "bytes: at most 4000 are allowed"),
    ],
)
async def test_what_is_not_safe_to_unpack_is_refused_and_leaves_nothing(
    tmp_path: Path, make: Callable[[], bytes], says: str
) -> None:
    folder = tmp_path / "in" / "code"
    store = FolderCodeStore(folder, zip_bytes_max=4000, unpacked_bytes_max=1000, entries_max=5)
    with pytest.raises(InvalidArgument) as caught:
        await store.put(make())
    assert caught.value.message.startswith("code.zipFile ")
    assert says in caught.value.message
    assert left_in(folder) == []
    assert left_in(tmp_path) in ([], ["in"])


async def test_a_size_that_is_a_lie_ends_the_unpacking(tmp_path: Path) -> None:
    honest = packed(("a", "x" * 100_000))
    lying = honest.replace(struct.pack("<I", 100_000), struct.pack("<I", 10))
    with pytest.raises(InvalidArgument):
        await FolderCodeStore(tmp_path, unpacked_bytes_max=1000).put(lying)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", ["", "0" * 64, "../secret", "A" * 64, "0" * 63 + "\n"])
async def test_code_that_is_not_there_is_not_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.zip").write_bytes(b"x")
    with pytest.raises(NotFound):
        await FolderCodeStore(tmp_path / "code").get(name)


def test_the_checksum_is_crc_64_xz() -> None:
    assert crc64(b"123456789") == 0x995DC9BBDF1939FA, "the check value of the CRC catalogues"
    assert crc64(b"") == 0
    for size in (1, 3, 4, 100, 5000, 300_000):
        data = bytes(range(256)) * (size // 256 + 1)
        assert crc64(data[:size]) == _crc64_by_table(data[:size])


def _crc64_by_table(data: bytes) -> int:
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0xC96C5795D7870F42 if n & 1 else 0)
        table.append(n)
    crc = 0xFFFFFFFFFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFFFFFFFFFF


async def test_code_that_cannot_be_written_is_not_taken_for_bad_code(tmp_path: Path) -> None:
    (tmp_path / "code").write_text("no folder")
    with pytest.raises(Unavailable, match="the code cannot be kept: "):
        await FolderCodeStore(tmp_path / "code").put(packed(("app.py", "")))


# -- code that nobody needs --------------------------------------------------------------------------------------------


async def test_code_that_no_look_has_found_needed_for_an_hour_goes_with_its_zip(tmp_path: Path) -> None:
    store = FolderCodeStore(tmp_path)
    kept, old = [await store.put(packed(("app.py", text))) for text in ("kept", "old")]
    assert await store.sweep({kept}, 0.0) == []
    assert await store.sweep({kept}, UNUSED_S - 1.0) == []
    assert await store.sweep({kept}, UNUSED_S) == [old]
    assert left_in(tmp_path) == sorted([kept, f"{kept}.zip"])
    with pytest.raises(NotFound):
        await store.get(old)
    assert await store.put(packed(("app.py", "old"))) == old, "it may come again"
    assert (tmp_path / old / "app.py").read_text() == "old"


async def test_code_that_is_needed_once_or_put_again_has_its_hour_anew(tmp_path: Path) -> None:
    store = FolderCodeStore(tmp_path)
    needed, put_again = [await store.put(packed(("app.py", text))) for text in ("needed", "again")]
    await store.sweep((), 0.0)
    await store.sweep({needed}, UNUSED_S / 2)
    await store.put(packed(("app.py", "again")))
    assert await store.sweep((), UNUSED_S) == []
    assert await store.sweep((), 2 * UNUSED_S) == sorted([needed, put_again])


async def test_nothing_but_code_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".new-abc").mkdir()
    store = FolderCodeStore(tmp_path)
    for now_s in (0.0, UNUSED_S):
        assert await store.sweep((), now_s) == []
    assert left_in(tmp_path) == [".new-abc", "notes.txt"]
