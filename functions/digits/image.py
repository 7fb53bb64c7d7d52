"""Turns what a client sends, a PNG picture or 8×8 numbers, into the 8×8 ink that the model was trained on."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import png

SIDE = 8
INK_MAX = 16  # in the training data each number counts the inked ones of 4×4 pixels
JSON_BYTES_MAX = 64 * 1024  # 64 numbers need a few hundred
CONTRAST_MIN = 0.1  # of white to black: below it there is nothing drawn
# Of the darkest stroke; what is fainter (paper, shadows, soft edges) does not widen the box around the digit.
EDGE = 0.2

ALLOWED = f'a PNG image, or JSON {{"image": {SIDE} rows of {SIDE} numbers from 0 (paper) to {INK_MAX} (ink)}}'


class BadImage(ValueError):
    """The client's fault; the message names what was found and what is allowed."""


def ink_from_body(body: bytes) -> np.ndarray:
    """Ink in [0, 16] as float32 (8, 8). What the body is shows in its first bytes, so no content type is needed.

    Raises:
        BadImage: neither form, or one that cannot be read.
    """
    if not body:
        raise BadImage(f"body is empty, must be {ALLOWED}")
    if not body.startswith(png.SIGNATURE[:4]):
        return ink_from_json(body)
    try:
        return ink_from_pixels(png.read(body))
    except png.PngError as error:
        raise BadImage(str(error)) from None


def ink_from_json(body: bytes) -> np.ndarray:
    if len(body) > JSON_BYTES_MAX:
        raise BadImage(f"body has {len(body)} bytes and is no PNG image; JSON may have {JSON_BYTES_MAX}")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise BadImage(f"body starts with {body[:16]!r}, must be {ALLOWED}") from None
    if not isinstance(value, dict) or "image" not in value:
        raise BadImage(f'JSON has no field "image"; the body must be {ALLOWED}')
    return checked(value["image"])


def checked(image: Any) -> np.ndarray:
    """`image` of the JSON form as an array, or BadImage with the place of the first thing that is wrong."""
    if not isinstance(image, list) or len(image) != SIDE:
        raise BadImage(f"image has {_length(image)}, must be a list of {SIDE} rows")
    for y, row in enumerate(image):
        if not isinstance(row, list) or len(row) != SIDE:
            raise BadImage(f"image[{y}] has {_length(row)}, must be a list of {SIDE} numbers")
        for x, value in enumerate(row):
            # bool is an int to Python; NaN, which its JSON reader lets through, fails the comparison.
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= INK_MAX:
                raise BadImage(f"image[{y}][{x}] is {value!r:.40}, must be a number from 0 to {INK_MAX}")
    return np.asarray(image, np.float32)


def _length(value: Any) -> str:
    return f"{len(value)} items" if isinstance(value, list) else f"the value {value!r:.40}"


def ink_from_pixels(rgba: np.ndarray) -> np.ndarray:
    """A picture of any size and either polarity as 8×8 ink: the digit fills the square, as in the training data."""
    ink = stretch(darkness(rgba))
    return shrink(square(crop(ink))) * INK_MAX


def darkness(rgba: np.ndarray) -> np.ndarray:
    """How dark each pixel is on white paper, 0 to 1, by the luma weights of ITU-R BT.601."""
    alpha = rgba[:, :, 3] / np.float32(255)
    luma = rgba[:, :, :3] @ np.array([0.299, 0.587, 0.114], np.float32) / np.float32(255)
    return (1 - luma) * alpha


def stretch(dark: np.ndarray) -> np.ndarray:
    """Ink from 0 to 1. The rim of the picture is paper: where it is dark, the digit is drawn in white."""
    rim = np.concatenate([dark[0], dark[-1], dark[:, 0], dark[:, -1]])
    ink = 1 - dark if np.median(rim) > (dark.min() + dark.max()) / 2 else dark
    low, high = float(ink.min()), float(ink.max())
    if high - low < CONTRAST_MIN:
        raise BadImage(f"image is blank: its contrast is {high - low:.2f}, must be at least {CONTRAST_MIN}")
    return (ink - low) / (high - low)


def crop(ink: np.ndarray) -> np.ndarray:
    """The smallest box that holds every stroke."""
    rows, columns = np.nonzero((ink > EDGE).any(axis=1))[0], np.nonzero((ink > EDGE).any(axis=0))[0]
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def square(ink: np.ndarray) -> np.ndarray:
    """Paper added on both sides of the shorter axis."""
    height, width = ink.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(ink, ((top, side - height - top), (left, side - width - left)))


def shrink(ink: np.ndarray) -> np.ndarray:
    """Area average: each of the 8×8 cells is the mean of what it covers, parts of pixels by their share."""
    share = coverage(ink.shape[0])
    return (share @ ink @ share.T).astype(np.float32)


def coverage(side: int) -> np.ndarray:
    """(8, side): how much of each pixel lies in each cell, in parts of the cell; every row adds up to 1."""
    edges = np.arange(SIDE + 1) * (side / SIDE)
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(overlap, 0, None) / (side / SIDE)
