"""What a node asks of a container engine, and how it reads the answers."""

from __future__ import annotations

import argparse
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from runtime.node.docker.asked import (
    Containment,
    Frames,
    ShmSizeError,
    address_of,
    create_body,
    is_card_device,
    registry_of,
    repeats_cards,
    shm_size_bytes,
)
from runtime.node.docker.pulls import PullProgress, read_credentials, repository_and_tag
from runtime.node.environment import container_environment
from runtime.node.gpu_share import GpuShare
from runtime.node.kind_options import kind_arguments, kind_settings
from runtime.node_contract import LaunchSpec


def spec(**values: Any) -> LaunchSpec:
    known: dict[str, Any] = {
        "instance_id": "c-1", "service": "s", "function": "f", "version": "LATEST", "revision": "1",
        "runtime": "custom-container", "image": "example/server:1",
    }  # fmt: skip
    return LaunchSpec(**(known | values))


def body(containment: Containment | None = None, share: GpuShare | None = None, **values: Any) -> dict[str, Any]:
    return create_body(spec(**values), "owner", containment or Containment(), share)


def test_a_container_is_shut_in_by_default() -> None:
    host = body(memory_mib=256, cpu=0.5)["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert "NET_RAW" in host["CapDrop"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (256 * 2**20, 256 * 2**20, 500_000_000)
    assert host["PidsLimit"] == 4096
    assert "DeviceRequests" not in host


def test_each_restriction_can_be_loosened_by_itself() -> None:
    for name, key in (("new-privileges", "SecurityOpt"), ("capabilities", "CapDrop")):
        host = body(Containment(frozenset({name})))["HostConfig"]
        assert key not in host
        assert host["ReadonlyRootfs"] is True
    assert body(Containment(frozenset({"writable-root"})))["HostConfig"]["ReadonlyRootfs"] is False


def test_the_entry_point_of_the_image_stays_unless_the_function_names_one() -> None:
    assert not {"Entrypoint", "Cmd"} & set(body())
    assert body(args=["-v"])["Cmd"] == ["-v"]
    assert "Entrypoint" not in body(args=["-v"])
    both = body(command=["/a"], args=["-v"])
    assert (both["Entrypoint"], both["Cmd"]) == (["/a"], ["-v"])


def test_the_user_of_the_settings_is_for_images_that_name_none() -> None:
    containment = Containment(user="65534:65534")
    assert create_body(spec(), "o", containment, image={"Config": {"User": ""}})["User"] == "65534:65534"
    assert "User" not in create_body(spec(), "o", containment, image={"Config": {"User": "app"}})
    assert "User" not in create_body(spec(), "o", Containment(), image={"Config": {"User": ""}})


def test_its_card_is_asked_for_by_name_and_the_instance_is_told_its_share() -> None:
    share = GpuShare("GPU-1", 1024, 25, mps_pipe="/data/mps/1")
    asked = body(share=share, gpu_memory_mib=1024)
    (request,) = asked["HostConfig"]["DeviceRequests"]
    assert request == {"Driver": "nvidia", "DeviceIDs": ["GPU-1"], "Capabilities": [["gpu"]]}
    assert "CUDA_VISIBLE_DEVICES=GPU-1" in asked["Env"]
    assert not any(entry.startswith("CUDA_MPS") for entry in asked["Env"])


def mps(containment: Containment, image_user: str = "", **values: Any) -> bool:
    """Whether MPS is reached in the container; all of it or nothing."""
    share = GpuShare("GPU-1", 1024, 25, mps_pipe="/data/mps/1/pipe")
    image = {"Config": {"User": image_user}}
    asked = create_body(spec(gpu_memory_mib=1024, **values), "owner", containment, share, image)
    host, said = asked["HostConfig"], [entry for entry in asked["Env"] if entry.startswith("CUDA_MPS")]
    there = {
        host.get("IpcMode") == "host",
        {"Type": "bind", "Source": share.mps_pipe, "Target": share.mps_pipe, "ReadOnly": False}
        in host.get("Mounts", ()),
        sorted(said)
        == [
            "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=25",
            "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT=0=1024M",
            "CUDA_MPS_PIPE_DIRECTORY=/data/mps/1/pipe",
        ],
        bool(said),
    }
    assert len(there) == 1
    return bool(there.pop())


def test_mps_is_reached_in_a_container_where_the_operator_lets_it_share_memory_with_the_machine() -> None:
    loose = Containment(frozenset({"host-ipc"}))
    assert mps(loose)
    assert mps(loose, image_user="0:0")
    assert not mps(Containment())
    assert not mps(loose, image_user="app"), "MPS serves one user at a time"
    assert not mps(Containment(frozenset({"host-ipc"}), user="65534"))
    assert not mps(loose, environment={"FCGPU_RUNTIME_SHMSIZE": "2147483648"}), "its own shared memory is of that size"


def test_a_simulated_card_is_none_that_could_be_shown() -> None:
    asked = body(share=GpuShare("simulated-0", 1024, 25, simulated=True), gpu_memory_mib=1024)
    assert "DeviceRequests" not in asked["HostConfig"]
    assert "CUDA_VISIBLE_DEVICES=" in asked["Env"]


def test_cards_may_be_asked_for_by_the_container_device_interface() -> None:
    (request,) = body(Containment(gpus="cdi"), GpuShare("GPU-1", 1024, 25), gpu_memory_mib=1024)["HostConfig"][
        "DeviceRequests"
    ]
    assert request == {"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=GPU-1"]}


