"""What an operator says of the cluster, in one YAML file: which resource is a GPU, where Pods may run, what is mounted.

Names are Kubernetes' own; what is passed on to Pods as it stands (tolerations, affinity) is checked by the API server.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from control_plane.errors import InvalidArgument
from runtime.mounts import read_allowed

VOLUME_PREFIX: Final = "nas-"  # of the volumes that functions ask for
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$")]


class _Said(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class GpuRule(_Said):
    """Which resource a function gets whose `gpuMemorySize` is at most `up_to_mib`."""

    up_to_mib: int = Field(gt=0)
    resource: str = Field(min_length=3, pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")  # nvidia.com/gpu, nvidia.com/mig-…
    count: int = Field(default=1, ge=1, le=64)
    node_selector: dict[str, str] = Field(default_factory=dict)


class Volume(_Said):
    """What is mounted into the instances of the functions that `functions` names. One source of the four."""

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$")
    mount_path: str = Field(pattern=r"^/.")
    functions: tuple[str, ...] = ("*",)  # SERVICE/FUNCTION, with * and ?
    sub_path: str = ""
    read_only: bool = True
    claim: str = ""  # of a PersistentVolumeClaim
    host_path: str = ""
    nfs_server: str = ""
    nfs_path: str = ""
    empty_dir_mib: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one_source(self) -> Volume:
        given = [bool(self.claim), bool(self.host_path), bool(self.nfs_server), bool(self.empty_dir_mib)]
        if sum(given) != 1:
            raise ValueError(f"volume '{self.name}' has {sum(given)} of claim, hostPath, nfsServer, emptyDirMib; one")
        if bool(self.nfs_server) != bool(self.nfs_path):
            raise ValueError(f"volume '{self.name}' has one of nfsServer and nfsPath; both are needed")
        return self

    def is_for(self, service: str, function: str) -> bool:
        return any(fnmatchcase(f"{service}/{function}", pattern) for pattern in self.functions)


class UserRule(_Said):
    """Who the images that `images` names run as, by the image's whole name with * and ?."""

    images: tuple[str, ...] = Field(min_length=1)
    user: int | None = Field(default=None, ge=1)  # None = as the image says


class KubernetesSettings(_Said):
    """All of it; every value has a default. `docs/kubernetes.md` has the table."""

    namespace: str = ""  # "" = that of the kubeconfig's context or of the service account
    # Control planes in one namespace leave each other's Pods alone; "" = a name that is kept in the store.
    owner: LabelValue = ""
    calls_per_s: float = Field(default=20.0, gt=0.0, le=1000.0)

    gpus: tuple[GpuRule, ...] = ()
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()
    affinity: dict[str, Any] = Field(default_factory=dict)
    priority_class_name: str = ""
    runtime_class_name: str = ""
    service_account_name: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    image_pull_policy: str = Field(default="IfNotPresent", pattern=r"^(Always|IfNotPresent|Never)$")
    volumes: tuple[Volume, ...] = ()

    read_only_root: bool = True
    tmp_mib: int = Field(default=512, ge=1)  # of /tmp, which is memory and counts as the instance's
    run_as_user: int | None = Field(default=None, ge=1)  # None = as the image says
    run_as_users: tuple[UserRule, ...] = ()  # the first that fits an image, before `run_as_user`
    allowed_mounts: tuple[str, ...] = ()  # what functions may have mounted by `nasConfig`, beside empty folders
    cpu_request_share: float = Field(default=1.0, gt=0.0, le=1.0)  # of the limit

    # A node that is added takes minutes; what waits longer is said as currentError, and asked for again.
    pending_s_max: float = Field(default=600.0, ge=1.0, le=86_400.0)
    image_failing_s_max: float = Field(default=60.0, ge=0.0, le=3600.0)

    # Nodes that are lost together are not noticed at once; only when all have been seen is it known whether all are.
    node_lost_s: float = Field(default=5.0, ge=0.0, le=600.0)

    memory_mib_max: int = Field(default=0, ge=0)  # 0 = what the nodes have; else what may be asked for in all
    samples_every_s: float = Field(default=5.0, ge=0.1, le=300.0)
    dcgm_port: int = Field(default=0, ge=0, le=65_535)  # of the exporter on each node; 0 = none is asked
    prometheus: str = Field(default="", pattern=r"^(https?://.*)?$")  # has its figures, asked instead
    output_kib_kept: int = Field(default=256, ge=1, le=65_536)  # of each ended instance
    outputs_kept: int = Field(default=500, ge=0, le=100_000)

    @model_validator(mode="after")
    def _names_once(self) -> KubernetesSettings:
        names = [volume.name for volume in self.volumes]
        for name in names:
            if names.count(name) > 1 or name in ("tmp", "shm") or name.startswith(VOLUME_PREFIX):
                raise ValueError(f"volumes has the name '{name}' twice; tmp, shm and {VOLUME_PREFIX}… are taken")
        return self

    @field_validator("allowed_mounts")
    @classmethod
    def _readable(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        read_allowed(",".join(entries))
        return entries

    def gpu_rule(self, memory_mib: int) -> GpuRule | None:
        """The smallest that is enough."""
        fitting = [rule for rule in self.gpus if rule.up_to_mib >= memory_mib]
        return min(fitting, key=lambda rule: rule.up_to_mib, default=None)


def read_settings(path: Path | None, **given: Any) -> KubernetesSettings:
    """From a file, if one is named, and what was given beside it. Raises InvalidArgument with the field and why."""
    values: Any = {}
    if path is not None:
        try:
            values = yaml.safe_load(path.read_text()) or {}
        except (OSError, UnicodeError, yaml.YAMLError) as error:
            raise InvalidArgument(f"the settings {path} cannot be read: {error}") from error
        if not isinstance(values, dict):
            raise InvalidArgument(f"the settings {path} are no mapping of names to values")
    try:
        return KubernetesSettings.model_validate({**values, **given})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "(whole)"
        raise InvalidArgument(f"{path or 'the settings'}: {field} is {first['input']!r}: {first['msg']}") from error
