"""The text format of protocol buffers, as config.pbtxt has it: messages of named values, nested. Pure.

What is read knows no schema: every name has the list of its values, and whoever asks says what they should be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

Message = dict[str, list[Any]]  # values are texts, numbers, Words and Messages

_DEPTH_MAX: Final = 32
_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)[fF]?)
    |(?P<word>[A-Za-z_][\w.]*)
    |(?P<sign>[:{}\[\],;<>])""",
    re.VERBOSE,
)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\"}
_CLOSED_BY: Final = {"{": "}", "<": ">"}


class Word(str):
    """A value without quotes: true, false, or the name of an enumeration's value."""

    __slots__ = ()


class TextFormatError(Exception):
    """Says which line cannot be read, and why."""


class _Token(NamedTuple):
    kind: str  # text, number, word, sign, or end
    text: str
    line: int


def parse(text: str) -> Message:
    """Raises TextFormatError."""
    return _Reader(_tokens(text)).message("", 0)


def _tokens(text: str) -> Iterator[_Token]:
    at, line = 0, 1
    while at < len(text):
        matched = _TOKEN.match(text, at)
        if matched is None:
            raise TextFormatError(f"line {line}: {text[at : at + 10]!r} is not allowed here")
        kind = matched.lastgroup or ""
        if kind != "space":
            yield _Token(kind, matched.group(), line)
        line += matched.group().count("\n")
        at = matched.end()
    yield _Token("end", "the end", line)


class _Reader:
    def __init__(self, tokens: Iterator[_Token]) -> None:
        self._tokens = tokens
        self._next = next(tokens)

    def message(self, closed_by: str, depth: int) -> Message:
        """Up to its end, which is taken."""
        if depth > _DEPTH_MAX:
            raise TextFormatError(f"line {self._next.line}: messages in each other, more than {_DEPTH_MAX} deep")
        found: Message = {}
        while True:
            token = self._take()
            if token.text == closed_by or (not closed_by and token.kind == "end"):
                return found
            if token.kind != "word":
                raise TextFormatError(f"line {token.line}: {token.text!r} where the name of a field should be")
            has_colon = self._took(":")
            values = found.setdefault(token.text, [])
            if self._took("["):
                values += self._list(depth)
            elif has_colon or self._next.text in _CLOSED_BY:
                values.append(self._value(depth))
            else:
                raise TextFormatError(f"line {token.line}: {token.text} has no value")
            _ = self._took(",") or self._took(";")

    def _list(self, depth: int) -> list[Any]:
        values: list[Any] = []
        while not self._took("]"):
            if values and not self._took(","):
                raise TextFormatError(f"line {self._next.line}: {self._next.text!r} where a comma or ] should be")
            values.append(self._value(depth))
        return values

    def _value(self, depth: int) -> Any:
        token = self._take()
        if token.text in _CLOSED_BY:
            return self.message(_CLOSED_BY[token.text], depth + 1)
        if token.kind == "number":
            return _number(token)
        if token.kind == "word":
            return Word(token.text)
        if token.kind == "text":
            texts = [_plain(token)]
            while self._next.kind == "text":  # one beside the other are one
                texts.append(_plain(self._take()))
            return "".join(texts)
        raise TextFormatError(f"line {token.line}: {token.text!r} where a value should be")

    def _take(self) -> _Token:
        token = self._next
        if token.kind != "end":
            self._next = next(self._tokens)
        return token

    def _took(self, sign: str) -> bool:
        if self._next.kind == "sign" and self._next.text == sign:
            self._take()
            return True
        return False


def _number(token: _Token) -> int | float:
    text = token.text
    if "x" in text.lower():
        return int(text, 16)
    if re.fullmatch(r"[-+]?\d+", text) and len(text) <= 20:
        return int(text)
    return float(text.rstrip("fF"))


def _plain(token: _Token) -> str:
    return re.sub(r"\\(.)", lambda escaped: _ESCAPES.get(escaped[1], escaped[1]), token.text[1:-1])
