"""What gateways are told of an async invoke config: how invocations are retried, and where their results go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control_plane.errors import InvalidArgument
from control_plane.model import QualifiedFunction
from runtime.async_invocation import destinations
from runtime.contract import ASYNC_EVENT_AGE_S_MAX, ASYNC_RETRY_ATTEMPTS_MAX, AsyncRoute


def async_route(target: QualifiedFunction, values: Mapping[str, Any]) -> AsyncRoute:
    """`values` are the config's, as FC spells them; `asyncTask` is FC 3.0's word for `statefulInvocation`.

    Raises:
        InvalidArgument: a destination of no known form.
    """
    to = values.get("destinationConfig") or {}
    age_s, attempts = values.get("maxAsyncEventAgeInSeconds"), values.get("maxAsyncRetryAttempts")
    return AsyncRoute(
        service=target.service_name,
        function=target.function_name,
        qualifier=target.qualifier,
        retry_attempts_max=ASYNC_RETRY_ATTEMPTS_MAX if attempts is None else attempts,
        event_age_s_max=ASYNC_EVENT_AGE_S_MAX if age_s is None else float(age_s),
        on_success=_checked("onSuccess", to.get("onSuccess")),
        on_failure=_checked("onFailure", to.get("onFailure")),
        stateful=bool(values.get("statefulInvocation") or values.get("asyncTask")),
    )


def _checked(name: str, to: Mapping[str, Any] | None) -> str:
    destination = str((to or {}).get("destination") or "")
    if destination:
        try:
            destinations.parse(destination)
        except ValueError as error:
            raise InvalidArgument(f"destinationConfig.{name}.{error}") from None
    return destination
