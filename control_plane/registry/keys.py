"""The store's keys of the registry. No name holds a slash, so a slash parts them.

A record is one string key with its JSON. An index is a sorted set with the names of one collection, all of score 0, so
that the store keeps them by code point and gives any page of them without reading the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

PREFIX: Final = "stoke:registry:"

SERVICES: Final = f"{PREFIX}services"
ACCESS_KEYS: Final = f"{PREFIX}access-keys"
PROVISIONS: Final = f"{PREFIX}provisions"  # its members are `provision_name`s

DOMAINS: Final = f"{PREFIX}domains"
# Every function by the name that FC 3.0 has for it, so that all of them can be listed without going through services.
FC3_FUNCTIONS: Final = f"{PREFIX}fc3-functions"
INDEX_VERSION: Final = f"{PREFIX}index-version"  # in decimal: which indexes the records of this store are in

# Kinds of records that belong to a service, and which part of what follows the kind names it.
_OF_A_SERVICE: Final = {
    **dict.fromkeys(("service", "function", "version", "version-counter", "alias", "trigger", "provision"), 0),
    "setting": 1,
}
_VERSION_DIGITS: Final = 12  # version ids are padded with zeros in their index, so that code points sort as numbers do


def service(name: str, version: str) -> str:
    return f"{PREFIX}service/{name}/{version}"


def functions(service_name: str, version: str) -> str:
    return f"{PREFIX}functions/{service_name}/{version}"


def function(service_name: str, version: str, name: str) -> str:
    return f"{PREFIX}function/{service_name}/{version}/{name}"


def versions(service_name: str) -> str:
    return f"{PREFIX}versions/{service_name}"


def version(service_name: str, version_id: str) -> str:
    return f"{PREFIX}version/{service_name}/{version_id}"


def version_counter(service_name: str) -> str:
    """The last id given out, in decimal: ids are not used again when their version is deleted."""
    return f"{PREFIX}version-counter/{service_name}"


def version_member(version_id: str) -> str:
    return version_id.zfill(_VERSION_DIGITS)


def version_id(member: str) -> str:
    return member.lstrip("0")


def aliases(service_name: str) -> str:
    return f"{PREFIX}aliases/{service_name}"


def alias(service_name: str, name: str) -> str:
    return f"{PREFIX}alias/{service_name}/{name}"


def triggers(service_name: str, function_name: str) -> str:
    return f"{PREFIX}triggers/{service_name}/{function_name}"


def trigger(service_name: str, function_name: str, name: str) -> str:
    return f"{PREFIX}trigger/{service_name}/{function_name}/{name}"


def provision_name(service_name: str, qualifier: str, function_name: str) -> str:
    return f"{service_name}/{qualifier}/{function_name}"


def provision(name: str) -> str:
    return f"{PREFIX}provision/{name}"


def settings(kind: str) -> str:
    """The index of one kind of setting; its members are `provision_name`s."""
    return f"{PREFIX}settings/{kind}"


def setting(kind: str, name: str) -> str:
    return f"{PREFIX}setting/{kind}/{name}"


def domain(name: str) -> str:
    return f"{PREFIX}domain/{name}"


def fc3_name(service_name: str, function_name: str) -> str:
    """FC 3.0 has functions only: `f` is function f of service f, `s$f` is function f of any other service s."""
    return function_name if service_name == function_name else f"{service_name}${function_name}"


def fc3_split(name: str) -> tuple[str, str]:
    """The service and the function behind a name of FC 3.0."""
    service, dollar, function = name.partition("$")
    return (service, function) if dollar else (name, name)


def services_of(records: Iterable[str]) -> set[str]:
    """The services that these records belong to; access keys and domains belong to none."""
    found = set()
    for key in records:
        kind, _, rest = key.removeprefix(PREFIX).partition("/")
        if kind in _OF_A_SERVICE:
            found.add(rest.split("/")[_OF_A_SERVICE[kind]])
    return found


def access_key(access_key_id: str) -> str:
    return f"{PREFIX}access-key/{access_key_id}"
