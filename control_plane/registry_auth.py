"""The credentials by which a function's image is pulled: `customContainerConfig.registryConfig.authConfig`.

A password is sealed before it is stored and never shown again; what is shown in its place, sent back, keeps it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from control_plane.errors import InvalidArgument
from control_plane.model import Function
from runtime.access.sealing import Box, SealBroken
from runtime.node.docker.asked import registry_of
from runtime.node_contract import LaunchSpec

log = logging.getLogger(__name__)

MASK: Final = "********"
FIELD: Final = "customContainerConfig.registryConfig"
CHARS_MAX: Final = 4096  # tokens of clouds' registries are long
_KEY: Final = "registryConfig"

Seal = Callable[[str, str], str]  # text, what it is bound to -> sealed


def taken(new: Function, stored: Function | None, seal: Seal) -> Function:
    """The function as it is to be stored. What it has of the stored one's is left as it is.

    Raises:
        InvalidArgument: with the field and what is allowed; a password's value is not in it.
    """
    config = _config(new)
    if config is None or (stored is not None and config == _config(stored)):
        return new
    if not isinstance(config, dict):
        raise InvalidArgument(f"{FIELD} is {json.dumps(config)[:80]}: must be an object")
    auth = config.get("authConfig")
    if not auth:
        return new
    if not isinstance(auth, dict):
        raise InvalidArgument(f"{FIELD}.authConfig must be an object with userName and password")
    for key in ("userName", "password"):
        value = auth.get(key)
        if not isinstance(value, str) or not 1 <= len(value) <= CHARS_MAX:
            raise InvalidArgument(f"{FIELD}.authConfig.{key} must be a text of 1 to {CHARS_MAX} characters")
    if ":" in auth["userName"]:
        raise InvalidArgument(f"{FIELD}.authConfig.userName is '{auth['userName'][:80]}': must have no colon in it")
    password = auth["password"]
    sealed = _kept(new, stored, auth["userName"]) if password == MASK else seal(password, _bound_to(new))
    return _with_config(new, {**config, "authConfig": {**auth, "password": sealed}})


def with_credentials(spec: LaunchSpec, function: Function, box: Box) -> LaunchSpec:
    """The spec with what the function has. Sealed with another key than this one it is as if it had none, and the
    registry's refusal is the reason that the user reads."""
    auth = _auth(function)
    if auth is None:
        return spec
    try:
        password = box.open(str(auth["password"]), _bound_to(function))
    except SealBroken as error:
        log.error("registry.password_lost function=%s/%s error=%s", spec.service, spec.function, error)
        return spec
    return replace(spec, registry_user=str(auth["userName"]), registry_password=password)


def masked(values: dict[str, Any]) -> dict[str, Any]:
    """A function as it is to be shown, of one with its fields as FC spells them."""
    container = values.get("customContainerConfig") or {}
    config = container.get(_KEY)
    if not isinstance(config, dict) or not isinstance(auth := config.get("authConfig"), dict) or "password" not in auth:
        return values
    shown = {**config, "authConfig": {**auth, "password": MASK}}
    return {**values, "customContainerConfig": {**container, _KEY: shown}}


def _kept(new: Function, stored: Function | None, user: str) -> str:
    auth = _auth(stored) if stored is not None else None
    if auth is None or stored is None or auth.get("userName") != user:
        raise InvalidArgument(
            f"{FIELD}.authConfig.password is '{MASK}': that keeps the password there is, and of this user there is none"
        )
    before, now = (registry_of(_image(function)) for function in (stored, new))
    if before != now:
        raise InvalidArgument(
            f"{FIELD}.authConfig.password is '{MASK}': the image's registry has changed from {before} to {now}, so it "
            "must be given anew"
        )
    return str(auth["password"])


def _config(function: Function) -> Any:
    container = function.custom_container_config
    return ((container.model_extra if container is not None else None) or {}).get(_KEY)


def _auth(function: Function) -> Mapping[str, Any] | None:
    config = _config(function)
    auth = config.get("authConfig") if isinstance(config, dict) else None
    return auth if isinstance(auth, dict) and auth.get("password") and auth.get("userName") else None


def _with_config(function: Function, config: dict[str, Any]) -> Function:
    assert function.custom_container_config is not None
    values: dict[str, Any] = function.custom_container_config.model_dump(by_alias=True)
    container = type(function.custom_container_config).model_validate({**values, _KEY: config})
    return function.model_copy(update={"custom_container_config": container})


def _image(function: Function) -> str:
    return function.custom_container_config.image if function.custom_container_config is not None else ""


def _bound_to(function: Function) -> str:
    return f"registry of {function.service_name}/{function.function_name}"
