"""What a `nasConfig` says is mounted, what of it an operator allows, and what each backend makes of it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from control_plane import nas
from control_plane.backends.kubernetes import pods
from control_plane.backends.kubernetes.settings import KubernetesSettings, UserRule, Volume
from control_plane.errors import InvalidArgument
from control_plane.errors import LaunchRefused as RefusedByCluster
from control_plane.model import Function, Service
from control_plane.registry.launching import launch_spec
from control_plane.registry.routes import function_route
from runtime.mounts import Mount, SourceError, from_dicts, read_allowed, read_source, to_dicts, why_not
from runtime.node.docker.asked import Containment, create_body
from runtime.node.errors import LaunchRefused
from runtime.node.isolation import Isolation
from runtime.node.kind_options import allowed_mounts
from runtime.node.mounted import binds, of_container, of_process
from runtime.node_contract import LaunchSpec

ALL = ("nfs", "claim", "host", "empty")


def point(address: str, mount_dir: str = "/mnt/a", **more: Any) -> dict[str, Any]:
    return {"serverAddr": address, "mountDir": mount_dir, **more}


def config(*points: Any, **more: Any) -> dict[str, Any]:
    return {"mountPoints": list(points), **more}


def spec(*points: Any, **more: Any) -> LaunchSpec:
    function = Function(
        service_name="s", function_name="f", runtime="custom-container", custom_container_config={"image": "shop/a:1"}
    )
    return launch_spec(function, "LATEST", "c-1", region="r", account_id="a", service=service(config(*points, **more)))


def service(given: Any) -> Service:
    return Service.model_validate({"serviceName": "s", "nasConfig": given})


# -- how a source is spelled -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("nas.local:/models/", Mount("nfs", "nas.local", "/models")),
        ("10.0.0.1:/", Mount("nfs", "10.0.0.1", "/")),
        ("[fd00::1]:/a", Mount("nfs", "[fd00::1]", "/a")),
        ("pvc://models", Mount("claim", "models")),
        ("pvc://models/llm/7b", Mount("claim", "models", "/llm/7b")),
        ("hostpath:///srv/models/", Mount("host", path="/srv/models")),
        ("emptydir://", Mount("empty")),
        ("emptydir://?sizeMiB=64", Mount("empty", size_mib=64)),
        ("emptydir://?medium=memory&sizeMiB=64", Mount("empty", size_mib=64, in_memory=True)),
    ],
)
def test_each_form_of_a_source_is_read_and_spelled_again(text: str, mount: Mount) -> None:
    assert read_source(text) == mount
    assert read_source(mount.source) == mount
    assert from_dicts(to_dicts([mount])) == [mount]


@pytest.mark.parametrize(
    "text",
    [
        "", "nas", "/srv", "nas:models", "-x:/a", "nas,ro:/a", "nas:/a/../b", "nas:/a//b", "nas:/a,b", "nas:/a\nb",
        "pvc://", "pvc://Models", "pvc://a/..", "hostpath://srv", "hostpath:///a/./b", "hostpath:///a:b",
        "emptydir://x", "emptydir:///a", "emptydir://?medium=memory", "emptydir://?medium=tape", "emptydir://?sizeMiB=0",
        "emptydir://?sizeMiB=1&sizeMiB=2", "emptydir://?size=1", "emptydir://?sizeMiB=1048577", "s3://bucket",
        "a" * 1025,
    ],
)  # fmt: skip
def test_what_names_nothing_that_can_be_mounted_is_refused(text: str) -> None:
    with pytest.raises(SourceError, match="must"):
        read_source(text)


# -- a nasConfig -------------------------------------------------------------------------------------------------------


def test_a_config_gives_its_mounts_and_who_the_instance_runs_as() -> None:
    read = nas.read(config(point("nas:/a", "/mnt/nas/", enableTLS=False), userId=10003, groupId=10004))
    assert read == nas.Nas((Mount("nfs", "nas", "/a", mount_dir="/mnt/nas"),), 10003, 10004)


@pytest.mark.parametrize(
    "given", [None, {}, "", {"mountPoints": []}, {"userId": 0, "groupId": 0, "mountPoints": []}, {"userId": 7}]
)
def test_what_clients_send_for_no_file_system_has_no_effect(given: Any) -> None:
    assert nas.read(given) == nas.Nas()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], ""),
        ("auto", 'nasConfig is "auto": must be an object'),
        ({"mountPoints": {"a": 1}}, 'nasConfig.mountPoints is {"a": 1}: must be a list'),
        (config(*[point("nas:/a", f"/m{n}") for n in range(6)]), "nasConfig.mountPoints has 6 entries: at most 5"),
        (config("nas:/a"), 'nasConfig.mountPoints[0] is "nas:/a": must be an object'),
        (config({"mountDir": "/mnt"}), "nasConfig.mountPoints[0].serverAddr is missing"),
        (config({"serverAddr": "nas:/a"}), "nasConfig.mountPoints[0].mountDir is missing"),
        (config(point("nas", "/a")), 'nasConfig.mountPoints[0].serverAddr is "nas": must be HOST:/path'),
        (config(point("nas:/a", enableTLS=True)), "nasConfig.mountPoints[0].enableTLS is true: must be false"),
        (config(point("nas:/a", readOnly=1)), "nasConfig.mountPoints[0].readOnly is 1: must be true or false"),
        (config(point("nas:/a", readonly=True)), "nasConfig.mountPoints[0].readonly is not known: allowed are"),
        (config(point("emptydir://", readOnly=True)), "readOnly is true: must be false of an empty folder"),
        (config(point("nas:/a", "mnt")), 'nasConfig.mountPoints[0].mountDir is "mnt": must be an absolute path'),
        (config(point("nas:/a", "/mnt/../etc")), "mountDir is \"/mnt/../etc\": must have a path without"),
        (config(point("nas:/a", "/")), "must not be a folder of the system"),
        (config(point("nas:/a", "/proc/self")), "must not be a folder of the system"),
        (config(point("nas:/a", "/m"), point("nas:/b", "/m/n")), "mountPoints[1].mountDir is '/m/n': must be neither"),
        (config(point("nas:/a"), userId=-2), "nasConfig.userId is -2: must be a whole number from -1"),
        (config(point("nas:/a"), userId=True), "nasConfig.userId is true"),
        (config(point("nas:/a"), groupId=65535), "nasConfig.groupId is 65535"),
        (config(point("nas:/a"), groupId=5), "nasConfig.userId is -1: userId and groupId must be given together"),
    ],
)  # fmt: skip
def test_a_config_that_cannot_be_kept_is_refused_by_field_value_and_what_is_allowed(given: Any, said: str) -> None:
    if not said:
        assert nas.read(given) == nas.Nas()
        return
    with pytest.raises(InvalidArgument) as refused:
        nas.read(given)
    assert said in str(refused.value)


def test_a_stored_config_that_cannot_be_read_becomes_a_mount_that_is_refused_with_the_reason() -> None:
    asked = spec(point("nonsense"))
    with pytest.raises(
        LaunchRefused, match=r"nasConfig.mountPoints\[0\].serverAddr is \"nonsense\": must be HOST:/path"
    ):
        of_container(asked, (), may_be_root=True)
    with pytest.raises(RefusedByCluster, match="must be HOST:/path"):
        pods.check(asked, KubernetesSettings())


def test_another_mount_makes_another_revision_and_none_leaves_it_as_it_was() -> None:
    function = Function(service_name="s", function_name="f", runtime="custom")
    none, empty = service(None), service({"userId": -1, "groupId": -1, "mountPoints": []})
    assert nas.revision(function, none) == nas.revision(function, empty) == nas.revision(function, None)
    assert nas.revision(function, none) == function.revision
    one, other = service(config(point("nas:/a"))), service(config(point("nas:/b")))
    assert len({function.revision, nas.revision(function, one), nas.revision(function, other)}) == 3
    route = function_route(function, "LATEST", one, region="r", account_id="a")
    launched = launch_spec(function, "LATEST", "c", region="r", account_id="a", service=one)
    assert route.revision == launched.revision == nas.revision(function, one)


# -- what an operator allows -------------------------------------------------------------------------------------------


def refusal(address: str, allowed: str, **more: Any) -> str:
    mounts = nas.read(config(point(address, **more))).mounts
    return why_not(mounts, read_allowed(allowed), ALL, "allowed_mounts")


def test_nothing_but_an_empty_folder_may_be_mounted_unless_the_operator_says_so() -> None:
    assert refusal("emptydir://", "") == ""
    for address in ("nas:/a", "pvc://a", "hostpath:///a"):
        said = refusal(address, "")
        assert f"nasConfig.mountPoints[0].serverAddr is '{address}': must be at or below" in said
        assert "nothing (the operator's allowed_mounts)" in said


@pytest.mark.parametrize("root", ["nas:/a", "pvc://a", "hostpath:///a"])
def test_what_may_be_read_may_be_read_below_too_but_not_beside(root: str) -> None:
    assert refusal(root, root, readOnly=True) == ""
    assert refusal(f"{root}/b", root, readOnly=True) == ""
    assert "must be at or below" in refusal(f"{root}b", root, readOnly=True)
    assert "readOnly is false: " in refusal(root, root)


def test_what_may_be_written_is_mounted_as_it_is_alone() -> None:
    assert refusal("hostpath:///a", "hostpath:///a=rw") == ""
    assert refusal("hostpath:///a", "hostpath:///a=rw", readOnly=True) == ""
    below = "must be 'hostpath:///s/a' itself, as functions write there"
    for read_only in (True, False):
        assert below in refusal("hostpath:///s/a/b", "hostpath:///s,hostpath:///s/a=rw", readOnly=read_only)


def test_a_whole_server_may_be_allowed() -> None:
    assert refusal("nas:/a/b", "nas:/", readOnly=True) == ""
    assert refusal("other:/a", "nas:/", readOnly=True) != ""


def test_an_entry_that_names_nothing_ends_the_start_and_is_named() -> None:
    for text in ("/srv/models", "emptydir://", "hostpath:///a/../b"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}'"):
            allowed_mounts(text)
        with pytest.raises(ValueError, match=text):
            KubernetesSettings(allowed_mounts=(text,))


# -- a node ------------------------------------------------------------------------------------------------------------


def test_a_link_that_leads_out_of_what_is_allowed_is_not_followed_there(tmp_path: Path) -> None:
    models, secret = tmp_path / "models", tmp_path / "secret"
    for folder in (models / "v1", secret):
        folder.mkdir(parents=True)
    (models / "latest").symlink_to("v1")
    (models / "out").symlink_to(secret)
    allowed = read_allowed(f"hostpath://{models}")
    (mount,) = of_container(spec(point(f"hostpath://{models}/latest", readOnly=True)), allowed, may_be_root=True)
    assert mount.path == str((models / "v1").resolve())
    with pytest.raises(LaunchRefused, match="must be at or below"):
        of_container(spec(point(f"hostpath://{models}/out", readOnly=True)), allowed, may_be_root=True)
    with pytest.raises(LaunchRefused, match="this machine has no such folder"):
        of_container(spec(point(f"hostpath://{models}/v2", readOnly=True)), allowed, may_be_root=True)


def test_a_node_mounts_no_claim_and_holds_no_folder_on_a_disk_to_a_size() -> None:
    with pytest.raises(LaunchRefused, match="'pvc://a': that cannot be mounted here; allowed: HOST:/path, hostpath:"):
        of_container(spec(point("pvc://a")), read_allowed("pvc://a=rw"), may_be_root=True)
    with pytest.raises(LaunchRefused, match="an engine holds no folder on a disk to a size"):
        of_container(spec(point("emptydir://?sizeMiB=5")), (), may_be_root=True)


def test_what_is_asked_of_an_engine() -> None:
    asked = spec(
        point("nas.local:/models", "/mnt/nas", readOnly=True), point("hostpath:///srv/a", "/mnt/host"),
        point("emptydir://", "/mnt/disk"), point("emptydir://?medium=memory&sizeMiB=8", "/mnt/memory"),
        userId=10003, groupId=10004,
    )  # fmt: skip
    body = create_body(asked, "owner", Containment(user="65534"))
    assert body["User"] == "10003:10004"
    nfs, host, disk, memory = body["HostConfig"]["Mounts"]
    assert (nfs["Type"], nfs["Target"], nfs["ReadOnly"]) == ("volume", "/mnt/nas", True)
    options = {"type": "nfs", "o": "addr=nas.local,nfsvers=4,ro", "device": ":/models"}
    assert nfs["VolumeOptions"]["DriverConfig"] == {"Name": "local", "Options": options}
    assert (host["Type"], host["Source"], host["ReadOnly"]) == ("bind", "/srv/a", False)
    assert host["BindOptions"] == {"Propagation": "rprivate"}
    assert (disk["Type"], "Source" in disk) == ("volume", False)
    assert (memory["Type"], memory["TmpfsOptions"]["SizeBytes"]) == ("tmpfs", 8 * 2**20)
    assert "Mounts" not in create_body(spec(), "owner", Containment())["HostConfig"]


def test_nobody_becomes_root_where_the_operator_has_named_a_user() -> None:
    asked = spec(point("emptydir://"), userId=0, groupId=0)
    assert of_container(asked, (), may_be_root=True)
    with pytest.raises(LaunchRefused, match=r"nasConfig\.userId is 0: must be above 0"):
        of_container(asked, (), may_be_root=False)
    pods.check(asked, KubernetesSettings())
    with pytest.raises(RefusedByCluster, match=r"nasConfig\.userId is 0: must be above 0"):
        pods.check(asked, KubernetesSettings(run_as_user=1000))


def test_a_process_has_nothing_mounted_unless_bubblewrap_shows_a_command_its_own_view(tmp_path: Path) -> None:
    source, target = tmp_path / "models", tmp_path / "seen"
    source.mkdir()
    allowed = read_allowed(f"hostpath://{source}")
    asked = spec(point(f"hostpath://{source}", str(target), readOnly=True))
    assert of_process(spec(), (), has_own_view=False) == []
    with pytest.raises(LaunchRefused, match="cannot be mounted for a process"):
        of_process(asked, allowed, has_own_view=False)
    with pytest.raises(LaunchRefused, match="must be a folder that the machine has"):
        of_process(asked, allowed, has_own_view=True)
    target.mkdir()
    mounts = of_process(asked, allowed, has_own_view=True)
    shown = Isolation(no_new_privileges=True, bubblewrap="/usr/bin/bwrap").prefix(
        tmp_path, tmp_path, tmp_path, binds(mounts)
    )
    assert " ".join(["--ro-bind", str(source), str(target)]) in " ".join(shown)
    with pytest.raises(LaunchRefused, match=r"nasConfig\.userId is 5: must be -1"):
        of_process(replace(asked, user_id=5), allowed, has_own_view=True)
    with pytest.raises(LaunchRefused, match="cannot be mounted here; allowed: hostpath:///path"):
        of_process(spec(point("emptydir://")), allowed, has_own_view=True)


# -- a cluster ---------------------------------------------------------------------------------------------------------


def test_what_is_asked_of_a_cluster() -> None:
    asked = spec(
        point("nas:/models", "/mnt/nas", readOnly=True), point("pvc://models/llm", "/mnt/claim", readOnly=True),
        point("hostpath:///srv", "/mnt/host"), point("emptydir://?sizeMiB=5", "/mnt/disk"),
        point("emptydir://?medium=memory&sizeMiB=8", "/mnt/memory"), userId=10003, groupId=10004,
    )  # fmt: skip
    settings = KubernetesSettings(
        run_as_user=1000, allowed_mounts=("nas:/models", "pvc://models", "hostpath:///srv=rw")
    )
    pods.check(asked, settings)
    said = pods.pod_of(asked, settings, epoch=1)["spec"]
    assert said["securityContext"] == {
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsNonRoot": True, "runAsUser": 10003, "runAsGroup": 10004, "fsGroup": 10004,
    }  # fmt: skip
    assert said["volumes"][1:] == [
        {"name": "nas-0", "nfs": {"server": "nas", "path": "/models", "readOnly": True}},
        {"name": "nas-1", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
        {"name": "nas-2", "hostPath": {"path": "/srv", "type": "Directory"}},
        {"name": "nas-3", "emptyDir": {"sizeLimit": "5Mi"}},
        {"name": "nas-4", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
    ]
    assert said["containers"][0]["volumeMounts"][1:] == [
        {"name": "nas-0", "mountPath": "/mnt/nas", "readOnly": True},
        {"name": "nas-1", "mountPath": "/mnt/claim", "readOnly": True, "subPath": "llm"},
        {"name": "nas-2", "mountPath": "/mnt/host"},
        {"name": "nas-3", "mountPath": "/mnt/disk"},
        {"name": "nas-4", "mountPath": "/mnt/memory"},
    ]


def test_a_cluster_refuses_what_its_operator_has_not_allowed_or_has_mounted_there() -> None:
    with pytest.raises(RefusedByCluster, match=r"'pvc://a': must be at or below .* allowedMounts"):
        pods.check(spec(point("pvc://a")), KubernetesSettings())
    taken = KubernetesSettings(volumes=(Volume(name="m", mount_path="/mnt/a", claim="m"),))
    with pytest.raises(RefusedByCluster, match="mountDir is '/mnt/a': the operator's volumes are there"):
        pods.check(spec(point("emptydir://")), taken)


def test_who_an_image_runs_as_is_said_image_by_image() -> None:
    rules = (UserRule(images=("shop/*",), user=2000), UserRule(images=("base/*",)))
    settings = KubernetesSettings(run_as_user=1000, run_as_users=rules)

    def user(image: str) -> Any:
        made = pods.pod_of(replace(spec(), image=image), settings, epoch=1)
        return made["spec"]["securityContext"].get("runAsUser")

    assert [user("shop/a:1"), user("base/a:1"), user("other:1")] == [2000, None, 1000]
