"""From what one instance needs to the Pod that is asked for, and what is written on it to find it again. Pure."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final, Protocol

from control_plane.backends.kubernetes import mounted
from control_plane.backends.kubernetes.settings import KubernetesSettings, Volume
from control_plane.errors import LaunchRefused
from runtime.contract import HEADER_CONTROL_PATH, HEADER_REQUEST_ID, PATH_PRE_STOP
from runtime.node.docker.asked import SHM_VARIABLE, ShmSizeError, shm_size_bytes
from runtime.node.environment import container_environment
from runtime.node_contract import LaunchSpec

NAME_PREFIX: Final = "stoke-"
CONTAINER: Final = "instance"
LABEL_OWNER: Final = "stoke.dev/owner"
LABEL_INSTANCE: Final = "stoke.dev/instance"
LABEL_POOL: Final = "stoke.dev/pool"
SPEC: Final = "stoke.dev/spec"  # annotations
STATE: Final = "stoke.dev/state"
EPOCH: Final = "stoke.dev/epoch"
FENCED: Final = "stoke.dev/fenced"
# Keeps a Pod's end readable until it has been heard here: how it died, and that it is no more.
FINALIZER: Final = "stoke.dev/kept"
GRACE_S_DEFAULT: Final = 30  # for a Pod that is deleted by others (a node that is drained)
_DROPPED: Final = ["AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP", "SYS_CHROOT"]


class Pool(Protocol):
    """A named group of nodes that an instance is to run on."""

    @property
    def name(self) -> str: ...
    @property
    def node_selector(self) -> Mapping[str, str]: ...
    @property
    def tolerations(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def labels(self) -> Mapping[str, str]: ...


def pod_name(instance_id: str) -> str:
    """Made of the id alone: a second create of the same instance meets the first one's Pod."""
    return NAME_PREFIX + instance_id


def selector(owner: str) -> str:
    return f"{LABEL_OWNER}={owner}"


def check(spec: LaunchSpec, settings: KubernetesSettings) -> None:
    """Raises LaunchRefused for what can never run here; names the field."""
    if spec.runtime != "custom-container":
        raise LaunchRefused(f"runtime is '{spec.runtime}': on Kubernetes only custom-container runs, from an image")
    if not spec.image or spec.image.startswith("file:"):
        raise LaunchRefused(
            f"customContainerConfig.image is '{spec.image}': on Kubernetes nodes pull it, so allowed is a name with a "
            "tag or name@digest"
        )
    if spec.gpu_memory_mib and settings.gpu_rule(spec.gpu_memory_mib) is None:
        most = max((rule.up_to_mib for rule in settings.gpus), default=0)
        raise LaunchRefused(
            f"gpuMemorySize is {spec.gpu_memory_mib}: the settings' gpus have a resource for at most {most} MiB"
        )
    mounted.check(spec, settings)
    try:
        shm_size_bytes(spec.environment)
    except ShmSizeError as error:
        raise LaunchRefused(str(error)) from error


def pod_of(
    spec: LaunchSpec, settings: KubernetesSettings, *, epoch: int, pool: Pool | None = None, pull_secret: str = ""
) -> dict[str, Any]:
    """The body of the create. `epoch` tells who launched it; `pool` adds where it is to run; `pull_secret` goes before
    the settings' own."""
    gpu = settings.gpu_rule(spec.gpu_memory_mib) if spec.gpu_memory_mib else None
    node_selector = {
        **settings.node_selector,
        **(gpu.node_selector if gpu else {}),
        **(pool.node_selector if pool else {}),
    }
    tolerations = [dict(item) for item in (*settings.tolerations, *(pool.tolerations if pool else ()))]
    said: dict[str, Any] = {
        "restartPolicy": "Never",  # one life: what follows it is the fleet's to decide
        "terminationGracePeriodSeconds": GRACE_S_DEFAULT,
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "containers": [_container(spec, settings)],
        "volumes": _volumes(spec, settings),
        "nodeSelector": node_selector,
        "tolerations": tolerations,
        "affinity": settings.affinity,
        "priorityClassName": settings.priority_class_name,
        "runtimeClassName": settings.runtime_class_name,
        "serviceAccountName": settings.service_account_name,
        "imagePullSecrets": [{"name": name} for name in (pull_secret, *settings.image_pull_secrets) if name],
        "securityContext": _pod_security(spec, settings),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(spec.instance_id),
            "labels": _labels(spec, settings, pool),
            "annotations": _annotations(spec, epoch),
            "finalizers": [FINALIZER],
        },
        "spec": {name: value for name, value in said.items() if value not in ("", {}, [])},
    }


def _labels(spec: LaunchSpec, settings: KubernetesSettings, pool: Pool | None) -> dict[str, str]:
    labels = {
        "app.kubernetes.io/managed-by": "stoke",
        LABEL_OWNER: settings.owner,
        LABEL_INSTANCE: spec.instance_id,
        "stoke.dev/service": spec.service,
        "stoke.dev/function": spec.function,
        "stoke.dev/version": spec.version,
    }
    if pool is not None:
        labels |= {LABEL_POOL: pool.name, **pool.labels}
    # A name of Function Compute may be longer than a label; its whole is in the annotation.
    return {name: value[:63].strip("-_.") for name, value in labels.items()}


def _annotations(spec: LaunchSpec, epoch: int) -> dict[str, str]:
    """Variables are in the container already, and may be secret: not twice. The password is in a secret."""
    kept = asdict(replace(spec, environment={}, registry_password=""))
    return {
        SPEC: json.dumps(kept, separators=(",", ":"), sort_keys=True),
        EPOCH: str(epoch),
        "stoke.dev/revision": spec.revision,
    }


