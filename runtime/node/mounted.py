"""What a node's instances may have mounted: containers all that is allowed, commands in bubblewrap a folder of the
machine. Looks at the disk for links alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from runtime.mounts import EMPTY, HOST, NFS, Allowed, Mount, from_dicts, why_not
from runtime.node.errors import LaunchRefused
from runtime.node_contract import LaunchSpec

SETTING: Final = "allowed_mounts"
_OF_CONTAINERS: Final = (NFS, HOST, EMPTY)


def of_container(spec: LaunchSpec, allowed: Sequence[Allowed], *, may_be_root: bool) -> list[Mount]:
    """What is to be mounted, links in the machine's folders followed. Raises LaunchRefused; names the field."""
    if spec.user_id == 0 and not may_be_root:
        raise LaunchRefused(
            "nasConfig.userId is 0: must be above 0, as nobody runs as root here (the operator's container_user)"
        )
    return _checked(spec, allowed, _OF_CONTAINERS)


def of_process(spec: LaunchSpec, allowed: Sequence[Allowed], *, has_own_view: bool) -> list[Mount]:
    """As `of_container`. `has_own_view`: it is a command that bubblewrap shows other folders than the machine's."""
    if not spec.mounts:
        return []
    if not has_own_view:
        raise LaunchRefused(
            "nasConfig.mountPoints cannot be mounted for a process, which has the machine's own files: runtime "
            "custom-container can have them, or a command under STOKE_SANDBOX=bubblewrap a hostpath:///path"
        )
    if spec.user_id >= 0:
        raise LaunchRefused(f"nasConfig.userId is {spec.user_id}: must be -1, as processes run as the node's own user")
    mounts = _checked(spec, allowed, (HOST,))
    for number, mount in enumerate(mounts):
        if not Path(mount.mount_dir).is_dir():
            raise LaunchRefused(
                f"nasConfig.mountPoints[{number}].mountDir is '{mount.mount_dir}': for a command it must be a folder "
                "that the machine has"
            )
    return mounts


def binds(mounts: Sequence[Mount]) -> list[str]:
    """As bubblewrap's arguments."""
    return [
        part for mount in mounts for part in ("--ro-bind" if mount.read_only else "--bind", mount.path, mount.mount_dir)
    ]


def _checked(spec: LaunchSpec, allowed: Sequence[Allowed], kinds: tuple[str, ...]) -> list[Mount]:
    mounts = from_dicts(spec.mounts)
    reason = why_not(mounts, allowed, kinds, SETTING)
    if not reason:
        for number, mount in enumerate(mounts):
            _check_there(mount, number)
        # Only an operator can have put links where functions do not write, so they stay what they are from here on.
        mounts = [_followed(mount) for mount in mounts]
        reason = why_not(mounts, [replace(entry, root=_followed(entry.root)) for entry in allowed], kinds, SETTING)
    if reason:
        raise LaunchRefused(reason)
    return mounts


def _check_there(mount: Mount, number: int) -> None:
    field = f"nasConfig.mountPoints[{number}].serverAddr is '{mount.source}'"
    if mount.kind == HOST and not Path(mount.path).is_dir():
        raise LaunchRefused(f"{field}: must be there, and this machine has no such folder")
    if mount.kind == EMPTY and mount.size_mib and not mount.in_memory:
        raise LaunchRefused(
            f"{field}: an engine holds no folder on a disk to a size; without sizeMiB, or with medium=memory, it can be"
        )


def _followed(mount: Mount) -> Mount:
    return replace(mount, path=os.path.realpath(mount.path)) if mount.kind == HOST else mount
