"""Turns a message into the numbers that the network reads: words by a vocabulary, figures by what they look like."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

PADDING, UNKNOWN = 0, 1
# A longer message is judged by its beginning: at 15 words a sentence that is eight sentences.
TOKENS_MAX = 120

CHARACTERS_MAX = 2000

# Tried from left to right. What a link, a sum or a telephone number says teaches nothing, that it is there does.
# Every repetition that may have to be given back is bounded, so that no text takes longer than its length.
_TOKEN = re.compile(
    r"""
      (?P<url>(?:https?://|www\.)\S+ | \b[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}\.(?:com|net|org|info|biz|io)\b\S*)
    | (?P<mail>\b[\w.+-]{1,64}@[\w.-]+)
    | (?P<money>[$£€]\s?\d[\d.,]* | \b\d[\d.,]{0,20}\s?(?:usd|gbp|eur|dollars?|euros?|pounds?|bucks|quid)\b)
    | (?P<percent>\b\d+\s?%)
    | (?P<phone>\+?\d[\d\-\ ]{5,20}\d)
    | (?P<clock>\b\d{1,2}(?::\d\d|\s?[ap]m)\b)
    | (?P<number>\d[\d.,]*)
    | (?P<word>[^\W\d_]+(?:'[^\W\d_]+)?)
    | (?P<mark>[!?]+)
    """,
    re.VERBOSE | re.IGNORECASE,
)


def tokenize(text: str) -> list[str]:
    """Words in lower case, and `<url> <mail> <money> <percent> <phone> <clock> <number> ! ?`; `<caps>` after WORDS."""
    tokens: list[str] = []
    for found in _TOKEN.finditer(text[:CHARACTERS_MAX].replace("’", "'")):
        kind, value = str(found.lastgroup), found.group()
        if kind == "word":
            tokens.append(value.lower())
            if len(value) > 2 and value.isupper():
                tokens.append("<caps>")
        else:
            tokens.append(value[0] if kind == "mark" else f"<{kind}>")
    return tokens


def load_vocabulary(path: Path) -> dict[str, int]:
    """The numbers of a file's words, which are a JSON list in the order of training."""
    return number_words(json.loads(path.read_text(encoding="utf-8")))


def number_words(words: Sequence[str]) -> dict[str, int]:
    """The first word gets the number after UNKNOWN."""
    return {word: number for number, word in enumerate(words, UNKNOWN + 1)}


def encode(texts: Sequence[str], vocabulary: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """(tokens int64 (n, longest), lengths int32 (n,)), padded on the right. A text without any token reads UNKNOWN."""
    rows = [[vocabulary.get(t, UNKNOWN) for t in tokenize(text)[:TOKENS_MAX]] or [UNKNOWN] for text in texts]
    lengths = np.array([len(row) for row in rows], np.int32)
    tokens = np.full((len(rows), int(lengths.max(initial=1))), PADDING, np.int64)
    for line, row in zip(tokens, rows, strict=True):
        line[: len(row)] = row
    return tokens, lengths