def spec_of(pod: Mapping[str, Any]) -> LaunchSpec:
    """What an instance was launched with, but for its variables. Raises ValueError, TypeError, KeyError."""
    return LaunchSpec.from_json(pod["metadata"]["annotations"][SPEC])


def _container(spec: LaunchSpec, settings: KubernetesSettings) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": CONTAINER,
        "image": spec.image,
        "imagePullPolicy": settings.image_pull_policy,
        "env": [{"name": name, "value": value} for name, value in container_environment(spec).items()],
        "ports": [{"name": "http", "containerPort": spec.ca_port, "protocol": "TCP"}],
        "resources": _resources(spec, settings),
        "readinessProbe": _readiness(spec),
        "securityContext": _security(settings),
        "volumeMounts": _mounts(spec, settings),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    # A Pod's command replaces an image's entry point, as Function Compute's does, and then only its own args count.
    if spec.command:
        body["command"] = spec.command
        body["args"] = spec.args
    elif spec.args:
        body["args"] = spec.args
    if spec.pre_stop:
        body["lifecycle"] = {"preStop": {"httpGet": _pre_stop(spec)}}
    return body


def _resources(spec: LaunchSpec, settings: KubernetesSettings) -> dict[str, dict[str, str]]:
    limits = {"memory": f"{spec.memory_mib}Mi"}
    requests = {"memory": f"{spec.memory_mib}Mi"}
    if spec.cpu > 0:
        limits["cpu"] = f"{math.ceil(spec.cpu * 1000)}m"
        requests["cpu"] = f"{max(1, math.ceil(spec.cpu * 1000 * settings.cpu_request_share))}m"
    gpu = settings.gpu_rule(spec.gpu_memory_mib) if spec.gpu_memory_mib else None
    if gpu is not None:
        limits[gpu.resource] = requests[gpu.resource] = str(gpu.count)  # of such a resource both are the same
    return {"limits": limits, "requests": requests}


def _readiness(spec: LaunchSpec) -> dict[str, Any]:
    """The kubelet's own look, whose seconds are whole ones."""
    probe: dict[str, Any] = {
        "periodSeconds": max(1, round(spec.health_period_s)),
        "timeoutSeconds": max(1, math.ceil(spec.health_timeout_s)),
        "failureThreshold": max(1, spec.health_failure_threshold),
        "successThreshold": max(1, spec.health_success_threshold),
    }
    if not spec.health_path:
        return {"tcpSocket": {"port": spec.ca_port}, **probe}
    probe["initialDelaySeconds"] = max(0, round(spec.health_initial_delay_s))
    return {"httpGet": {"path": spec.health_path, "port": spec.ca_port, **_headers(spec, spec.health_path)}, **probe}


def _pre_stop(spec: LaunchSpec) -> dict[str, Any]:
    """Called by the kubelet, so also when a node is drained and nobody here looks."""
    return {"path": PATH_PRE_STOP, "port": spec.ca_port, **_headers(spec, PATH_PRE_STOP)}


def _headers(spec: LaunchSpec, path: str) -> dict[str, Any]:
    request_id = uuid.uuid5(uuid.NAMESPACE_URL, f"{spec.instance_id}{path}")
    values = {**spec.headers, HEADER_REQUEST_ID: str(request_id), HEADER_CONTROL_PATH: path}
    return {"httpHeaders": [{"name": name, "value": value} for name, value in values.items() if value]}


def _security(settings: KubernetesSettings) -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": settings.read_only_root,
        "capabilities": {"drop": list(_DROPPED)},
    }


def _pod_security(spec: LaunchSpec, settings: KubernetesSettings) -> dict[str, Any]:
    return {"seccompProfile": {"type": "RuntimeDefault"}, **mounted.user(spec, settings)}


def _volumes(spec: LaunchSpec, settings: KubernetesSettings) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [
        {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": f"{settings.tmp_mib}Mi"}}
    ]
    if (shm_bytes := shm_size_bytes(spec.environment)) is not None:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": str(shm_bytes)}})
    volumes += [{"name": volume.name, **_source(volume)} for volume in _own(spec, settings)]
    return volumes + mounted.volumes(spec)


def _source(volume: Volume) -> dict[str, Any]:
    if volume.claim:
        return {"persistentVolumeClaim": {"claimName": volume.claim, "readOnly": volume.read_only}}
    if volume.host_path:
        return {"hostPath": {"path": volume.host_path}}
    if volume.nfs_server:
        return {"nfs": {"server": volume.nfs_server, "path": volume.nfs_path, "readOnly": volume.read_only}}
    return {"emptyDir": {"sizeLimit": f"{volume.empty_dir_mib}Mi"}}


def _mounts(spec: LaunchSpec, settings: KubernetesSettings) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - the container's own
    if SHM_VARIABLE in spec.environment:
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108 - the container's own
    for volume in _own(spec, settings):
        mount: dict[str, Any] = {"name": volume.name, "mountPath": volume.mount_path}
        if volume.read_only and not volume.empty_dir_mib:
            mount["readOnly"] = True
        if volume.sub_path:
            mount["subPath"] = volume.sub_path
        mounts.append(mount)
    return mounts + mounted.volume_mounts(spec)


def _own(spec: LaunchSpec, settings: KubernetesSettings) -> list[Volume]:
    return [volume for volume in settings.volumes if volume.is_for(spec.service, spec.function)]
