"""A fork that was made ahead of its order: it does what any instance of the function needs, and waits to be told which
one it is."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import Any, Final

from runtime.contract import MODEL_HANDLER
from runtime.instance import birth
from runtime.instance.config import InstanceConfig
from runtime.instance.stage import Prepared, Stage

_PACKET_BYTES_MAX: Final = 160 * 1024  # as runtime/node/zygote.py has it
_TAKEN: Final = b"taken"  # said before anything is done: without it nothing was


def wait(config: dict[str, Any], orders: socket.socket) -> int:
    """Live as the instance of the order that comes, if one does. Returns the exit status, for os._exit."""
    prepared = Prepared()
    with suppress(Exception):  # the instance will meet it again, and say it where its function's author looks
        is_model = MODEL_HANDLER.fullmatch(config["handler"])
        prepared = Prepared.rehearsed(None if is_model else Stage.set_up(InstanceConfig.from_dict(config)))
    with orders:
        packet, descriptors, _, _ = socket.recv_fds(orders, _PACKET_BYTES_MAX, 2)
        if not packet:
            return 0
        orders.send(_TAKEN)
    log, ready = descriptors
    return birth.become_instance(json.loads(packet), log, ready, prepared)
