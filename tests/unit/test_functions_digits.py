"""The digits function: pictures become ink, ink becomes a digit, and bad input is named."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
from PIL import Image

from tests.support.function_code import FUNCTIONS, imported

ROOT = Path(__file__).parents[2]
PICTURES = sorted((ROOT / "loadtests" / "data" / "digits").glob("*.png"))
BLANK = [[0] * 8 for _ in range(8)]


@pytest.fixture(scope="module")
def modules() -> Iterator[list[ModuleType]]:
    with imported("digits", "png", "image", "app") as found:
        yield found


@pytest.fixture(scope="module")
def png(modules: list[ModuleType]) -> ModuleType:
    return modules[0]


@pytest.fixture(scope="module")
def image(modules: list[ModuleType]) -> ModuleType:
    return modules[1]


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    path = FUNCTIONS / "digits" / "digits.onnx"
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.fixture
def app(modules: list[ModuleType], session: Any, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(modules[2], "session", lambda: session)
    return modules[2]


async def post(app: ModuleType, body: bytes, path: str = "/", method: str = "POST") -> httpx.Response:
    transport = httpx.ASGITransport(app=app.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://function") as client:
        return await client.request(method, path, content=body)


def saved(pixels: np.ndarray, mode: str | None = None, **options: Any) -> bytes:
    """A PNG as Pillow writes it, which picks filters and depths that our own writer does not."""
    picture = Image.fromarray(pixels)
    file = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(file, "PNG", **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def written(lines: bytes, width: int, height: int, *, depth: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    """A PNG with exactly these lines, each of which begins with its filter."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    """A gradient: for such pictures Pillow uses the filters that look at neighbours."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([(y * 3 + x) % 256, (x * 2) % 256, (x + y) % 256], axis=2).astype(np.uint8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("shape", [(1, 1), (7, 13), (40, 31)])
