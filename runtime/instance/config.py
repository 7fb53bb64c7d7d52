"""What the node tells the built-in server of an instance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class InstanceConfig:
    handler: str  # "module.attribute"
    code: str  # the folder of the function's code
    socket: str  # the unix socket to listen on
    initializer: str = ""  # "module.function", or anything else to have POST /initialize go to the app
    pre_stop: str = ""  # likewise, for GET /pre-stop
    instance_concurrency: int = 1
    site: str = ""  # where the packages of the function's environment lie; "" = it has none
    idle_mode: bool = False  # of models: give back what is held of a device while nobody asks

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(**{name: value for name, value in values.items() if name in cls.__dataclass_fields__})
