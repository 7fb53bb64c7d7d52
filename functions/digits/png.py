"""Reads PNG images into arrays with zlib and numpy alone, so that serving needs no imaging library.

Every colour type and bit depth of the PNG specification (ISO/IEC 15948) is read; interlaced images, broken files and
images over `PIXELS_MAX` are refused.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Undoing a row's filter is a loop in Python: a picture of this size takes a good half second, and one digit needs less.
PIXELS_MAX = 512 * 512
BYTES_MAX = 4 * 1024 * 1024  # holds any picture of that size, and bounds the work on a file made of tiny chunks

GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGB_ALPHA: 4}
DEPTHS = {GRAY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GRAY_ALPHA: (8, 16), RGB_ALPHA: (8, 16)}


class PngError(ValueError):
    """Not a PNG image that can be read here; the message says what was found and what is allowed."""


@dataclass(frozen=True, slots=True)
class Header:
    """The IHDR chunk of a picture that can be read."""

    width: int
    height: int
    depth: int
    colour: int

    @property
    def row_bytes(self) -> int:
        return (self.width * CHANNELS[self.colour] * self.depth + 7) // 8

    @property
    def pixel_bytes(self) -> int:
        """How far left the filters look; at least one byte, also where a byte holds several pixels."""
        return max(1, CHANNELS[self.colour] * self.depth // 8)


def read(data: bytes) -> np.ndarray:
    """The picture as uint8 of shape (height, width, 4): red, green, blue, alpha.

    Raises:
        PngError: not a PNG, broken, interlaced, or more than PIXELS_MAX pixels or BYTES_MAX bytes.
    """
    chunks = split(data)
    header = parse_header(chunks.get(b"IHDR", b""))
    rows = unfilter(inflate(chunks.get(b"IDAT", b""), header), header)
    return to_rgba(samples(rows, header), header, chunks)


def split(data: bytes) -> dict[bytes, bytes]:
    """Chunk bodies by type; the bodies of one type are joined, as IDAT's have to be."""
    if not data.startswith(SIGNATURE):
        raise PngError(f"not a PNG image: it starts with {data[:8]!r}, a PNG with {SIGNATURE!r}")
    if len(data) > BYTES_MAX:
        raise PngError(f"PNG image has {len(data)} bytes, may have {BYTES_MAX}")
    chunks: dict[bytes, list[bytes]] = {}
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        kind, body, end = data[at + 4 : at + 8], data[at + 8 : at + 8 + size], at + 12 + size
        if end > len(data):
            raise PngError(f"PNG image is cut off: chunk {kind!r} ends at byte {end}, the image at {len(data)}")
        if zlib.crc32(kind + body) != int.from_bytes(data[end - 4 : end], "big"):
            raise PngError(f"PNG image is damaged: the checksum of chunk {kind!r} does not fit")
        chunks.setdefault(kind, []).append(body)
        if kind == b"IEND":
            return {kind: b"".join(bodies) for kind, bodies in chunks.items()}
        at = end
    raise PngError("PNG image is cut off: it has no IEND chunk")


def parse_header(body: bytes) -> Header:
    if len(body) != 13:
        raise PngError(f"PNG header has {len(body)} bytes, must have 13")
    width, height, depth, colour, _compression, _filtering, interlace = struct.unpack(">IIBBBBB", body)
    if not (width and height) or width * height > PIXELS_MAX:
        raise PngError(f"PNG image is {width}×{height}, must have 1 to {PIXELS_MAX} pixels")
    if depth not in DEPTHS.get(colour, ()):
        raise PngError(f"PNG colour type {colour} with {depth} bits does not exist; allowed are {DEPTHS}")
    if interlace:
        raise PngError("PNG image is interlaced; save it without interlacing")
    return Header(width, height, depth, colour)


def inflate(body: bytes, header: Header) -> bytes:
    """Exactly the bytes that the header announces, so that a small file cannot unpack into a large one."""
    size = header.height * (1 + header.row_bytes)
    try:
        data = zlib.decompressobj().decompress(body, size)
    except zlib.error as error:
        raise PngError(f"PNG image is damaged: {error}") from None
    if len(data) < size:
        raise PngError(f"PNG image is damaged: {len(data)} bytes of pixels, must be {size}")
    return data


