"""`python -m runtime.instance LOG READY`: an instance in a fresh interpreter, its order on stdin.

The zygote makes instances of forks of itself. This way is for functions that bring their own numpy or onnxruntime,
which must not meet ours.
"""

from __future__ import annotations

import json
import os
import sys

from runtime.compiled import REQUESTS

REQUESTS.use()

from runtime.instance.birth import become_instance  # noqa: E402 - by now from the build


def main() -> int:
    log, ready = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(ready, False)
    return become_instance(json.loads(sys.stdin.buffer.read()), log, ready)


if __name__ == "__main__":
    os._exit(main())
