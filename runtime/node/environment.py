"""Which environment variables an instance sees: Function Compute's, a few every program needs, and the user's. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from runtime.contract import LATEST
from runtime.node_contract import LaunchSpec

# Names with these beginnings are the platform's: a function's own variables cannot change them.
RESERVED_PREFIXES: Final = ("FC_", "STOKE_")


def instance_environment(
    spec: LaunchSpec, *, port: int, code: Path, home: Path, path: str, gpu: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Nothing of the node's own environment is in it but `path`, the value of PATH. `gpu` is what `gpu_share` says of
    the instance's device."""
    platform = {**_platform(spec, port), "FC_FUNC_CODE_PATH": str(code)}
    return {**_defaults(spec, home, path), **_own(spec), **platform, **(gpu or {})}


def container_environment(spec: LaunchSpec, gpu: Mapping[str, str] | None = None) -> dict[str, str]:
    """What is added to the image's own environment, whose PATH, HOME and the like stay as they are."""
    values = {name: value for name, value in _settings(spec).items() if name != "PYTHONDONTWRITEBYTECODE"}
    if spec.gpu_memory_mib == 0:
        values["NVIDIA_VISIBLE_DEVICES"] = "void"  # many images ask for every card, which the NVIDIA runtime would give
    return {**values, **_own(spec), **_platform(spec, spec.ca_port), **(gpu or {})}


def _own(spec: LaunchSpec) -> dict[str, str]:
    return {name: value for name, value in spec.environment.items() if not name.startswith(RESERVED_PREFIXES)}


def _platform(spec: LaunchSpec, port: int) -> dict[str, str]:
    version = spec.version
    return {
        "FC_SERVER_PORT": str(port),
        "FC_INSTANCE_ID": spec.instance_id,
        "FC_ACCOUNT_ID": spec.headers.get("x-fc-account-id", ""),
        "FC_REGION": spec.headers.get("x-fc-region", ""),
        "FC_SERVICE_NAME": spec.service,
        "FC_FUNCTION_NAME": spec.function,
        "FC_FUNCTION_HANDLER": spec.handler,
        "FC_FUNCTION_MEMORY_SIZE": str(spec.memory_mib),
        "FC_QUALIFIER": spec.headers.get("x-fc-qualifier", version),
        "FC_VERSION_ID": "0" if version == LATEST else version,
        "STOKE_CPU": f"{spec.cpu:g}",
        "STOKE_GPU_MEMORY_MIB": str(spec.gpu_memory_mib),
    }


def _defaults(spec: LaunchSpec, home: Path, path: str) -> dict[str, str]:
    """What a function's own variables may replace."""
    return {"PATH": path, "HOME": str(home), "TMPDIR": str(home), **_settings(spec)}


def _settings(spec: LaunchSpec) -> dict[str, str]:
    values = {
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",  # what is printed is in the log at once
        "PYTHONDONTWRITEBYTECODE": "1",  # the code folder is shared, and only to be read
        "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime would start a thread and an uploader in every instance
    }
    if spec.gpu_memory_mib == 0:
        # A function that asked for no GPU must not find one: a mere CUDA context takes hundreds of MiB of a card.
        values["CUDA_VISIBLE_DEVICES"] = ""
    if spec.cpu > 0:
        values["OMP_NUM_THREADS"] = str(math.ceil(spec.cpu))
    return values
