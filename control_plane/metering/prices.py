"""What an instance's time costs, from a file of the operator's. There are no prices without one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from control_plane.metering.meter import Amounts

MIB_PER_GIB: Final = 1024


class Prices(BaseModel):
    """Each for one unit, in one currency. What is left out costs nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, strict=True, allow_inf_nan=False)

    currency: str = Field(min_length=1, max_length=12)
    gpu_gb_second: float = Field(0.0, alias="gpuGbSecond", ge=0.0)
    vcpu_second: float = Field(0.0, alias="vcpuSecond", ge=0.0)
    gb_second: float = Field(0.0, alias="gbSecond", ge=0.0)  # of memory
    million_requests: float = Field(0.0, alias="millionRequests", ge=0.0)

    def of_time(self, used: Amounts) -> float:
        """Of everything but the requests."""
        return (
            self.gpu_gb_second * used.gpu_memory_mib_ms / MIB_PER_GIB
            + self.vcpu_second * used.cpu_milli_ms / 1000
            + self.gb_second * used.memory_mib_ms / MIB_PER_GIB
        ) / 1000

    def of_requests(self, used: Amounts) -> float:
        return self.million_requests * used.requests / 1_000_000


def read_prices(path: Path) -> Prices:
    """Raises ValueError, naming the file, the field, its value and what is allowed."""
    try:
        return Prices.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"prices: {path} cannot be read: {error}") from error
    except ValidationError as error:
        wrong = map(_told, error.errors())
        allowed = ", ".join(field.alias or name for name, field in Prices.model_fields.items())
        raise ValueError(f"prices: {path}: {'; '.join(wrong)} (its fields are {allowed})") from error


def _told(wrong: ErrorDetails) -> str:
    field = ".".join(map(str, wrong["loc"])) or "the file"
    if wrong["type"] == "missing":
        return f"{field} is missing"
    return f"{field} is {str(wrong['input'])[:60]!r}: {wrong['msg']}"
