"""The pure parts of the node: what is refused, what an instance sees, whose process is whose, how a failure reads."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from pathlib import Path

import pytest

from runtime.contract import InstanceState
from runtime.instance.config import InstanceConfig
from runtime.node import __main__ as node_main
from runtime.node import launch, output, reasons, records
from runtime.node.devices import NoDevices
from runtime.node.environment import instance_environment
from runtime.node.errors import LaunchRefused
from runtime.node.launch import Place
from runtime.node.processes import Stat, family
from runtime.node.records import Record
from runtime.node.samples import Sampler, Subject
from runtime.node_contract import LaunchSpec

SPEC = LaunchSpec("c-1", "service", "function", "LATEST", "r1", "python3.11", "app.handler", code_sha256="ab" * 32)


def stat(pid: int, ppid: int, session: int, state: str = "S", start_ticks: int = 50) -> Stat:
    return Stat(pid, state, ppid, session, session, 0, start_ticks)


# -- whose process is whose -------------------------------------------------------------------------------------------


def test_a_family_is_the_session_and_all_descendants_even_those_that_left_it() -> None:
    stats = [stat(10, 1, 10), stat(11, 10, 10), stat(12, 11, 12), stat(13, 12, 12), stat(20, 1, 20)]
    assert {pid for pid, _ in family(10, 50, stats)} == {10, 11, 12, 13}


def test_a_family_goes_on_without_its_leader() -> None:
    assert family(10, 50, [stat(11, 1, 10), stat(20, 1, 20)]) == {(11, 50)}


def test_the_dead_are_not_of_the_family() -> None:
    assert family(10, 50, [stat(10, 1, 10, "Z"), stat(11, 10, 10)]) == {(11, 50)}


def test_another_process_with_the_leaders_pid_is_nobody_of_ours() -> None:
    assert family(10, 50, [stat(10, 1, 10, start_ticks=99), stat(11, 10, 10)]) == set()


def test_a_member_of_the_control_group_is_of_the_family_wherever_it_went() -> None:
    assert {pid for pid, _ in family(10, 50, [stat(10, 1, 10), stat(30, 1, 30)], known=[30, 31])} == {10, 30}


def test_a_sample_of_an_instance_that_just_died_is_of_nothing() -> None:
    (sample,) = Sampler(NoDevices()).sample([Subject("c-1", 2**22 + 1, 1, 0.0, 0)])
    assert (sample.memory_mib, sample.cpu_utilization, sample.gpu_sm_utilization) == (0.0, None, None)


# -- what an instance sees --------------------------------------------------------------------------------------------


def environment(**changes: object) -> dict[str, str]:
    spec = dataclasses.replace(SPEC, **changes)  # type: ignore[arg-type]
    return instance_environment(spec, port=9000, code=Path("/code"), home=Path("/home"), path="/bin")


def test_a_function_replaces_defaults_but_nothing_of_the_platform() -> None:
    seen = environment(environment={"PATH": "/mine", "LANG": "de", "FC_INSTANCE_ID": "x", "STOKE_CPU": "64"}, cpu=1.5)
    assert (seen["PATH"], seen["LANG"]) == ("/mine", "de")
    assert (seen["FC_INSTANCE_ID"], seen["STOKE_CPU"]) == ("c-1", "1.5")


def test_versions_are_spelled_as_function_compute_does() -> None:
    latest, third = environment(), environment(version="3")
    assert (latest["FC_QUALIFIER"], latest["FC_VERSION_ID"]) == ("LATEST", "0")
    assert (third["FC_QUALIFIER"], third["FC_VERSION_ID"]) == ("3", "3")
    assert environment(headers={"x-fc-qualifier": "prod"}, version="3")["FC_QUALIFIER"] == "prod"


def test_cards_are_hidden_from_a_function_that_asked_for_none() -> None:
    assert environment()["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in environment(gpu_memory_mib=1024)


def test_threads_of_openmp_follow_the_cpu_asked_for() -> None:
    assert environment(cpu=1.5)["OMP_NUM_THREADS"] == "2"
    assert "OMP_NUM_THREADS" not in environment()


# -- launching --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", ["python3", "python3.9", "python3.12", "custom"])
def test_runtimes_that_are_launched(runtime: str) -> None:
    launch.check_runtime(runtime)


@pytest.mark.parametrize("runtime", ["python2.7", "python3.x", "nodejs18", "", "custom.debian10"])
def test_runtimes_that_are_refused(runtime: str) -> None:
    with pytest.raises(LaunchRefused, match=f"'{runtime}'"):
        launch.check_runtime(runtime)


def test_a_program_is_found_in_the_code_before_path(tmp_path: Path) -> None:
    code, path = tmp_path / "code", tmp_path / "path"
    for folder in (code, path):
        folder.mkdir()
        (folder / "serve").touch(mode=0o755)
    assert launch.find_program("serve", code, str(path)) == str(code / "serve")
    assert launch.find_program("./serve", code, str(path)) == str(code / "./serve")
    assert launch.find_program(str(path / "serve"), code, "") == str(path / "serve")
    (code / "serve").unlink()
    assert launch.find_program("serve", code, str(path)) == str(path / "serve")
    with pytest.raises(FileNotFoundError, match=r"'\./serve' is neither in the code nor in PATH"):
        launch.find_program("./serve", code, str(path))


def test_a_program_of_the_code_that_may_not_run_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "serve").touch(mode=0o644)
    with pytest.raises(PermissionError, match=r"'serve' is not executable \(chmod \+x"):
        launch.find_program("serve", tmp_path, "/bin")


def test_the_built_in_server_is_told_what_it_knows_how_to_read() -> None:
    place = Place(Path("/i"), Path("/code"), "unix:/i/instance.sock", "/bin")
    spec = dataclasses.replace(SPEC, initializer="app.init", pre_stop="app.stop", instance_concurrency=4)
    told = launch.instance_config(spec, place)
    assert set(told) == {field.name for field in dataclasses.fields(InstanceConfig)}
    assert InstanceConfig.from_dict(told) == InstanceConfig(
        "app.handler", "/code", "/i/instance.sock", "app.init", "app.stop", 4
    )


@pytest.mark.parametrize("text", ["1", "1:", ":1", "a:b", "1:0", "0:5", "-1:5"])
def test_simulated_cards_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be N:MEMORY_MIB"):
        node_main.simulated_gpu(text)


def test_settings_come_from_arguments_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKE_SIMULATED_GPU", "2:1000")
    monkeypatch.setenv("PATH", "/somewhere")
    arguments = ["--data", "/data", "--socket", "/data/node.sock"]
    settings = node_main.settings_from(arguments)
    assert (settings.simulated_gpus, settings.simulated_gpu_memory_mib, settings.name) == (2, 1000, "local")
    assert settings.path.endswith(":/somewhere")
    assert node_main.settings_from([*arguments, "--simulated-gpu", "1:5", "--name", "n"]).simulated_gpus == 1
    assert settings.forks_ahead == 1
    monkeypatch.setenv("STOKE_FORKS_AHEAD", "3")
    assert node_main.settings_from(arguments).forks_ahead == 3
    assert node_main.settings_from([*arguments, "--forks-ahead", "0"]).forks_ahead == 0


def test_a_number_of_forks_ahead_that_cannot_be_names_what_can(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        node_main.settings_from(["--data", "/data", "--socket", "/data/s", "--forks-ahead", "17"])
    assert "'17' must be a whole number from 0 to 16" in capsys.readouterr().err


# -- records ----------------------------------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "c-1"
    folder.mkdir()
    spec = dataclasses.replace(SPEC, environment={"A": "b"}, command=["x"])
    record = Record(spec, InstanceState.READY, 1.5, "", "unix:/x", 10, 50, "boot", "/group", False, True)
    for state in (InstanceState.LAUNCHING, InstanceState.INITIALIZING):
        records.save(folder, dataclasses.replace(record, state=state))
    records.save(folder, record)
    records.sync(folder)
    assert records.load_all(tmp_path) == [record]
    records.remove(folder)
    assert records.load_all(tmp_path) == []


def test_a_record_of_a_newer_node_is_read_and_a_broken_one_passed_over(tmp_path: Path) -> None:
    for name in ("c-1", "c-2"):
        (tmp_path / name).mkdir()
    records.save(tmp_path / "c-1", Record(SPEC))
    path = tmp_path / "c-1" / records.NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), "unheard_of": 1}))
    (tmp_path / "c-2" / records.NAME).write_text("{")
    assert records.load_all(tmp_path) == [Record(SPEC)]


def test_of_a_record_that_was_cut_off_the_one_before_counts(tmp_path: Path) -> None:
    (tmp_path / "c-1").mkdir()
    records.save(tmp_path / "c-1", Record(SPEC))
    records.save(tmp_path / "c-1", Record(SPEC, InstanceState.READY))
    path = tmp_path / "c-1" / records.NAME
    path.write_bytes(path.read_bytes()[:-10])
    assert records.load_all(tmp_path) == [Record(SPEC)]
    records.save(tmp_path / "c-1", Record(SPEC, InstanceState.READY))
    assert records.load_all(tmp_path) == [Record(SPEC, InstanceState.READY)]


# -- outputs ----------------------------------------------------------------------------------------------------------


def test_an_output_over_its_limit_keeps_its_newest_quarter(tmp_path: Path) -> None:
    (tmp_path / output.NAME).write_bytes(bytes(range(200)))
    assert not output.cut(tmp_path, 200)
    assert output.cut(tmp_path, 100)
    assert (tmp_path / output.OLDER_NAME).read_bytes() == bytes(range(175, 200))
    assert (tmp_path / output.NAME).read_bytes() == b""


def test_an_output_that_cannot_be_kept_in_part_is_started_anew_all_the_same(tmp_path: Path) -> None:
    """As on a full disk, which it may be what fills."""
    (tmp_path / output.NAME).write_bytes(b"x" * 101)
    (tmp_path / output.OLDER_NAME).mkdir()  # nothing can be put in its place
    with pytest.raises(OSError, match=output.OLDER_NAME):
        output.cut(tmp_path, 100)
    assert (tmp_path / output.NAME).stat().st_size == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [output.OLDER_NAME, output.NAME]


def test_the_tail_goes_back_into_what_was_cut_off(tmp_path: Path) -> None:
    (tmp_path / output.OLDER_NAME).write_bytes(b"older ")
    (tmp_path / output.NAME).write_bytes(b"newer")
    assert output.tail(tmp_path, 3) == b"wer"
    assert output.tail(tmp_path, 8) == b"er newer"
    assert output.tail(tmp_path, 100) == b"older newer"
    assert output.tail(tmp_path / "nowhere", 100) == b""


def test_old_outputs_of_forgotten_instances_are_swept(tmp_path: Path) -> None:
    for age, name in enumerate(["newest", "newer", "old", "oldest", "known"]):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    output.sweep(tmp_path, 2, {"known"})
    assert {folder.name for folder in tmp_path.iterdir()} == {"newest", "newer", "known"}


# -- how a failure reads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0, "(code 0, message:exit status 0)"),
        (7, "(code 7, message:exit status 7)"),
        (-9, "(code 137, message:killed by SIGKILL)"),
        (-64, "(code 192, message:killed by SIGRTMAX)"),
        (None, "(code unknown, message:it ended while nobody watched its exit code)"),
    ],
)
def test_an_exit_is_told_by_code_and_signal(status: int | None, said: str) -> None:
    reason = reasons.exited(status, ["python", "server.py"], b"bye\n")
    assert reason == f"Function instance exited unexpectedly{said} with start command 'python server.py'. Logs: bye"


def test_a_reason_has_the_last_lines_only_and_never_grows_long() -> None:
    many = "\n".join(f"line {number}" for number in range(100)).encode()
    assert reasons.last_lines(many).splitlines() == [f"line {number}" for number in range(90, 100)]
    assert len(reasons.last_lines(b"x" * 10_000)) == 2000
    assert reasons.last_lines(b"\n \n") == "(none)"
    assert reasons.last_lines(b"\xff\n") == "\N{REPLACEMENT CHARACTER}"