@pytest.mark.parametrize("look", ["noise", "smooth"])
def test_every_kind_of_png_reads_as_pillow_reads_it(
    png: ModuleType, mode: str, shape: tuple[int, int], look: str
) -> None:
    pixels = noise(*shape, 3) if look == "noise" else smooth(*shape)
    data = saved(pixels, mode)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    assert np.array_equal(png.read(data), expected)


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("channels", [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_every_row_filter_reads_as_pillow_reads_it(png: ModuleType, kind: int, channels: tuple[int, int]) -> None:
    colour, count = channels
    lines = b"".join(bytes([kind]) + row.tobytes() for row in noise(6, 5 * count))
    data = written(lines, 5, 6, colour=colour)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    assert np.array_equal(png.read(data), expected)


@pytest.mark.parametrize("bits", [2, 4])
def test_small_palettes_share_bytes_between_pixels(png: ModuleType, bits: int) -> None:
    data = saved(noise(9, 7) % 2**bits * 60, "P", bits=bits)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    assert np.array_equal(png.read(data), expected)


def test_of_sixteen_bits_the_upper_eight_are_kept(png: ModuleType) -> None:
    data = written(b"\0" + struct.pack(">HH", 0x12FF, 0xFE01), 2, 1, depth=16)
    assert png.read(data)[0, :, 0].tolist() == [0x12, 0xFE]


def test_a_broken_png_is_refused_with_what_is_wrong(png: ModuleType) -> None:
    whole = saved(noise(8, 8, 3))
    flipped = bytearray(whole)
    flipped[50] ^= 1
    for data, message in (
        (b"GIF89a", "not a PNG image"),
        (whole[:-20], "cut off"),
        (whole[:8], "no IEND"),
        (bytes(flipped), "checksum"),
        (written(b"\0" * 4, 9, 9), "bytes of pixels, must be 90"),
        (written(b"\7\0", 1, 1), "filter 7"),
        (written(b"\0\0", 1, 1, interlace=1), "interlaced"),
        (written(b"\0\0", 1, 1, colour=5), "colour type 5"),
        (written(b"\0\0", 1, 1, colour=3), "palette"),
        (written(b"\0\0", 0, 1), "must have 1 to"),
        (whole[:8] + chunk(b"IEND", b""), "must have 13"),
        (whole + bytes(png.BYTES_MAX), "may have"),
    ):
        with pytest.raises(png.PngError, match=message):
            png.read(data)


def test_every_cut_of_a_png_is_refused_and_none_crashes(png: ModuleType) -> None:
    whole = saved(smooth(6, 6))
    for end in range(len(whole)):
        with pytest.raises(png.PngError):
            png.read(whole[:end])


def test_a_small_file_cannot_unpack_into_a_large_picture(png: ModuleType) -> None:
    with pytest.raises(png.PngError, match="60000×60000"):
        png.read(written(b"", 60_000, 60_000))
    bomb = written(bytes(50_000_000), 2, 2)
    assert png.read(bomb).shape == (2, 2, 4)


def test_a_pixel_exact_picture_gives_the_numbers_it_was_drawn_from(image: ModuleType) -> None:
    ink = np.zeros((8, 8))
    ink[0, 2:6] = ink[7, 2:6] = 16
    ink[:, 2] = ink[:, 5] = 8
    ink[0, 2] = ink[7, 5] = 16
    drawn = np.kron(255 - ink * 255 / 16, np.ones((4, 4))).round().astype(np.uint8)
    assert np.abs(image.ink_from_body(saved(drawn)) - ink).max() < 0.1


def test_place_size_and_polarity_of_a_digit_do_not_matter(image: ModuleType) -> None:
    digit = 255 - np.asarray(Image.open(PICTURES[0]).convert("L"))
    plain = image.ink_from_body(saved(255 - digit))
    moved = np.pad(digit, ((50, 3), (10, 40)))
    assert np.allclose(image.ink_from_body(saved(255 - moved)), plain, atol=0.2)
    assert np.allclose(image.ink_from_body(saved(moved)), plain, atol=0.2)
    assert np.allclose(image.ink_from_body(saved(np.kron(255 - digit, np.ones((3, 3), np.uint8)))), plain, atol=0.2)


def test_transparent_paper_is_paper(image: ModuleType) -> None:
    digit = 255 - np.asarray(Image.open(PICTURES[0]).convert("L"))
    black_with_alpha = np.dstack([np.zeros((*digit.shape, 3), np.uint8), digit])
    assert np.allclose(image.ink_from_body(saved(black_with_alpha)), image.ink_from_body(saved(255 - digit)), atol=0.2)


def test_cells_share_the_pixels_that_lie_between_them(image: ModuleType) -> None:
    for side in (1, 5, 8, 13, 512):
        share = image.coverage(side)
        assert np.allclose(share.sum(axis=1), 1)
        assert np.allclose(share.sum(axis=0), 8 / side)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "body is empty, must be a PNG image, or JSON"),
        (b"seven", "body starts with b'seven', must be a PNG image, or JSON"),
        (b"\xff\xfe\x00", "must be a PNG image, or JSON"),
        (b"[" * 60_000, "must be a PNG image, or JSON"),
        (b" " * 70_000, "JSON may have 65536"),
        (b"[]", 'no field "image"'),
        (b'{"picture": 1}', 'no field "image"'),
        (b'{"image": 7}', "image has the value 7, must be a list of 8 rows"),
        (b'{"image": [[1]]}', "image has 1 items, must be a list of 8 rows"),
        (json.dumps({"image": [*BLANK[:3], [0] * 9, *BLANK[4:]]}).encode(), r"image\[3\] has 9 items"),
        (json.dumps({"image": [*BLANK[:7], [0] * 7 + [17]]}).encode(), r"image\[7\]\[7\] is 17, must be a number"),
        (json.dumps({"image": [*BLANK[:7], [0] * 7 + [True]]}).encode(), r"image\[7\]\[7\] is True"),
        (json.dumps({"image": [*BLANK[:7], [0] * 7 + [float("nan")]]}).encode(), r"image\[7\]\[7\] is nan"),
        (json.dumps({"image": [["0"] * 8] * 8}).encode(), r"image\[0\]\[0\] is '0'"),
        (b"\x89PNG\r\n\x1a\n", "cut off"),
    ],
)
async def test_bad_input_is_answered_with_400_and_what_is_allowed(app: ModuleType, body: bytes, message: str) -> None:
    answer = await post(app, body)
    assert answer.status_code == 400
    with pytest.raises(ValueError, match=message):
        raise ValueError(answer.json()["error"])


