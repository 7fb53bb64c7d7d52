"""What is mounted into an instance: how its source is spelled, and what an operator lets be mounted. Pure.

HOST:/path                              an NFS export, as Function Compute names its file systems
pvc://CLAIM[/path]                      a PersistentVolumeClaim of the cluster, or a folder in it
hostpath:///path                        a folder of the machine that the instance runs on
emptydir://[?medium=memory][&sizeMiB=N] an empty folder that lives and goes with the instance
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qsl

from runtime.contract import Message

NFS: Final = "nfs"
CLAIM: Final = "claim"
HOST: Final = "host"
EMPTY: Final = "empty"
UNREADABLE: Final = "unreadable"

FORMS: Final = "HOST:/path, pvc://CLAIM, hostpath:///path or emptydir://"
SOURCE_CHARS_MAX: Final = 1024
SIZE_MIB_MAX: Final = 1_048_576
WRITABLE: Final = "=rw"  # behind an entry of what is allowed

_NFS: Final = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]):(/.*)")
_CLAIM: Final = re.compile(r"([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(/.*)?")
_NOT_IN_PATHS: Final = re.compile(r"[\x00-\x1f\x7f\\:,]")


class SourceError(ValueError):
    """A text that names nothing that can be mounted; the message says what is allowed."""


@dataclass(frozen=True, slots=True)
class Mount(Message):
    """One mount of an instance. Of an UNREADABLE one, `path` says why what the function asks for cannot be read."""

    kind: str
    server: str = ""  # the host of an NFS export, the name of a claim
    path: str = ""  # absolute; in a claim "" is all of it
    size_mib: int = 0  # of an empty folder; 0 = no limit of its own
    in_memory: bool = False  # an empty folder
    mount_dir: str = ""  # where the instance sees it
    read_only: bool = False

    @property
    def source(self) -> str:
        """As users spell it."""
        if self.kind == NFS:
            return f"{self.server}:{self.path}"
        if self.kind == CLAIM:
            return f"pvc://{self.server}{self.path}"
        if self.kind == HOST:
            return f"hostpath://{self.path}"
        medium = ["medium=memory"] if self.in_memory else []
        query = "&".join([*medium, *([f"sizeMiB={self.size_mib}"] if self.size_mib else [])])
        return f"emptydir://{'?' if query else ''}{query}"


@dataclass(frozen=True, slots=True)
class Allowed:
    """One entry of what an operator lets functions mount. To write they may mount it as it is alone: what they write,
    links among it, could lead out of a folder below it."""

    root: Mount
    writable: bool = False


def read_source(text: str) -> Mount:
    """Without where it is mounted. Raises SourceError."""
    if len(text) > SOURCE_CHARS_MAX:
        raise SourceError(f"must have at most {SOURCE_CHARS_MAX} characters")
    scheme, separator, rest = text.partition("://")
    if not separator:
        found = _NFS.fullmatch(text)
        if found is None:
            raise SourceError(f"must be {FORMS}")
        return Mount(NFS, found[1], _clean(found[2]))
    if scheme == "pvc":
        claim = _CLAIM.fullmatch(rest)
        if claim is None:
            raise SourceError("must be pvc:// and the name of a claim, and may have a path in it: pvc://models/llm")
        path = _clean(claim[2] or "/")
        return Mount(CLAIM, claim[1], "" if path == "/" else path)
    if scheme == "hostpath":
        if not rest.startswith("/"):
            raise SourceError("must be hostpath:// and an absolute path: hostpath:///srv/models")
        return Mount(HOST, path=_clean(rest))
    if scheme == "emptydir":
        return _empty(rest)
    raise SourceError(f"must be {FORMS}")


def read_allowed(text: str) -> tuple[Allowed, ...]:
    """Entries parted by commas, spelled as sources; `=rw` behind one lets functions write. Raises SourceError."""
    return tuple(_read_entry(entry) for entry in filter(None, (part.strip() for part in text.split(","))))


def _read_entry(entry: str) -> Allowed:
    bare = entry.removesuffix(WRITABLE)
    try:
        root = read_source(bare)
    except SourceError as error:
        raise SourceError(f"'{entry}' {error}") from error
    if root.kind == EMPTY:
        raise SourceError(f"'{entry}' need not be allowed: an empty folder is the instance's own")
    return Allowed(root, writable=bare != entry)


def to_dicts(mounts: Iterable[Mount]) -> list[dict[str, Any]]:
    """As they travel in a LaunchSpec."""
    return [asdict(mount) for mount in mounts]


def from_dicts(values: Iterable[dict[str, Any]]) -> list[Mount]:
    return [Mount.from_dict(value) for value in values]


def why_not(mounts: Sequence[Mount], allowed: Sequence[Allowed], kinds: Iterable[str], setting: str) -> str:
    """Why these may not be mounted where only `kinds` can be; "" if all may. Names the first field that is wrong.

    `setting` is what the operator calls the list of what is allowed.
    """
    offered = tuple(kinds)
    for number, mount in enumerate(mounts):
        field = f"nasConfig.mountPoints[{number}]"
        if mount.kind == UNREADABLE:
            return mount.path
        if mount.kind not in offered:
            return f"{field}.serverAddr is '{mount.source}': that cannot be mounted here; allowed: {_forms(offered)}"
        if mount.kind != EMPTY and (reason := _why_not_allowed(mount, allowed)):
            field_and_value = f"{field}.serverAddr is '{mount.source}'"
            if reason == "readOnly":
                field_and_value = f"{field}.readOnly is false"
                reason = f"'{mount.source}' may be mounted to be read alone; must be true"
            return f"{field_and_value}: {reason} (the operator's {setting})"
    return ""


def _why_not_allowed(mount: Mount, allowed: Sequence[Allowed]) -> str:
    above = [entry for entry in allowed if _is_at_or_below(mount, entry.root)]
    if not above:
        listed = ", ".join(entry.root.source for entry in allowed) or "nothing"
        return f"must be at or below what may be mounted: {listed}"
    if any(entry.root.path == mount.path and entry.writable for entry in above):
        return ""
    written = [entry.root for entry in above if entry.writable]
    if written:
        return f"must be '{written[0].source}' itself, as functions write there"
    return "" if mount.read_only else "readOnly"


def _is_at_or_below(mount: Mount, root: Mount) -> bool:
    if (mount.kind, mount.server) != (root.kind, root.server):
        return False
    return mount.path == root.path or mount.path.startswith(root.path.rstrip("/") + "/")


def _forms(kinds: Sequence[str]) -> str:
    forms = {NFS: "HOST:/path", CLAIM: "pvc://CLAIM", HOST: "hostpath:///path", EMPTY: "emptydir://"}
    return ", ".join(form for kind, form in forms.items() if kind in kinds) or "none"


def _clean(path: str) -> str:
    """The path without a slash at its end. Raises SourceError."""
    if _NOT_IN_PATHS.search(path):
        raise SourceError(r"must have a path without control characters, colons, commas and backslashes")
    parts = path.strip("/").split("/") if path.strip("/") else []
    if any(part in ("", ".", "..") for part in parts):
        raise SourceError("must have a path without '.', '..' and empty parts")
    return "/" + "/".join(parts)


def _empty(rest: str) -> Mount:
    name, _, query = rest.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise SourceError("must be emptydir:// and may have ?medium=memory&sizeMiB=N") from error
    values = dict(pairs)
    if name or len(values) != len(pairs) or values.keys() - {"medium", "sizeMiB"}:
        raise SourceError("must be emptydir:// and may have medium and sizeMiB, each once")
    if values.get("medium", "disk") not in ("memory", "disk"):
        raise SourceError("must have a medium of memory or disk")
    size = values.get("sizeMiB", "")
    if size and not (size.isascii() and size.isdecimal() and len(size) < 9 and 1 <= int(size) <= SIZE_MIB_MAX):
        raise SourceError(f"must have a sizeMiB from 1 to {SIZE_MIB_MAX}")
    in_memory = values.get("medium") == "memory"
    if in_memory and not size:
        raise SourceError("must have a sizeMiB, as memory counts: emptydir://?medium=memory&sizeMiB=256")
    return Mount(EMPTY, size_mib=int(size or 0), in_memory=in_memory)


def at(mount: Mount, mount_dir: str, *, read_only: bool) -> Mount:
    """A source where an instance is to see it."""
    return replace(mount, mount_dir=mount_dir, read_only=read_only)
