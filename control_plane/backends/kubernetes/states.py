"""How far a Pod is, read from the object that the API server has of it, in the words that users read. Pure.

What of it makes an instance READY (the server listens, `/initialize` has answered) no Pod knows: that is `life.py`'s,
which writes it on the Pod, so that it is known after a restart too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from control_plane.backends.kubernetes.pods import EPOCH, FENCED, FINALIZER, STATE

_IMAGE_FAILS: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
_NEVER_STARTS: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff", "InvalidImageName"}
)
# It did not end by itself, or nobody saw how: the runtime's words say more than the exit code that stands beside them.
_NO_EXIT: Final = frozenset({"StartError", "ContainerCannotRun", "ContainerStatusUnknown"})
_REASON_CHARS_MAX: Final = 1000


class Phase(Enum):
    """WAITING: for a node, an image, a container. RUNNING: its program runs. ENDING: told to end. ENDED: nobody of it
    is left. DIED: it ended by itself, or was made to by the cluster."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDING = "ending"
    ENDED = "ended"
    DIED = "died"


class Trouble(Enum):
    """What a WAITING one waits for in vain; how long that is borne is in the settings."""

    NONE = "none"
    NO_PLACE = "no place"
    IMAGE = "image"
    HOPELESS = "hopeless"


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at a Pod."""

    phase: Phase
    reason: str = ""
    trouble: Trouble = Trouble.NONE
    ip: str = ""
    node: str = ""
    is_healthy: bool = True  # by the kubelet's own look, while it is RUNNING
    exit_code: int | None = None
    is_out_of_memory: bool = False
    is_evicted: bool = False  # the cluster took it away: no fault of the function


def look(pod: Mapping[str, Any]) -> Seen:
    """What a Pod object says."""
    metadata, status = pod.get("metadata") or {}, pod.get("status") or {}
    node = str((pod.get("spec") or {}).get("nodeName") or "")
    container = _container_state(status)
    terminated = container.get("terminated")
    evicted = _evicted(status)
    if metadata.get("deletionTimestamp"):
        over = not node or metadata.get("deletionGracePeriodSeconds") == 0 or terminated is not None
        over = over or status.get("phase") in ("Succeeded", "Failed")
        phase = (Phase.DIED if evicted else Phase.ENDED) if over else Phase.ENDING
        return Seen(phase, evicted, ip=_ip(status), node=node, is_evicted=bool(evicted))
    if status.get("phase") in ("Succeeded", "Failed") or terminated is not None:
        return _died(status, terminated or {}, evicted, node)
    if status.get("phase") == "Running" and "running" in container:
        return Seen(Phase.RUNNING, ip=_ip(status), node=node, is_healthy=_condition(status, "Ready")[0] != "False")
    return _waiting(status, container, node)


def is_ours(pod: Mapping[str, Any]) -> bool:
    """Whether its end is still to be heard here. Without the finalizer it has been, and is only the cluster's now."""
    return FINALIZER in ((pod.get("metadata") or {}).get("finalizers") or ())


def is_fenced(pod: Mapping[str, Any]) -> bool:
    """Whether an instance of its epoch was given up while its node could not be reached."""
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    return _number(annotations.get(FENCED), 0) >= _number(annotations.get(EPOCH), 1)


def noted_state(pod: Mapping[str, Any]) -> str:
    """What was written on it of the way to READY: "", "INITIALIZING" or "READY"."""
    return str(((pod.get("metadata") or {}).get("annotations") or {}).get(STATE) or "")


def _died(status: Mapping[str, Any], terminated: Mapping[str, Any], evicted: str, node: str) -> Seen:
    code = None if terminated.get("reason") in _NO_EXIT else terminated.get("exitCode")
    said = str(status.get("message") or terminated.get("message") or "")
    why = str(status.get("reason") or terminated.get("reason") or "")
    reason = evicted or (f"{why}: {said}" if why and said else why or said)
    return Seen(
        Phase.DIED,
        reason[:_REASON_CHARS_MAX],
        node=node,
        exit_code=int(code) if code is not None else None,
        is_out_of_memory=terminated.get("reason") == "OOMKilled",
        is_evicted=bool(evicted),
    )


def _waiting(status: Mapping[str, Any], container: Mapping[str, Any], node: str) -> Seen:
    waiting = container.get("waiting") or {}
    why, said = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    if why in _IMAGE_FAILS or why in _NEVER_STARTS:
        trouble = Trouble.HOPELESS if why in _NEVER_STARTS else Trouble.IMAGE
        return Seen(Phase.WAITING, _joined(why, said), trouble, node=node)
    scheduled, because, message = _condition(status, "PodScheduled")
    if scheduled == "False":
        return Seen(Phase.WAITING, _joined(because, message), Trouble.NO_PLACE)
    return Seen(Phase.WAITING, _joined(why, said) if why else ("" if node else "waits for a node"), node=node)


def _joined(why: str, said: str) -> str:
    return (f"{why}: {said}" if said else why)[:_REASON_CHARS_MAX]


def _evicted(status: Mapping[str, Any]) -> str:
    """Why the cluster took it away, "" if it did not."""
    disrupted, why, said = _condition(status, "DisruptionTarget")
    if disrupted == "True":
        return f"Function instance was taken away by the cluster ({_joined(why, said)})"
    if status.get("reason") in ("Evicted", "NodeLost", "Preempting", "Shutdown", "NodeShutdown", "Terminated"):
        said = str(status.get("message") or "")
        return f"Function instance was taken away by the cluster ({_joined(str(status['reason']), said)})"
    return ""


def _condition(status: Mapping[str, Any], kind: str) -> tuple[str, str, str]:
    """Its status ("True", "False", "Unknown", "" when it is not there), reason and message."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == kind:
            return (
                str(condition.get("status")),
                str(condition.get("reason") or ""),
                str(condition.get("message") or ""),
            )
    return "", "", ""


def _container_state(status: Mapping[str, Any]) -> Mapping[str, Any]:
    containers = status.get("containerStatuses") or ()
    return (containers[0].get("state") or {}) if containers else {}


def _ip(status: Mapping[str, Any]) -> str:
    return str(status.get("podIP") or "")


def _number(text: Any, otherwise: int) -> int:
    try:
        return int(text)
    except (TypeError, ValueError):
        return otherwise
