"""What a requirements.txt asks for, without an installer."""

from __future__ import annotations

import pytest

from runtime.node.packages import indexes
from runtime.node.packages.content import (
    Installed,
    environment_id,
    included,
    is_satisfied,
    names_files,
    parted,
    resolver_words,
    wants_hashes,
    without_beside,
)

BESIDE = {
    "numpy": Installed("2.1.0"),
    "onnxruntime": Installed("1.20.0", ("numpy>=1.26", "colorama; sys_platform == 'win32'"), is_named=False),
    "starlette": Installed("0.41.0", ("anyio>=3", "httpx>=0.27; extra == 'full'")),
    "anyio": Installed("4.0.0"),
    "old": Installed("1.0", ("gone>=1",)),
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n\n",
        "numpy",
        "NumPy >= 1.26, < 3  # any",
        "numpy==2.1.0\nonnxruntime",
        "starlette\n--find-links ./wheels",
        "--index-url=https://example.test/simple\nanyio",
        "missing; python_version < '3'",
        "numpy \\\n  >= 2",
    ],
)
def test_what_is_there_beside_stoke_needs_no_environment(text: str) -> None:
    assert is_satisfied(text, BESIDE)


@pytest.mark.parametrize(
    "text",
    [
        "missing",
        "numpy<2",
        "starlette[full]",  # an extra whose package is not there
        "old",  # one that needs what is not there
        "numpy @ https://example.test/numpy.whl",
        "-r more.txt",
        "--pre\nnumpy",
        "./wheels/numpy-2.1.0-py3-none-any.whl",
        "this is no requirement",
    ],
)
def test_what_is_not_there_or_only_an_installer_can_tell_needs_one(text: str) -> None:
    assert not is_satisfied(text, BESIDE)


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("numpy\nrequests>=2", False),
        ("-r more.txt", True),
        ("-rmore.txt", True),
        ("-flocal/wheels\nx", True),
        ("-f/opt/wheels\nx", False),
        ("--constraint=limits.txt", True),
        ("-e .", True),
        ("--find-links ./wheels\nx", True),
        ("--find-links /opt/wheels\nx", False),
        ("--find-links https://example.test/wheels", False),
        ("./x-1.0-py3-none-any.whl", True),
        ("x @ file:./x-1.0-py3-none-any.whl", True),
        ("x @ https://example.test/x-1.0-py3-none-any.whl", False),
        ("--index-url https://example.test/simple", False),
    ],
)
def test_files_of_the_code_are_told_from_other_requirements(text: str, files: bool) -> None:
    assert names_files(text) is files


def named(text: str, *, python: str = "3.11.7", beside: dict[str, Installed] = BESIDE, code: str = "a" * 64) -> str:
    return environment_id(text, python=python, machine="linux-x86_64", beside=beside, code_sha256=code)


def test_an_environment_is_named_by_all_that_its_content_follows_from() -> None:
    one = named("x==1")
    assert one == named("x==1")
    assert one == named("x==1", code="b" * 64), "code that it does not name"
    others = {
        named("x==2"),
        named("x==1", python="3.12.0"),
        named("x==1", beside={**BESIDE, "numpy": Installed("2.2.0")}),
        named("-r more.txt"),
        named("-r more.txt", code="b" * 64),
    }
    assert len(others | {one}) == 6


def test_lines_that_what_is_there_satisfies_are_told_from_those_that_are_to_be_installed() -> None:
    assert parted("--no-index\nnumpy>=2\nmissing\nnumpy<1", BESIDE) == (
        ["--no-index", "missing", "numpy<1"],
        ["numpy>=2"],
    )


def test_of_what_was_resolved_only_what_is_not_there_is_installed() -> None:
    pins = ["numpy==2.1.0", "anyio==3.7", "x==1.0 ; python_version >= '3'"]
    assert without_beside(pins, BESIDE) == ["anyio==3.7", "x==1.0 ; python_version >= '3'"]


def test_the_words_of_a_resolver_are_its_errors_or_else_its_end() -> None:
    output = "Looking in links: /w\nCollecting x\nERROR: Could not find a version\nERROR: No matching distribution\n"
    assert resolver_words(output) == "ERROR: Could not find a version\nERROR: No matching distribution"
    assert resolver_words("  × No solution found\n  ╰─▶ because x\n") == "  × No solution found\n  ╰─▶ because x"
    assert len(resolver_words("x" * 10_000)) == 4000
    assert resolver_words("") == "(it said nothing)"


def test_an_installer_sees_the_nodes_index_settings_and_none_of_its_secrets() -> None:
    node = {"PATH": "/bin", "PIP_INDEX_URL": "https://i.test/simple", "STOKE_SECRET": "s", "PYTHONPATH": "/x"}
    pip = indexes.for_pip(node)
    assert (pip["PATH"], pip["PIP_INDEX_URL"]) == ("/bin", "https://i.test/simple")
    assert not {"STOKE_SECRET", "PYTHONPATH"} & pip.keys()
    uv = indexes.for_uv({**node, "PIP_FIND_LINKS": "/a /b", "PIP_EXTRA_INDEX_URL": "https://j.test https://k.test"}, [])
    assert uv["UV_DEFAULT_INDEX"] == "https://i.test/simple"
    assert uv["UV_FIND_LINKS"] == "/a,/b"
    assert uv["UV_INDEX"] == "https://j.test https://k.test"


@pytest.mark.parametrize(
    ("text", "wants"),
    [
        ("words==1.2 --hash=sha256:00", True),
        ("words==1.2 \\\n    --hash=sha256:00", True),
        ("--require-hashes\nwords==1.2", True),
        ("words==1.2  # --hash=sha256:00", False),
        ("words", False),
    ],
)
def test_hashes_of_what_is_installed_are_seen(text: str, wants: bool) -> None:
    assert wants_hashes(text) is wants


def test_files_that_are_read_as_a_part_of_it_are_known_by_name() -> None:
    text = "-r more.txt\n--requirement=sub/other.txt\n-c no.txt\n-rshort.txt\n-r https://example.com/r.txt\nwords"
    assert included(text) == ["more.txt", "sub/other.txt", "short.txt"]
