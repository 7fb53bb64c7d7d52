"""What a function's `nasConfig` becomes on a Pod: volumes, where they are mounted, who its container runs as. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Final

from control_plane.backends.kubernetes.settings import VOLUME_PREFIX, KubernetesSettings
from control_plane.errors import LaunchRefused
from runtime.mounts import CLAIM, EMPTY, HOST, NFS, Mount, from_dicts, read_allowed, why_not
from runtime.node_contract import LaunchSpec

SETTING: Final = "allowedMounts"


def check(spec: LaunchSpec, settings: KubernetesSettings) -> None:
    """Raises LaunchRefused for what may not be; names the field."""
    mounts = from_dicts(spec.mounts)
    allowed = read_allowed(",".join(settings.allowed_mounts))
    if reason := why_not(mounts, allowed, (NFS, CLAIM, HOST, EMPTY), SETTING):
        raise LaunchRefused(reason)
    taken = {volume.mount_path for volume in settings.volumes if volume.is_for(spec.service, spec.function)}
    for number, mount in enumerate(mounts):
        if mount.mount_dir in taken:
            raise LaunchRefused(
                f"nasConfig.mountPoints[{number}].mountDir is '{mount.mount_dir}': the operator's volumes are there"
            )
    if spec.user_id == 0 and _user_of_settings(spec, settings) is not None:
        raise LaunchRefused("nasConfig.userId is 0: must be above 0, as nobody runs as root here (runAsUser)")


def volumes(spec: LaunchSpec) -> list[dict[str, Any]]:
    return [{"name": _name(number), **_source(mount)} for number, mount in enumerate(from_dicts(spec.mounts))]


def volume_mounts(spec: LaunchSpec) -> list[dict[str, Any]]:
    said = []
    for number, mount in enumerate(from_dicts(spec.mounts)):
        body: dict[str, Any] = {"name": _name(number), "mountPath": mount.mount_dir}
        if mount.read_only:
            body["readOnly"] = True
        if mount.kind == CLAIM and mount.path:
            body["subPath"] = mount.path.lstrip("/")
        said.append(body)
    return said


def user(spec: LaunchSpec, settings: KubernetesSettings) -> dict[str, Any]:
    """Fields of the Pod's security context: the function's user, else the settings' for its image, else the image's."""
    if spec.user_id >= 0:
        of_function = {"runAsUser": spec.user_id, "runAsGroup": spec.group_id, "fsGroup": spec.group_id}
        return {"runAsNonRoot": True, **of_function} if spec.user_id else of_function
    number = _user_of_settings(spec, settings)
    return {} if number is None else {"runAsNonRoot": True, "runAsUser": number, "fsGroup": number}


def _user_of_settings(spec: LaunchSpec, settings: KubernetesSettings) -> int | None:
    for rule in settings.run_as_users:
        if any(fnmatchcase(spec.image, pattern) for pattern in rule.images):
            return rule.user
    return settings.run_as_user


def _name(number: int) -> str:
    return f"{VOLUME_PREFIX}{number}"


def _source(mount: Mount) -> dict[str, Any]:
    if mount.kind == CLAIM:
        return {"persistentVolumeClaim": {"claimName": mount.server, "readOnly": mount.read_only}}
    if mount.kind == HOST:
        return {"hostPath": {"path": mount.path, "type": "Directory"}}  # one that is not there is not made
    if mount.kind == NFS:
        return {"nfs": {"server": mount.server.strip("[]"), "path": mount.path, "readOnly": mount.read_only}}
    said: dict[str, str] = {"medium": "Memory"} if mount.in_memory else {}
    return {"emptyDir": said | ({"sizeLimit": f"{mount.size_mib}Mi"} if mount.size_mib else {})}
