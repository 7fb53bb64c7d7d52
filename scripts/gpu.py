"""What beside Stoke's own packages a machine with an NVIDIA card needs, printed for pip; nothing where there is none.

ONNX Runtime runs on a card by the libraries of the CUDA that it was built with, and they by drivers that are as new.
The driver is asked, without a context on any card. `STOKE_CUDA` answers in its place: 12, 13, or none.
"""

from __future__ import annotations

import ctypes
import os
import sys

# The first release on PyPI whose libraries are those of CUDA 13 (`onnxruntime-gpu`, extra `cuda`).
FIRST_OF_CUDA_13 = "1.27"


def packages(cuda: int) -> list[str]:
    """For a driver that is good for this major version of CUDA; 0 = there is none. Pure."""
    if cuda >= 13:
        return [f"onnxruntime-gpu[cuda,cudnn] >= {FIRST_OF_CUDA_13}"]
    return [f"onnxruntime-gpu[cuda,cudnn] < {FIRST_OF_CUDA_13}"] if cuda == 12 else []


def asked(setting: str) -> int | None:
    """What STOKE_CUDA says; None = nothing. Raises ValueError."""
    if setting in ("", "none"):
        return 0 if setting else None
    if setting not in ("12", "13"):
        raise ValueError(f"STOKE_CUDA is '{setting}': 12, 13 or none is allowed")
    return int(setting)


def of_driver() -> int:
    """The major version of CUDA that the driver of this machine is good for; 0 without a driver."""
    version = ctypes.c_int()
    try:
        if ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version)):
            return 0
    except (OSError, AttributeError):
        return 0
    return version.value // 1000


def main() -> int:
    try:
        cuda = asked(os.environ.get("STOKE_CUDA", ""))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    cuda = of_driver() if cuda is None else cuda
    if 0 < cuda < 12:
        print(f"the NVIDIA driver is good for CUDA {cuda}: 12 is needed, models will run on the CPU", file=sys.stderr)
    print("\n".join(packages(cuda)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
