"""Reads a service's `nasConfig`, and says what its functions' instances get mounted by it. Pure.

Spelled as in Function Compute; `readOnly` of a mount point is as in its `ossMountConfig`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from control_plane.errors import InvalidArgument
from control_plane.model import Function, Service
from runtime.mounts import EMPTY, UNREADABLE, Mount, SourceError, at, read_source

FIELD: Final = "nasConfig"
MOUNT_POINTS_MAX: Final = 5
ID_MAX: Final = 65_534
MOUNT_DIR_CHARS_MAX: Final = 255
_KEYS: Final = frozenset({"serverAddr", "mountDir", "enableTLS", "readOnly"})
# What an image needs to run. What is below the last three is the kernel's.
_TAKEN: Final = frozenset({"/", "/bin", "/boot", "/etc", "/lib", "/lib64", "/sbin", "/tmp", "/usr"})  # noqa: S108
_KERNELS: Final = ("/dev", "/proc", "/sys")
_SHOWN_CHARS_MAX: Final = 80


@dataclass(frozen=True, slots=True)
class Nas:
    """What is mounted, and who an instance then runs as; an id of -1 is as the image says."""

    mounts: tuple[Mount, ...] = ()
    user_id: int = -1
    group_id: int = -1


def read(config: Any) -> Nas:
    """Without mount points it has no effect, whatever else it says: that is what clients send for none.

    Raises:
        InvalidArgument: with the field, its value and what is allowed.
    """
    if not config:
        return Nas()
    if not isinstance(config, dict):
        raise _wrong(FIELD, config, "must be an object")
    points = config.get("mountPoints") or []
    if not isinstance(points, list):
        raise _wrong(f"{FIELD}.mountPoints", points, "must be a list")
    if len(points) > MOUNT_POINTS_MAX:
        raise InvalidArgument(f"{FIELD}.mountPoints has {len(points)} entries: at most {MOUNT_POINTS_MAX} are allowed")
    user_id, group_id = (_id(config, key) for key in ("userId", "groupId"))
    if not points:
        return Nas()
    mounts = tuple(_mount(point, f"{FIELD}.mountPoints[{number}]") for number, point in enumerate(points))
    _check_apart(mounts)
    if (group_id < 0) != (user_id < 0):
        key, value = ("userId", user_id) if user_id < 0 else ("groupId", group_id)
        raise _wrong(f"{FIELD}.{key}", value, "userId and groupId must be given together, or neither")
    return Nas(mounts, user_id, group_id)


def of_service(service: Service | None) -> Nas:
    """As `read`, of a record that was stored: what cannot be read in it is a mount that every backend refuses."""
    try:
        return read(given(service))
    except InvalidArgument as error:
        return Nas((Mount(UNREADABLE, path=str(error)),))


def revision(function: Function, service: Service | None) -> str:
    """Of a function version: it changes, too, when its service has something else mounted."""
    if not of_service(service).mounts:
        return function.revision
    said = json.dumps([function.revision, given(service)], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def given(service: Service | None) -> Any:
    """As it is stored."""
    return ((service.model_extra if service is not None else None) or {}).get(FIELD)


def _mount(point: Any, field: str) -> Mount:
    if not isinstance(point, dict):
        raise _wrong(field, point, "must be an object")
    for key in point.keys() - _KEYS:
        raise InvalidArgument(f"{field}.{key} is not known: allowed are {', '.join(sorted(_KEYS))}")
    address, mount_dir = (_text(point, key, field) for key in ("serverAddr", "mountDir"))
    if point.get("enableTLS"):
        raise _wrong(f"{field}.enableTLS", point["enableTLS"], "must be false, as what is mounted is not encrypted")
    read_only = point.get("readOnly")
    if read_only not in (None, True, False) or (isinstance(read_only, int) and not isinstance(read_only, bool)):
        raise _wrong(f"{field}.readOnly", read_only, "must be true or false")
    try:
        source = read_source(address)
    except SourceError as error:
        raise _wrong(f"{field}.serverAddr", address, str(error)) from error
    if source.kind == EMPTY and read_only:
        raise _wrong(f"{field}.readOnly", read_only, "must be false of an empty folder")
    return at(source, _mount_dir(mount_dir, f"{field}.mountDir"), read_only=bool(read_only))


def _mount_dir(text: str, field: str) -> str:
    try:
        clean = read_source(f"hostpath://{text}").path if text.startswith("/") else ""
    except SourceError as error:
        raise _wrong(field, text, str(error)) from error
    if not clean or len(text) > MOUNT_DIR_CHARS_MAX:
        raise _wrong(field, text, f"must be an absolute path of at most {MOUNT_DIR_CHARS_MAX} characters")
    if clean in _TAKEN or any(clean == path or clean.startswith(f"{path}/") for path in _KERNELS):
        raise _wrong(field, text, "must not be a folder of the system: /mnt/NAME is one that is free")
    return clean


def _check_apart(mounts: tuple[Mount, ...]) -> None:
    for number, mount in enumerate(mounts):
        for other in mounts[:number]:
            first, second = sorted((mount.mount_dir, other.mount_dir), key=len)
            if first == second or second.startswith(f"{first}/"):
                raise InvalidArgument(
                    f"{FIELD}.mountPoints[{number}].mountDir is '{mount.mount_dir}': must be neither at, below nor "
                    f"above that of another, '{other.mount_dir}'"
                )


def _id(config: dict[str, Any], key: str) -> int:
    value = config.get(key)
    if value is None:
        return -1
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value <= ID_MAX:
        raise _wrong(f"{FIELD}.{key}", value, f"must be a whole number from -1 (as the image says) to {ID_MAX}")
    return value


def _text(point: dict[str, Any], key: str, field: str) -> str:
    value = point.get(key)
    if not value:
        raise InvalidArgument(f"{field}.{key} is missing: it is required")
    if not isinstance(value, str):
        raise _wrong(f"{field}.{key}", value, "must be a string")
    return value


def _wrong(field: str, value: Any, allowed: str) -> InvalidArgument:
    text = json.dumps(value, ensure_ascii=False, default=str)
    shown = text if len(text) <= _SHOWN_CHARS_MAX else text[: _SHOWN_CHARS_MAX - 1] + "…"
    return InvalidArgument(f"{field} is {shown}: {allowed}")
