"""The settings that Triton's clients may read and change while a server runs: what is logged, and what is traced."""

from __future__ import annotations

import logging
from typing import Any, Final

from runtime.models.oip.problems import UNSUPPORTED, OipError

_LOG: Final = logging.getLogger("runtime.models")
_FLAGS: Final = ("log_info", "log_warning", "log_error")
_FORMATS: Final = ("default", "ISO8601")


class LogSettings:
    """What `runtime.models` logs follows them; they are this process's, and gone with it."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {
            "log_file": "",
            "log_info": True,
            "log_warning": True,
            "log_error": True,
            "log_verbose_level": 0,
            "log_format": "default",
        }

    def values(self) -> dict[str, Any]:
        return dict(self._values)

    def change(self, wanted: dict[str, Any]) -> None:
        """All of them or, with an OipError, none."""
        for name, value in wanted.items():
            if name not in self._values:
                raise OipError(f"unexpected log setting '{name}': {', '.join(self._values)} are allowed")
            if name == "log_file":
                if value != self._values[name]:
                    raise OipError("log file location can not be updated through network protocol", UNSUPPORTED)
            elif name in _FLAGS and not isinstance(value, bool):
                raise OipError(f"{name} {value!r}: true or false is allowed")
            elif name == "log_verbose_level" and (type(value) is not int or not 0 <= value < 2**31):
                raise OipError(f"log_verbose_level {value!r}: a number from 0 is allowed")
            elif name == "log_format" and value not in _FORMATS:
                raise OipError(f"log_format {value!r}: {' and '.join(_FORMATS)} are allowed")
        self._values.update(wanted)
        _LOG.setLevel(self._level())

    def _level(self) -> int:
        values = self._values
        if values["log_verbose_level"]:
            return logging.DEBUG
        levels = ((logging.INFO, "log_info"), (logging.WARNING, "log_warning"), (logging.ERROR, "log_error"))
        return next((level for level, name in levels if values[name]), logging.CRITICAL)


class TraceSettings:
    """Nothing is traced: the settings can be read, and written as long as they say so."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {
            "trace_level": ["OFF"],
            "trace_rate": "1000",
            "trace_count": "-1",
            "log_frequency": "0",
            "trace_file": "",
            "trace_mode": "triton",
        }

    def values(self) -> dict[str, Any]:
        return dict(self._values)

    def change(self, wanted: dict[str, Any]) -> None:
        """Null is the value that is there, as it is everybody's. Raises OipError, and changes nothing then."""
        for name, value in wanted.items():
            if name not in self._values:
                raise OipError(f"unexpected trace setting '{name}': {', '.join(self._values)} are allowed")
            if value is not None and value != self._values[name]:
                raise OipError(
                    f"trace setting '{name}' cannot be {value!r}: requests are not traced, "
                    f"{self._values[name]!r} is allowed",
                    UNSUPPORTED,
                )