def unfilter(data: bytes, header: Header) -> np.ndarray:
    """The rows as bytes (height, row_bytes): each row comes with a filter that says what was subtracted from it."""
    lines = np.frombuffer(data, np.uint8).reshape(header.height, 1 + header.row_bytes)
    rows = np.empty((header.height, header.row_bytes), np.uint8)
    above = np.zeros(header.row_bytes, np.uint8)
    for line, row in zip(lines, rows, strict=True):
        row[:] = unfilter_row(int(line[0]), line[1:], above, header.pixel_bytes)
        above = row
    return rows


def unfilter_row(kind: int, line: np.ndarray, above: np.ndarray, step: int) -> np.ndarray:
    if kind == 0:
        return line
    if kind == 2:
        return line + above  # both are uint8, so the sum wraps as the specification wants it
    if kind not in (1, 3, 4):
        raise PngError(f"PNG row has filter {kind}, allowed are 0 to 4")
    row, up = bytearray(line.tobytes()), above.tobytes()
    for i in range(len(row)):
        left, corner = (row[i - step], up[i - step]) if i >= step else (0, 0)
        predicted = left if kind == 1 else (left + up[i]) // 2 if kind == 3 else paeth(left, up[i], corner)
        row[i] = (row[i] + predicted) & 0xFF
    return np.frombuffer(bytes(row), np.uint8)


def paeth(left: int, up: int, corner: int) -> int:
    """The neighbour nearest to left + up − corner; ties go to left, then up."""
    nearest, distance = left, abs(up - corner)
    if abs(left - corner) < distance:
        nearest, distance = up, abs(left - corner)
    return corner if abs(left + up - 2 * corner) < distance else nearest


def samples(rows: np.ndarray, header: Header) -> np.ndarray:
    """The numbers in the rows as uint8 (height, width, channels); of 16 bits the upper 8 are kept."""
    if header.depth == 16:
        rows = rows[:, ::2]
    elif header.depth < 8:
        bits = np.unpackbits(rows, axis=1).reshape(header.height, -1, header.depth)
        rows = (bits << np.arange(header.depth - 1, -1, -1, dtype=np.uint8)).sum(axis=2, dtype=np.uint8)
        rows = rows[:, : header.width]
    return rows.reshape(header.height, header.width, CHANNELS[header.colour])


def to_rgba(values: np.ndarray, header: Header, chunks: dict[bytes, bytes]) -> np.ndarray:
    """Palette looked up, gray spread over three channels, alpha added. `tRNS` is read for palettes only."""
    if header.colour == PALETTE:
        return palette(chunks)[values[:, :, 0]]
    if header.colour == GRAY and header.depth < 8:
        values = values * np.uint8(255 // (2**header.depth - 1))
    has_alpha = header.colour in (GRAY_ALPHA, RGB_ALPHA)
    colours = values[:, :, :-1] if has_alpha else values
    alpha = values[:, :, -1:] if has_alpha else np.full_like(values[:, :, :1], 255)
    return np.concatenate([np.broadcast_to(colours, (*colours.shape[:2], 3)), alpha], axis=2)


def palette(chunks: dict[bytes, bytes]) -> np.ndarray:
    """256 colours with alpha; entries that the file does not have are opaque black."""
    colours = np.zeros((256, 4), np.uint8)
    colours[:, 3] = 255
    body, transparency = chunks.get(b"PLTE", b""), chunks.get(b"tRNS", b"")[:256]
    if not body or len(body) % 3 or len(body) > 768:
        raise PngError(f"PNG palette has {len(body)} bytes, must have 3 for each of 1 to 256 colours")
    colours[: len(body) // 3, :3] = np.frombuffer(body, np.uint8).reshape(-1, 3)
    colours[: len(transparency), 3] = np.frombuffer(transparency, np.uint8)
    return colours
