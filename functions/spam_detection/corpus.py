"""Makes the synthetic training messages: templates from corpus/, filled in with words by a seeded generator.

A template is kept whole on one side of the split: those of the test part were never seen in training, in any filling.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
SPAM, NOT_SPAM = 1, 0
FOLDS = 5  # every fifth template is held out; a fold says which of the five ways

_SLOT = re.compile(r"\{(\w+)\}")
_CHOICE = re.compile(r"\(([^()]*)\)")


@dataclass(frozen=True, slots=True)
class Message:
    text: str
    label: int  # SPAM or NOT_SPAM


def read_lines(name: str) -> list[str]:
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def read_words() -> dict[str, list[str]]:
    split = (line.partition(":") for line in read_lines("words.txt"))
    return {slot.strip(): [choice.strip() for choice in choices.split(" | ")] for slot, _, choices in split}


def read_handwritten() -> list[Message]:
    """Messages by hand, in wording that no template has: what the network makes of text from elsewhere."""
    pairs = (line.split("\t", 1) for line in read_lines("handwritten.tsv"))
    return [Message(text, SPAM if label == "spam" else NOT_SPAM) for label, text in pairs]


def fill(template: str, words: dict[str, list[str]], roll: random.Random) -> str:
    """One reading of a template: first (a|b), then {slot}, until neither is left."""
    while True:
        chosen = _CHOICE.sub(lambda found: roll.choice(found[1].split("|")), template)
        chosen = _SLOT.sub(lambda found: roll.choice(words[found[1]]), chosen)
        if chosen == template:
            return " ".join(chosen.split())
        template = chosen


def disguise(text: str, label: int, roll: random.Random) -> str:
    """The same message as different people type it: capitals, missing punctuation, a slip of the finger."""
    style = roll.random()
    if label == SPAM and style < 0.12:
        return text.upper()
    if style < 0.5:
        text = text[:1].upper() + text[1:]
    elif style < 0.6:
        text = re.sub(r"[,.!?']", "", text)
    if roll.random() < 0.3:
        text += roll.choice(["!", "!!", "."] if label == SPAM else ["!", ".", "...", " :)"])
    if roll.random() < 0.15 and len(text) > 10:
        at = roll.randrange(len(text) - 1)
        text = text[:at] + text[at + 1 :]
    return text


def compose(template: str, label: int, words: dict[str, list[str]], roll: random.Random) -> Message:
    before = "{dear}, " if label == SPAM and roll.random() < 0.25 else "{hello} " if roll.random() < 0.3 else ""
    after = " {push}" if label == SPAM and roll.random() < 0.5 else " {bye}" if roll.random() < 0.2 else ""
    return Message(disguise(fill(before + template + after, words, roll), label, roll), label)


def split_templates(lines: list[str], fold: int) -> tuple[list[str], list[str]]:
    """(for training, held out)."""
    return [line for number, line in enumerate(lines) if number % FOLDS != fold], lines[fold::FOLDS]


def generate(count: int, roll: random.Random, *, fold: int, held_out: bool) -> list[Message]:
    """`count` messages, half of them spam; only of the fold's held-out templates, or only of the others."""
    words = read_words()
    sides = ((NOT_SPAM, "not_spam.txt"), (SPAM, "spam.txt"))
    templates = {label: split_templates(read_lines(name), fold)[held_out] for label, name in sides}
    labels = [number % 2 for number in range(count)]
    return [compose(roll.choice(templates[label]), label, words, roll) for label in labels]
