"""What goes when a function, a version, an alias or a service goes: said once, as each may go alone or with another."""

from __future__ import annotations

from control_plane.registry import keys
from control_plane.registry.base import AFTER_ALL
from control_plane.registry.settings import drop_settings, drop_settings_of
from control_plane.registry.transaction import Span, Transaction
from runtime.contract import LATEST, alias_field, function_field


def drop_function(transaction: Transaction, service: str, name: str) -> None:
    """LATEST of a function, with its provision config and its settings; published versions keep their snapshot."""
    _drop_snapshot(transaction, service, LATEST, name)
    transaction.strike(keys.FC3_FUNCTIONS, keys.fc3_name(service, name))
    provision = keys.provision_name(service, LATEST, name)
    drop_settings(transaction, provision)
    _drop_provision(transaction, provision)


async def drop_version(transaction: Transaction, service: str, version_id: str) -> None:
    """A version with its snapshots, and what is set by it."""
    for name in await transaction.names(keys.functions(service, version_id)):
        _drop_snapshot(transaction, service, version_id, name)
    await drop_settings_of(transaction, service, version_id)
    transaction.remove(keys.service(service, version_id))
    transaction.remove(keys.version(service, version_id))
    transaction.strike(keys.versions(service), keys.version_member(version_id))


async def drop_alias(transaction: Transaction, service: str, name: str) -> None:
    """An alias, and what is provisioned and set by it. Routes of the versions that it named are the caller's."""
    transaction.remove(keys.alias(service, name))
    transaction.strike(keys.aliases(service), name)
    transaction.route(alias_field(service, name), None)
    first = keys.provision_name(service, name, "")
    for provision in await transaction.names(keys.PROVISIONS, Span(first, first + AFTER_ALL)):
        _drop_provision(transaction, provision)
    await drop_settings_of(transaction, service, name)


def drop_service(transaction: Transaction, name: str) -> None:
    """A service that is empty, or whose functions, versions and aliases go in the same transaction."""
    transaction.remove(keys.service(name, LATEST))
    transaction.remove(keys.version_counter(name))
    transaction.strike(keys.SERVICES, name)


def _drop_snapshot(transaction: Transaction, service: str, version: str, name: str) -> None:
    transaction.remove(keys.function(service, version, name))
    transaction.strike(keys.functions(service, version), name)
    transaction.route(function_field(service, version, name), None)


def _drop_provision(transaction: Transaction, name: str) -> None:
    transaction.remove(keys.provision(name))
    transaction.strike(keys.PROVISIONS, name)
