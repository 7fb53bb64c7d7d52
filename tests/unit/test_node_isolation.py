"""What shuts a process in, by what the machine has."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.node import isolation

FOLDER, CODE, HOME = Path("/data/instances/c"), Path("/data/code/x"), Path("/data/instances/c/tmp")


def test_no_new_privileges_is_what_there_is_by_itself() -> None:
    found = isolation.find("auto", lambda name: f"/usr/bin/{name}")
    assert found.prefix(FOLDER, CODE, HOME) == ["/usr/bin/setpriv", "--no-new-privs"]
    assert found.words == ["no new privileges"]


def test_without_setpriv_commands_are_left_alone_and_it_is_said() -> None:
    found = isolation.find("auto", lambda _: None)
    assert found.prefix(FOLDER, CODE, HOME) == []
    assert found.words == ["no new privileges (not for commands: setpriv is not on PATH)"]


def test_none_is_nothing() -> None:
    found = isolation.find("none", lambda name: name)
    assert (found.prefix(FOLDER, CODE, HOME), found.words, found.no_new_privileges) == ([], [], False)


def test_bubblewrap_hides_tmp_but_not_what_the_instance_needs_of_it() -> None:
    found = isolation.find("bubblewrap", lambda name: f"/usr/bin/{name}")
    assert found.prefix(FOLDER, CODE, HOME) == [
        "/usr/bin/bwrap", "--dev-bind", "/", "/", "--bind", str(HOME), "/tmp", "--chdir", str(CODE),
    ]  # fmt: skip
    below = Path("/tmp/stoke-1/instances/c")
    words = found.prefix(below, below, below / "tmp")
    assert words[words.index("/tmp") + 1 :] == ["--bind", str(below), str(below), "--chdir", str(below)]


def test_bubblewrap_that_is_not_there_is_said() -> None:
    with pytest.raises(ValueError, match="bwrap is not on PATH; allowed then: auto, none"):
        isolation.find("bubblewrap", lambda _: None)
