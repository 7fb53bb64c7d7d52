"""FC 3.0's names: it has functions and no services, and one registry holds both.

Function `f` is function `f` of service `f`, so what FC 2.0 keeps with a service (versions, aliases, role, logs) is its
own; `s$f` is function `f` of a service `s` that may have others.
"""

from __future__ import annotations

from functools import wraps
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api.context import ApiSettings, Operation
from control_plane.errors import NotFound, RequestError
from control_plane.registry.keys import fc3_name, fc3_split
from runtime.contract import API_VERSION_3, LATEST

PREFIX: Final = f"/{API_VERSION_3}/"


def is_asked(request: Request) -> bool:
    return request.url.path.startswith(PREFIX)


def of_function(operation: Operation) -> Operation:
    """An operation of the FC 2.0 tree for a path that has an FC 3.0 name as `{name}`."""

    @wraps(operation)
    async def answer(request: Request) -> Response:
        name = str(request.path_params["name"])
        request.path_params["service"], request.path_params["function"] = fc3_split(name)
        try:
            return await operation(request)
        except NotFound as error:
            if error.code in ("ServiceNotFound", "FunctionNotFound"):
                raise NotFound("Function", f"function '{name}' does not exist") from error
            error.message = _without_services(error.message, request, name)
            raise
        except RequestError as error:
            error.message = _without_services(error.message, request, name)
            raise

    return answer


def _without_services(message: str, request: Request, name: str) -> str:
    service, function = fc3_split(name)
    qualifier = request.query_params.get("qualifier") or LATEST
    return (
        message.replace(f"'{service}.{qualifier}/{function}'", f"'{name}/{qualifier}'")
        .replace(f"in function '{function}' of service '{service}'", f"in function '{name}'")
        .replace(f" of service '{service}'", "")
        .replace(f"service '{service}'", f"function '{name}'")
    )


def function_arn(settings: ApiSettings, service: str, function: str, qualifier: str = "") -> str:
    arn = f"acs:fc:{settings.region}:{settings.account_id}:functions/{fc3_name(service, function)}"
    return f"{arn}/{qualifier}" if qualifier else arn
