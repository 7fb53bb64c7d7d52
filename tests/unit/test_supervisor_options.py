"""What `stoke up` accepts, and what it makes on its first start."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from control_plane import parts
from control_plane.credentials import write_credentials
from control_plane.options import parse
from control_plane.settings import ControlPlaneSettings
from runtime.processes import start_time


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--listen", "9000"], "--listen is '9000'; allowed is HOST:PORT with a port from 0 to 65535"),
        (["--listen", "127.0.0.1:http"], "a port from 0 to 65535"),
        (["--listen", "127.0.0.1:70000"], "a port from 0 to 65535"),
        (["--listen", ":9000"], "allowed is HOST:PORT"),
        (["--store", "mysql://db"], "--store is 'mysql://db'; allowed are redis://"),
        (["--simulated-gpu", "many"], "--simulated-gpu is 'many'; allowed is N:MEMORY_MIB"),
    ],
)
def test_a_bad_option_is_named_with_what_is_allowed(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(arguments)
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "text", "said"),
    [
        ("STOKE_PRICES", '{"currency": "EUR", "gpuSecond": 1}', "its fields are currency, gpuGbSecond"),
        ("STOKE_PROMETHEUS_ACCESS", '[{"url": "ftp://x"}]', "must be an http:// or https:// URL"),
    ],
)
def test_a_wrong_file_of_the_operators_is_said_before_anything_is_started(
    setting: str,
    text: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--data", str(tmp_path), "--store", "unix:///run/store.sock"]
    monkeypatch.setenv(setting, "")
    assert parse(arguments).data == tmp_path
    assert ControlPlaneSettings().model_dump()[setting.removeprefix("STOKE_").lower()] is None
    path = tmp_path / "wrong.json"
    path.write_text(text)
    monkeypatch.setenv(setting, str(path))
    with pytest.raises(SystemExit) as exit_:
        parse(arguments)
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err


def test_good_options_are_taken(tmp_path: Path) -> None:
    options = parse(["--data", str(tmp_path), "--listen", "[::1]:0", "--store", "unix:///run/store.sock"])
    assert (options.data, options.host, options.port) == (tmp_path, "::1", 0)
    assert options.store == "unix:///run/store.sock"


def test_other_addresses_are_allowed_unless_there_can_be_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("STOKE_ACCESS_KEY_ID", "STOKE_ACCESS_KEY_SECRET"):
        monkeypatch.delenv(name, raising=False)
    arguments = ["--data", str(tmp_path), "--listen", "0.0.0.0:9000", "--store", "unix:///run/store.sock"]
    assert parse(arguments).host == "0.0.0.0", "a key will be made"
    (tmp_path / "credentials.json").write_text("{}")
    with pytest.raises(SystemExit):
        parse(arguments)
    assert "holds no access key" in capsys.readouterr().err
    assert parse([*arguments[:3], "[::1]:9000", *arguments[4:]]).host == "::1"
    monkeypatch.setenv("STOKE_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("STOKE_ACCESS_KEY_SECRET", "secret")
    assert parse(arguments).host == "0.0.0.0"


def test_the_local_key_is_made_once_and_only_its_owner_may_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STOKE_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("STOKE_ACCESS_KEY_SECRET", raising=False)
    path = tmp_path / "credentials.json"
    write_credentials(path)
    first = json.loads(path.read_text())
    write_credentials(path)
    assert json.loads(path.read_text()) == first
    assert len(first["access_key_secret"]) >= 30
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_from_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "credentials.json"
    write_credentials(path)
    monkeypatch.setenv("STOKE_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("STOKE_ACCESS_KEY_SECRET", "secret")
    write_credentials(path)
    assert json.loads(path.read_text()) == {"access_key_id": "mine", "access_key_secret": "secret"}


def test_a_process_is_known_by_pid_and_start_time() -> None:
    assert start_time(os.getpid()) > 0
    assert start_time(2**22 + 1) == 0, "no such process"


def test_a_part_is_adopted_only_if_it_is_the_same_process(tmp_path: Path) -> None:
    part = parts.Part("gateway", [], tmp_path, tmp_path / "gateway.log")
    assert not part.adopt(), "there is no record"
    record = tmp_path / "gateway.pid.json"
    record.write_text(json.dumps({"pid": os.getpid(), "start_time": 1}))
    assert not part.adopt(), "the pid was given to another process since"
    record.write_text(json.dumps({"pid": os.getpid(), "start_time": start_time(os.getpid())}))
    assert part.adopt()
    assert part.pid == os.getpid()
    os.close(part.pidfd)


def test_a_part_that_keeps_dying_waits_longer_each_time(tmp_path: Path) -> None:
    part = parts.Part("gateway", [], tmp_path, tmp_path / "gateway.log")
    waits = []
    for _ in range(7):
        part.pidfd = os.open("/dev/null", os.O_RDONLY)
        part.started_at_s = time.monotonic()
        part.ended()
        waits.append(round(part.start_again_at_s - time.monotonic(), 1))
    assert waits == [0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 5.0]
