"""Provision configs: what is to be kept warm of a function by a qualifier."""

from __future__ import annotations

import json
from typing import Any

from control_plane.errors import ConcurrentUpdate, InvalidArgument, RequestError
from control_plane.listing import Page, Query
from control_plane.model import QualifiedFunction, Setting
from control_plane.registry import keys
from control_plane.registry.base import RegistryBase, find_function, find_version_id, is_version
from control_plane.registry.transaction import Transaction
from provision.config import ProvisionConfig
from runtime.contract import LATEST


class Provisions(RegistryBase):
    async def put_provision(
        self, target: QualifiedFunction, config: ProvisionConfig, *, based_on: ProvisionConfig | None = None
    ) -> None:
        _check_qualifier(target)
        name = _name(target)

        async def plan(transaction: Transaction) -> None:
            version = await find_version_id(transaction, target.service_name, target.qualifier)
            await find_function(transaction, target.service_name, target.function_name, version)
            scaling, record = await transaction.get(keys.setting(Setting.SCALING, name), keys.provision(name))
            if based_on is not None and _loaded(record) != based_on:
                raise ConcurrentUpdate(
                    f"the provision config of '{target}' has changed since it was read: read it again"
                )
            if scaling is not None:
                raise RequestError(
                    f"function '{target}' has a scaling config: delete it before a provision config is put",
                    code="ResidentScalingConfigExists",
                    status=412,
                )
            transaction.put(keys.provision(name), config.model_dump_json(by_alias=True))
            transaction.enlist(keys.PROVISIONS, name)

        await self._change(plan)

    async def delete_provision(self, target: QualifiedFunction) -> None:
        """Nothing is kept warm of it any more, whichever way it was asked for. One that is not there does nothing."""
        name = _name(target)

        async def plan(transaction: Transaction) -> None:
            transaction.remove(keys.provision(name))
            transaction.strike(keys.PROVISIONS, name)
            transaction.remove(keys.setting(Setting.SCALING, name))
            transaction.strike(keys.settings(Setting.SCALING), name)

        await self._change(plan)

    async def put_scaling(self, target: QualifiedFunction, given: dict[str, Any], config: ProvisionConfig) -> None:
        """`given` is what FC 3.0 calls it, `config` what it means; both are kept, the second is what counts."""
        _check_qualifier(target)
        name = _name(target)

        async def plan(transaction: Transaction) -> None:
            version = await find_version_id(transaction, target.service_name, target.qualifier)
            await find_function(transaction, target.service_name, target.function_name, version)
            scaling, there = await transaction.get(keys.setting(Setting.SCALING, name), keys.provision(name))
            if there is not None and scaling is None:
                raise RequestError(
                    f"function '{target}' has a provision config: delete it before a scaling config is put",
                    code="ProvisionConfigExist",
                    status=412,
                )
            transaction.put(keys.setting(Setting.SCALING, name), json.dumps(given))
            transaction.enlist(keys.settings(Setting.SCALING), name)
            transaction.put(keys.provision(name), config.model_dump_json(by_alias=True))
            transaction.enlist(keys.PROVISIONS, name)

        await self._change(plan)

    async def get_provision(self, target: QualifiedFunction) -> ProvisionConfig | None:
        (record,) = await self._store.get(keys.provision(_name(target)))
        return None if record is None else ProvisionConfig.model_validate_json(record)

    async def list_provision(
        self, query: Query, service: str = "", qualifier: str = ""
    ) -> Page[tuple[QualifiedFunction, ProvisionConfig]]:
        """All, those of a service, or those of a service's qualifier. `next_token` is opaque."""
        if qualifier and not service:
            raise InvalidArgument("serviceName is missing: a qualifier means nothing without its service")
        prefix = f"{service}/" if service else ""
        if qualifier:
            prefix += f"{qualifier}/"
        return await self._page(
            keys.PROVISIONS,
            query,
            keys.provision,
            lambda name, record: (_target(name), ProvisionConfig.model_validate_json(record)),
            prefix=prefix,
        )


def _check_qualifier(target: QualifiedFunction) -> None:
    if is_version(target.qualifier):
        raise InvalidArgument(
            f"qualifier is '{target.qualifier}': must be {LATEST} or an alias, as a bare version is not provisioned"
        )


def _loaded(record: str | None) -> ProvisionConfig:
    return ProvisionConfig() if record is None else ProvisionConfig.model_validate_json(record)


def _name(target: QualifiedFunction) -> str:
    return keys.provision_name(target.service_name, target.qualifier, target.function_name)


def _target(name: str) -> QualifiedFunction:
    service, qualifier, function = name.split("/")
    return QualifiedFunction(service_name=service, qualifier=qualifier, function_name=function)
