"""What an owner reads of code that cannot be imported, or initialized."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from runtime.instance import failure, mistakes
from runtime.node import reasons


def error_of(folder: Path, source: str, **others: str) -> str:
    """What is told of a module app.py that does not come to its end."""
    for name, text in {"app": source, **others}.items():
        (folder / f"{name}.py").write_text(text)
    spec = importlib.util.spec_from_file_location("app", folder / "app.py")
    assert spec is not None
    assert spec.loader is not None
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    except BaseException as error:
        return failure.told(error, str(folder))
    raise AssertionError("it came to its end")


def test_the_error_comes_first_and_then_the_way_to_it_from_the_functions_own_file(tmp_path: Path) -> None:
    source = "def load():\n    return weights\n\nload()\n"
    assert error_of(tmp_path, source) == (
        "NameError: name 'weights' is not defined\n"
        '  File "app.py", line 4, in <module>\n'
        "    load()\n"
        '  File "app.py", line 2, in load\n'
        "    return weights"
    )


def test_a_syntax_error_is_told_with_its_file_line_and_place(tmp_path: Path) -> None:
    assert error_of(tmp_path, "import os\ndef handler(event:\n    pass\n") == (
        "SyntaxError: '(' was never closed\n  File \"app.py\", line 2\n    def handler(event:\n               ^"
    )


def test_of_a_long_way_the_beginning_and_the_end_are_told(tmp_path: Path) -> None:
    said = error_of(tmp_path, "def down(n):\n    return down(n - 1) if n else {}['no']\ndown(20)\n").splitlines()
    assert said[:2] == ["KeyError: 'no'", '  File "app.py", line 3, in <module>']
    assert "  … and 16 between …" in said
    assert len(said) == 1 + 1 + 2 * failure.FRAMES_MAX


def test_what_it_was_caused_by_is_one_line(tmp_path: Path) -> None:
    source = "try:\n    open('/nowhere')\nexcept OSError as error:\n    raise RuntimeError('no weights') from error\n"
    said = error_of(tmp_path, source).splitlines()
    assert said[0] == "RuntimeError: no weights"
    assert said[-1] == "caused by FileNotFoundError: [Errno 2] No such file or directory: '/nowhere'"


def test_an_error_outside_the_functions_code_is_told_alone(tmp_path: Path) -> None:
    try:
        json.loads("{")
    except ValueError as error:
        said = failure.told(error, str(tmp_path))
    assert said.startswith("json.decoder.JSONDecodeError: Expecting property name")
    assert len(said.splitlines()) == 1


def test_an_initializers_error_is_told_in_the_same_way() -> None:
    folder = "/data/code/" + "a1" * 32
    code = compile("def init():\n    raise OSError('no card')\ninit()", f"{folder}/app.py", "exec")
    with pytest.raises(OSError, match="no card") as caught:
        exec(code, {})
    frames = caught.value.__traceback__
    assert frames is not None
    body = mistakes.error_json(caught.value.with_traceback(frames.tb_next)).decode()
    assert reasons.initializer_refused(500, 0.014, body, b"Traceback of ours") == (
        "Function initializer failed: POST /initialize answered 500 after 0.01 s: OSError: no card\n"
        '  File "app.py", line 3, in <module>\n'
        '  File "app.py", line 2, in init'
    )


@pytest.mark.parametrize(
    "body", ["no", "[]", '{"errorMessage": "x"}', '{"errorType": 1, "errorMessage": 2, "stackTrace": 3}']
)
def test_an_initializer_that_answers_anything_else_is_told_with_it_and_the_log(body: str) -> None:
    said = reasons.initializer_refused(500, 1.0, body, b"the end of the log")
    assert said.endswith(f"answered 500 after 1.00 s: {body!r}. Logs: the end of the log")