async def test_a_picture_without_contrast_is_called_blank(app: ModuleType) -> None:
    answer = await post(app, saved(np.full((30, 30), 200, np.uint8)))
    assert (answer.status_code, answer.json()["error"][:14]) == (400, "image is blank")


async def test_only_post_is_answered(app: ModuleType) -> None:
    assert (await post(app, b"", method="GET")).status_code == 405


async def test_json_numbers_give_the_digit_and_ten_probabilities(app: ModuleType) -> None:
    samples = np.load(ROOT / "tests" / "data" / "digits_heldout.npz")
    ink = samples["images"][0]
    answer = await post(app, json.dumps({"image": ink.tolist()}).encode())
    assert answer.status_code == 200
    assert answer.json()["digit"] == samples["labels"][0]
    assert sum(answer.json()["probabilities"]) == pytest.approx(1, abs=1e-4)
    assert int(np.argmax(answer.json()["probabilities"])) == answer.json()["digit"]


@pytest.mark.parametrize("path", ["/", "/invoke", "/2016-08-15/proxy/samples/digits/", "/2016-08-15/proxy/a/b//x"])
async def test_every_path_recognizes_as_triggers_put_a_prefix_there(app: ModuleType, path: str) -> None:
    answer = await post(app, PICTURES[0].read_bytes(), path)
    assert (answer.status_code, answer.json()["digit"]) == (200, 0)


async def test_initialize_runs_the_model_over_http_and_as_a_function(
    app: ModuleType, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[Any] = []

    class Watched:
        def run(self, outputs: Any, inputs: dict[str, Any]) -> Any:
            runs.append(inputs)
            return session.run(outputs, inputs)

    monkeypatch.setattr(app, "session", Watched)
    assert (await post(app, b"", "/initialize")).status_code == 200
    app.initialize(context=object())
    assert [inputs["image"].shape for inputs in runs] == [(1, 1, 8, 8)] * 2


async def test_the_pictures_for_load_tests_are_small_and_mostly_recognized(app: ModuleType) -> None:
    assert len(PICTURES) == 20
    assert max(path.stat().st_size for path in PICTURES) < 1000
    found = [(await post(app, path.read_bytes())).json()["digit"] for path in PICTURES]
    assert sum(digit == int(path.name[0]) for digit, path in zip(found, PICTURES, strict=True)) >= 19


def test_held_out_accuracy_is_what_the_readme_says(app: ModuleType) -> None:
    samples = np.load(ROOT / "tests" / "data" / "digits_heldout.npz")
    found = app.probabilities(samples["images"].astype(np.float32)).argmax(axis=1)
    assert len(found) == 450
    assert float((found == samples["labels"]).mean()) == pytest.approx(0.989, abs=0.001)


def test_held_out_accuracy_as_png_is_what_the_readme_says(app: ModuleType, image: ModuleType) -> None:
    samples = np.load(ROOT / "tests" / "data" / "digits_heldout.npz")
    drawn = [np.kron(255 - np.round(ink * (255 / 16)), np.ones((4, 4))).astype(np.uint8) for ink in samples["images"]]
    found = app.probabilities(np.stack([image.ink_from_body(saved(one)) for one in drawn])).argmax(axis=1)
    assert float((found == samples["labels"]).mean()) == pytest.approx(0.991, abs=0.001)


def test_the_model_is_readable_by_old_runtimes_and_small() -> None:
    path = FUNCTIONS / "digits" / "digits.onnx"
    assert path.stat().st_size < 1_000_000
    assert path.read_bytes()[:2] == b"\x08\x08"  # the field ir_version, 8
