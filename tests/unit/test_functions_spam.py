"""The spam function: messages become words, words become a verdict, and bad input is named."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest

from tests.support.function_code import FUNCTIONS, imported

FOLDER = FUNCTIONS / "spam_detection"
DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def modules() -> Iterator[list[ModuleType]]:
    with imported("spam_detection", "tokens", "corpus", "app") as found:
        yield found


@pytest.fixture(scope="module")
def tokens(modules: list[ModuleType]) -> ModuleType:
    return modules[0]


@pytest.fixture(scope="module")
def corpus(modules: list[ModuleType]) -> ModuleType:
    return modules[1]


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(FOLDER / "spam.onnx", providers=["CPUExecutionProvider"])


@pytest.fixture
def app(modules: list[ModuleType], tokens: ModuleType, session: Any, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    loaded = session, tokens.load_vocabulary(FOLDER / "vocabulary.json")
    monkeypatch.setattr(modules[2], "model", lambda: loaded)
    return modules[2]


async def post(app: ModuleType, body: bytes, path: str = "/", method: str = "POST") -> httpx.Response:
    transport = httpx.ASGITransport(app=app.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://function") as client:
        return await client.request(method, path, content=body, headers={"content-type": "text/plain"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World", "hello world"),
        ("WINNER of AN hour", "winner <caps> of an hour"),
        ("it’s don't", "it's don't"),
        ("win £1,000 or 20 quid or $1.49", "win <money> or <money> or <money>"),
        ("call 0800 555 0104 now!!", "call <phone> now !"),
        ("at 9:30, 5pm, room 12", "at <clock> <clock> room <number>"),
        ("70% off", "<percent> off"),
        ("see http://a.example/x?y=1 or shop.example.com/now", "see <url> or <url>"),
        ("write to me.too@example.org?", "write to <mail> ?"),
        ("naïve 你好 привет", "naïve 你好 привет"),
        ("🎉 …", ""),
    ],
)
def test_words_and_figures_are_recognized(tokens: ModuleType, text: str, expected: str) -> None:
    assert " ".join(tokens.tokenize(text)) == expected


def test_texts_are_padded_to_the_longest_and_unknown_words_have_one_number(tokens: ModuleType) -> None:
    numbers, lengths = tokens.encode(["a b zebra", "b", "🎉"], {"a": 2, "b": 3})
    assert numbers.tolist() == [[2, 3, 1], [3, 0, 0], [1, 0, 0]]
    assert lengths.tolist() == [3, 1, 1]
    assert (numbers.dtype, lengths.dtype) == (np.int64, np.int32)


def test_a_long_text_is_judged_by_its_beginning(tokens: ModuleType) -> None:
    numbers, lengths = tokens.encode(["word " * 1000], {"word": 2})
    assert (numbers.shape, lengths.tolist()) == ((1, tokens.TOKENS_MAX), [tokens.TOKENS_MAX])


@pytest.mark.parametrize("part", ["a-", "a.", "1.", "1 ", "1-", "a@", "w.", "$", "'a", "http", "aa"])
def test_no_text_takes_long_to_read(tokens: ModuleType, part: str) -> None:
    started_s = time.process_time()
    tokens.tokenize(part * 1_000_000)
    assert time.process_time() - started_s < 0.5


def test_padding_changes_nothing_in_the_verdict(app: ModuleType) -> None:
    texts = ["Are you coming to lunch?", "win a free cruise now", "ok " * 100]
    together = [finding["spam_probs"] for finding in app.classify(texts)]
    alone = [app.classify([text])[0]["spam_probs"] for text in texts]
    assert together == pytest.approx(alone, abs=1e-5)


async def test_one_message_gives_a_list_of_one_with_the_documented_keys(app: ModuleType) -> None:
    text = "You have won a free cruise! Call now to claim"
    answer = await post(app, text.encode())
    assert answer.status_code == 200
    (finding,) = answer.json()
    assert list(finding) == ["text", "spam_detection_label", "spam_detection_key", "spam_probs", "not_spam_probs"]
    assert (finding["text"], finding["spam_detection_label"], finding["spam_detection_key"]) == (text, "spam", 1)
    assert finding["spam_probs"] + finding["not_spam_probs"] == pytest.approx(1, abs=1e-5)
    assert finding["spam_probs"] > 0.5


async def test_each_line_is_a_message_and_blank_lines_are_none(app: ModuleType) -> None:
    body = "\n  \r\nCan you bring the keys tomorrow?\r\n\nClaim your free prize now, call 0800 555 0104!\n"
    findings = (await post(app, body.encode())).json()
    assert [finding["spam_detection_label"] for finding in findings] == ["not_spam", "spam"]
    assert [finding["spam_detection_key"] for finding in findings] == [0, 1]
    assert findings[0]["text"] == "Can you bring the keys tomorrow?"


@pytest.mark.parametrize("path", ["/", "/invoke", "/2016-08-15/proxy/samples/spam_detection/"])
async def test_every_path_detects_as_triggers_put_a_prefix_there(app: ModuleType, path: str) -> None:
    assert len((await post(app, b"see you at lunch", path)).json()) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "body has 0 texts, must have 1 to 256, one a line"),
        (b" \n\t\n", "body has 0 texts, must have 1 to 256, one a line"),
        (b"hi\n" * 257, "body has 257 texts, must have 1 to 256, one a line"),
        (b"caf\xe9", "body has the byte 0xe9 at 3, must be UTF-8 text"),
    ],
)
async def test_bad_input_is_answered_with_400_and_what_is_allowed(app: ModuleType, body: bytes, message: str) -> None:
    answer = await post(app, body)
    assert (answer.status_code, answer.json()) == (400, {"error": message})


async def test_only_post_is_answered(app: ModuleType) -> None:
    assert (await post(app, b"", method="GET")).status_code == 405


async def test_initialize_runs_the_model_over_http_and_as_a_function(
    app: ModuleType, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[Any] = []

    class Watched:
        def run(self, outputs: Any, inputs: dict[str, Any]) -> Any:
            runs.append(inputs)
            return session.run(outputs, inputs)

    _, vocabulary = app.model()
    monkeypatch.setattr(app, "model", lambda: (Watched(), vocabulary))
    assert (await post(app, b"", "/initialize")).status_code == 200
    app.initialize(context=object())
    assert [inputs["lengths"].shape for inputs in runs] == [(1,)] * 2


def labelled(path: Path) -> tuple[list[str], list[bool]]:
    lines = [line.split("\t", 1) for line in path.read_text(encoding="utf-8").splitlines()]
    return [text for _, text in lines], [label == "spam" for label, _ in lines]


def accuracy(app: ModuleType, path: Path) -> float:
    texts, spam = labelled(path)
    found = [finding["spam_detection_key"] == 1 for finding in app.classify(texts)]
    return float(np.mean(np.equal(found, spam)))


def test_accuracy_on_held_out_templates_is_what_the_readme_says(app: ModuleType) -> None:
    # The first 300 of the 2,000 that the README's 94.6 % are of.
    assert accuracy(app, DATA / "spam_heldout.tsv") == pytest.approx(0.946, abs=0.02)


def test_accuracy_on_handwritten_messages_is_what_the_readme_says(app: ModuleType) -> None:
    assert accuracy(app, FOLDER / "corpus" / "handwritten.tsv") == pytest.approx(47 / 60)


def test_held_out_templates_are_not_trained_on(corpus: ModuleType) -> None:
    for name in ("spam.txt", "not_spam.txt"):
        lines = corpus.read_lines(name)
        assert len(set(lines)) == len(lines)
        for fold in range(corpus.FOLDS):
            train, held_out = corpus.split_templates(lines, fold)
            assert not set(train) & set(held_out)
            assert sorted(train + held_out) == sorted(lines)


def test_the_same_seed_gives_the_same_messages_and_leaves_nothing_unfilled(corpus: ModuleType) -> None:
    first, second = (corpus.generate(600, random.Random(5), fold=4, held_out=False) for _ in range(2))
    assert first == second
    assert sum(message.label for message in first) == 300
    assert [message.text for message in first if set("{}|") & set(message.text)] == []


def test_the_model_and_its_vocabulary_fit_together_and_are_small(tokens: ModuleType, session: Any) -> None:
    vocabulary = tokens.load_vocabulary(FOLDER / "vocabulary.json")
    last = np.array([[max(vocabulary.values())]], np.int64)
    (found,) = session.run(None, {"tokens": last, "lengths": np.array([1], np.int32)})
    assert found.shape == (1, 2)
    assert (FOLDER / "spam.onnx").stat().st_size < 1_000_000
    assert (FOLDER / "spam.onnx").read_bytes()[:2] == b"\x08\x08"  # the field ir_version, 8
