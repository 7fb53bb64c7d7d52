"""What loading and unloading a model may ask for. Pure: the models are what was deployed, and nothing is uploaded."""

from __future__ import annotations

from typing import Any

from runtime.models.oip.problems import UNSUPPORTED, OipError


def check_load(asked: dict[str, Any], name: str) -> None:
    """Raises OipError for a config or files that came with it."""
    parameters = _parameters(asked)
    for key in parameters:
        if key == "config" or key.startswith("file:"):
            raise OipError(
                f"failed to load '{name}': parameter '{key}' is not supported, a model is loaded as it was deployed",
                UNSUPPORTED,
            )
        raise OipError(f"failed to load '{name}': unrecognized load parameter '{key}'")


def check_unload(asked: dict[str, Any]) -> None:
    """No model has others that depend on it, so both values of `unload_dependents` are the same. Raises OipError."""
    for key, value in _parameters(asked).items():
        if key != "unload_dependents" or not isinstance(value, bool):
            raise OipError(f"unload parameter '{key}' is {value!r}: unload_dependents, true or false, is allowed")


def _parameters(asked: dict[str, Any]) -> dict[str, Any]:
    parameters = asked.get("parameters", {})
    if not isinstance(parameters, dict):
        raise OipError("parameters must be an object")
    return parameters
