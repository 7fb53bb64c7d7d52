"""Async invoke configs: how asynchronous invocations of a function by a qualifier are retried, and where results go."""

from __future__ import annotations

from control_plane.errors import InvalidArgument, RequestError
from control_plane.model import AsyncInvokeConfig, QualifiedFunction
from control_plane.ports import Page, Query
from control_plane.registry import keys
from control_plane.registry.base import AFTER_ALL, RegistryBase, dump, find_function, find_version_id, span
from control_plane.registry.transaction import Span, Transaction
from runtime.async_invocation import destinations
from runtime.contract import ASYNC_EVENT_AGE_S_MAX, ASYNC_RETRY_ATTEMPTS_MAX, AsyncRoute, async_field


class AsyncConfigs(RegistryBase):
    async def put_async_config(self, target: QualifiedFunction, config: AsyncInvokeConfig) -> AsyncInvokeConfig:
        name = _name(target)
        route = async_route(target, config)

        async def plan(transaction: Transaction) -> AsyncInvokeConfig:
            version = await find_version_id(transaction, target.service_name, target.qualifier)
            await find_function(transaction, target.service_name, target.function_name, version)
            (there,) = await transaction.get(keys.async_config(name))
            stored = None if there is None else AsyncInvokeConfig.model_validate_json(there)
            new = self._stamped(config, stored)
            transaction.put(keys.async_config(name), dump(new))
            transaction.enlist(keys.ASYNC_CONFIGS, name)
            transaction.route(_route_field(name), route.to_json())
            return new

        return await self._change(plan)

    async def get_async_config(self, target: QualifiedFunction) -> AsyncInvokeConfig:
        (record,) = await self._store.get(keys.async_config(_name(target)))
        if record is None:
            version = await find_version_id(self._store, target.service_name, target.qualifier)
            await find_function(self._store, target.service_name, target.function_name, version)
            raise _none(target)
        return AsyncInvokeConfig.model_validate_json(record)

    async def delete_async_config(self, target: QualifiedFunction) -> None:
        async def plan(transaction: Transaction) -> None:
            (record,) = await transaction.get(keys.async_config(_name(target)))
            if record is None:
                version = await find_version_id(transaction, target.service_name, target.qualifier)
                await find_function(transaction, target.service_name, target.function_name, version)
                raise _none(target)
            remove_async_config(transaction, _name(target))

        await self._change(plan)

    async def list_async_configs(
        self, query: Query, service: str = "", function: str = ""
    ) -> Page[tuple[QualifiedFunction, AsyncInvokeConfig]]:
        """All, those of a service, or those of a service's function. `next_token` is opaque."""
        prefix = f"{service}/" if service else ""
        wanted = span(query, prefix)
        # A function's configs are few, and lie apart in the index, which is sorted by qualifier.
        names = await self._store.names(keys.ASYNC_CONFIGS, Span(wanted.low, wanted.high) if function else wanted)
        if function:
            names = [name for name in names if name.endswith(f"/{function}")]
        return await self._page_of(
            names,
            query.limit,
            keys.async_config,
            lambda name, record: (_target(name), AsyncInvokeConfig.model_validate_json(record)),
        )


def remove_async_config(transaction: Transaction, name: str) -> None:
    """Take one away, if it is there."""
    transaction.remove(keys.async_config(name))
    transaction.strike(keys.ASYNC_CONFIGS, name)
    transaction.route(_route_field(name), None)


async def remove_async_configs(transaction: Transaction, service: str, qualifier: str) -> None:
    """Take away all of a qualifier that is no more."""
    first = keys.provision_name(service, qualifier, "")
    for name in await transaction.names(keys.ASYNC_CONFIGS, Span(first, first + AFTER_ALL)):
        remove_async_config(transaction, name)


def async_route(target: QualifiedFunction, config: AsyncInvokeConfig) -> AsyncRoute:
    """What gateways are told. Raises InvalidArgument for a destination of no known form."""
    to = config.destination_config
    age_s, attempts = config.max_async_event_age_in_seconds, config.max_async_retry_attempts
    return AsyncRoute(
        service=target.service_name,
        function=target.function_name,
        qualifier=target.qualifier,
        retry_attempts_max=ASYNC_RETRY_ATTEMPTS_MAX if attempts is None else attempts,
        event_age_s_max=ASYNC_EVENT_AGE_S_MAX if age_s is None else float(age_s),
        on_success=_checked("onSuccess", to.on_success.destination if to and to.on_success else None),
        on_failure=_checked("onFailure", to.on_failure.destination if to and to.on_failure else None),
        stateful=bool(config.stateful_invocation or config.async_task),
    )


def _checked(name: str, destination: str | None) -> str:
    if not destination:
        return ""
    try:
        destinations.parse(destination)
    except ValueError as error:
        raise InvalidArgument(f"destinationConfig.{name}.{error}") from None
    return destination


def _none(target: QualifiedFunction) -> RequestError:
    where = f"function '{target.function_name}' of service '{target.service_name}', qualifier '{target.qualifier}'"
    return RequestError(f"{where}, has no async invoke config", code="AsyncConfigNotExists", status=404)


def _name(target: QualifiedFunction) -> str:
    return keys.provision_name(target.service_name, target.qualifier, target.function_name)


def _target(name: str) -> QualifiedFunction:
    service, qualifier, function = name.split("/")
    return QualifiedFunction(service_name=service, qualifier=qualifier, function_name=function)


def _route_field(name: str) -> str:
    service, qualifier, function = name.split("/")
    return async_field(service, qualifier, function)
