"""The ocr function with its packages from an index, on text that was printed and scanned here."""

from __future__ import annotations

import asyncio
import io
import random
import re
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from runtime.contract import InstanceState
from runtime.node_contract import LaunchSpec
from tests.support.node import DEADLINE_S, NodeProcess, http

FUNCTION = Path(__file__).parents[2] / "functions" / "ocr"
FONTS = Path("/usr/share/fonts/truetype/dejavu")
INSTALL_TIMEOUT_S = 300.0

LINES = ("Delivery note 20261121", "Total amount 348.50 EUR", "Packed and checked by hand", "Thank you for the order")

pytestmark = pytest.mark.long


def font(size: int, name: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font of the system, else the one inside Pillow."""
    file = FONTS / name
    return ImageFont.truetype(str(file), size) if file.is_file() else ImageFont.load_default(size)


def scanned(lines: tuple[str, ...], name: str, seed: int) -> bytes:
    """A page as a scanner gives it: grey, a little askew, out of focus and noisy, as JPEG."""
    chance = random.Random(seed)
    page = Image.new("L", (1000, 110 * len(lines) + 80), 250)
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        draw.text((60 + chance.randrange(20), 50 + 110 * number), line, fill=25, font=font(48, name))
    page = page.rotate(chance.uniform(-1.0, 1.0), fillcolor=250, resample=Image.Resampling.BICUBIC)
    noise = np.random.default_rng(seed).normal(0.0, 6.0, (page.height, page.width))
    grey = np.clip(np.asarray(page.filter(ImageFilter.GaussianBlur(0.7)), np.float64) + noise, 0, 255)
    out = io.BytesIO()
    Image.fromarray(grey.astype(np.uint8)).save(out, "JPEG", quality=70)
    return out.getvalue()


def likeness(read: str, printed: tuple[str, ...]) -> float:
    """0 to 1, of letters and digits alone: the model may leave out spaces."""
    bare_read, bare_printed = (re.sub(r"[^a-z0-9]", "", text.lower()) for text in (read, "".join(printed)))
    return SequenceMatcher(None, bare_read, bare_printed).ratio()


async def installed(node: NodeProcess) -> LaunchSpec:
    """Skips where the packages cannot be had."""
    files = {name: (FUNCTION / name).read_text() for name in ("app.py", "requirements.txt")}
    more = {"handler": "app.app", "initializer": "app.initialize", "initialization_timeout_s": 120.0}
    function = node.python(files, memory_mib=2048, launch_timeout_s=120.0, **more)
    seen = await node.client.environment(function.code_sha256, build=True, wait_s=INSTALL_TIMEOUT_S)
    if seen.state == "failed":
        pytest.skip(f"its packages cannot be installed here: {seen.reason.splitlines()[-1]}")
    assert seen.state == "ready"
    assert not any(name.startswith(("onnxruntime==", "numpy==")) for name in seen.packages)
    return function


async def test_scanned_text_is_read_and_bad_input_named_and_later_instances_have_it_imported(node: NodeProcess) -> None:
    function = await installed(node)
    status = await node.launched(function)
    async with http(status.address) as client:
        for seed, name in enumerate(("DejaVuSans.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSansMono.ttf")):
            answer = (await client.post("/", content=scanned(LINES, name, seed))).json()
            assert likeness(answer["text"], LINES) > 0.9, answer["text"]
            assert all(line["score"] > 0.5 and len(line["box"]) == 4 for line in answer["lines"])
        blank = io.BytesIO()
        Image.new("L", (200, 100), 255).save(blank, "PNG")
        assert (await client.post("/", content=blank.getvalue())).json() == {"text": "", "lines": []}
        refused = await client.post("/", content=b"no picture")
        assert (refused.status_code, "no picture" in refused.json()["error"]) == (400, True)
    async with asyncio.timeout(DEADLINE_S):
        while not (zygotes := await node.client.zygotes()):
            await asyncio.sleep(0.01)
    assert zygotes[0]["refused"] == ""
    again = await node.launched(replace(function, instance_id="c-again"), InstanceState.READY)
    async with http(again.address) as client:
        answer = (await client.post("/", content=scanned(LINES, "DejaVuSans.ttf", 9))).json()
    assert likeness(answer["text"], LINES) > 0.9