def test_an_engine_that_took_no_notice_of_a_card_is_found_out() -> None:
    assert repeats_cards({"HostConfig": {"DeviceRequests": [{"Driver": "nvidia"}]}})
    assert not repeats_cards({"HostConfig": {"DeviceRequests": None}})  # Podman 4.3
    assert not repeats_cards({})
    seen = ["null", "nvidiactl", "nvidia-uvm", "nvidia-caps", "nvidia12", "dxg"]
    assert [name for name in seen if is_card_device(name)] == ["nvidia12", "dxg"]


def test_shared_memory_is_as_large_as_the_function_says() -> None:
    assert body(environment={"FCGPU_RUNTIME_SHMSIZE": "2147483648"})["HostConfig"]["ShmSize"] == 2**31
    assert shm_size_bytes({}) is None
    for wrong in ("2g", "-1", "", "1023"):
        with pytest.raises(ShmSizeError, match=f"FCGPU_RUNTIME_SHMSIZE is '{wrong}': must be a number of bytes"):
            shm_size_bytes({"FCGPU_RUNTIME_SHMSIZE": wrong})


def test_the_environment_leaves_the_images_own_alone_and_the_platforms_wins() -> None:
    values = container_environment(spec(ca_port=8080, environment={"FC_SERVER_PORT": "1", "COLOUR": "red"}))
    assert not {"PATH", "HOME", "TMPDIR", "FC_FUNC_CODE_PATH", "PYTHONDONTWRITEBYTECODE"} & set(values)
    assert (values["FC_SERVER_PORT"], values["COLOUR"]) == ("8080", "red")
    assert values["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert "NVIDIA_VISIBLE_DEVICES" not in container_environment(spec(gpu_memory_mib=1))


def test_an_address_is_the_containers_own() -> None:
    told = {"NetworkSettings": {"IPAddress": "", "Networks": {"mine": {"IPAddress": "10.1.0.2"}}}}
    assert address_of(told, "mine", 9000) == "tcp:10.1.0.2:9000"
    assert address_of({"NetworkSettings": {"IPAddress": "172.17.0.2"}}, "bridge", 80) == "tcp:172.17.0.2:80"
    assert address_of({}, "bridge", 80) == ""


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_messages_are_read_however_they_are_cut(size: int) -> None:
    def message(stream: int, at: str, said: bytes) -> bytes:
        text = at.encode() + b" " + said
        return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text

    whole = message(1, "2026-01-01T00:00:00.000000001Z", b"one\n") + message(2, "2026-01-01T00:00:00.000000002Z", b"\n")
    frames, heard = Frames(), []
    for begin in range(0, len(whole), size):
        heard += frames.feed(whole[begin : begin + size])
    assert heard == [("2026-01-01T00:00:00.000000001Z", b"one\n"), ("2026-01-01T00:00:00.000000002Z", b"\n")]


def test_a_pull_tells_how_far_it_is() -> None:
    progress = PullProgress("i:1")
    assert progress.text == "pulling image 'i:1'"
    progress.hear({"status": "Downloading", "id": "a", "progressDetail": {"current": 2**20, "total": 4 * 2**20}})
    progress.hear({"status": "Downloading", "id": "b", "progressDetail": {"current": 2**19, "total": 2**20}})
    assert progress.text == "pulling image 'i:1': 1.5 of 5.0 MiB"
    progress.hear({"status": "Pull complete", "id": "a"})
    progress.hear({"status": "Status: Downloaded newer image"})
    assert progress.text == "pulling image 'i:1': 4.5 of 5.0 MiB"


@pytest.mark.parametrize(
    ("image", "repository", "tag", "registry"),
    [
        ("python", "python", "latest", "https://index.docker.io/v1/"),
        ("a/b:1", "a/b", "1", "https://index.docker.io/v1/"),
        ("host:5000/b", "host:5000/b", "latest", "host:5000"),
        ("r.example/b:1", "r.example/b", "1", "r.example"),
        ("docker.io/a/b", "docker.io/a/b", "latest", "https://index.docker.io/v1/"),
        ("b@sha256:12", "b", "sha256:12", "https://index.docker.io/v1/"),
    ],
)
def test_an_images_name_is_read_as_engines_read_it(image: str, repository: str, tag: str, registry: str) -> None:
    assert repository_and_tag(image) == (repository, tag)
    assert registry_of(image) == registry


def test_credentials_are_those_of_the_images_registry(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    secret = base64.b64encode(b"me:pass:word").decode()
    file.write_text(json.dumps({"auths": {"r.example": {"auth": secret}, "t.example": {"identitytoken": "t"}}}))
    sent = json.loads(base64.urlsafe_b64decode(read_credentials(file, "r.example/i:1")))
    assert sent == {"username": "me", "password": "pass:word", "serveraddress": "r.example"}
    assert json.loads(base64.urlsafe_b64decode(read_credentials(file, "t.example/i"))) == {"identitytoken": "t"}
    assert read_credentials(file, "other.example/i") == ""
    file.write_text("nothing")
    with pytest.raises(ValueError, match=r"registry_credentials '.*config.json' cannot be read"):
        read_credentials(file, "i")


def read_options(*arguments: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    kind_arguments(parser)
    return kind_settings(parser.parse_args(arguments))


def test_options_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://far.example:2375")
    assert read_options()["engine"] == Path("/var/run/docker.sock")
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/mine.sock")
    assert read_options()["engine"] == Path("/run/mine.sock")
    given = read_options("--engine", "unix:///e", "--container-loosened", "writable-root, capabilities")
    assert (given["engine"], given["container_loosened"]) == (Path("/e"), ("writable-root", "capabilities"))


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--engine", "tcp://1.2.3.4:2375", "must be unix:// and an absolute path"),
        ("--backend", "podman", "'podman' is not known; allowed: auto, process, docker"),
        ("--image-pull", "often", "'often' is not known; allowed: missing, always, never"),
        ("--container-loosened", "all", "'all' is not known; allowed: writable-root, new-privileges, capabilities"),
        ("--container-pids-max", "0", "'0' must be a whole number from 1"),
    ],
)
def test_a_wrong_option_says_what_is_allowed(
    option: str, value: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        read_options(option, value)
    assert said in capsys.readouterr().err
