"""The registry as the autoscaler knows it: read anew after each change, and told apart from what was known before."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from control_plane import nas
from control_plane.errors import NotFound
from control_plane.explain import History
from control_plane.listing import all_items
from control_plane.model import Function, QualifiedFunction, Service
from control_plane.ports import Registry
from provision.config import ProvisionConfig
from provision.decide import Decision, Memory
from runtime.contract import VersionKey

PAGE = 100

Services = frozenset[str] | None  # those that something has changed in; None = all there are


@dataclass(slots=True)
class Provisioned:
    """One provision config at work."""

    config: ProvisionConfig
    key: VersionKey
    memory: Memory
    decision: Decision | None = None
    history: History = field(default_factory=History)
    slots: float = 0.0  # of the instances that the last step saw


@dataclass(slots=True)
class World:
    """The registry as the loop last read it. `functions` is filled as function versions are looked at."""

    provisioned: dict[QualifiedFunction, Provisioned] = field(default_factory=dict)
    by_version: dict[VersionKey, list[QualifiedFunction]] = field(default_factory=dict)
    functions: dict[VersionKey, tuple[Function, Service] | None] = field(default_factory=dict)
    on_demand_max: dict[VersionKey, int | None] = field(default_factory=dict)  # filled with `functions`
    revisions: dict[VersionKey, str] = field(default_factory=dict)  # of `functions`, as asked for
    sampled: frozenset[VersionKey] = frozenset()  # those with a policy that follows what instances show

    def revision(self, key: VersionKey, function: Function, service: Service) -> str:
        """The revision of a function version, reckoned once: it is a digest of all its fields."""
        known = self.revisions.get(key)
        if known is None:
            known = self.revisions[key] = nas.revision(function, service)
        return known

    def idle_mode(self, key: VersionKey) -> bool:
        """Whether all of its provision configs say that instances need not keep a GPU while they are idle."""
        configs = [self.provisioned[name].config for name in self.by_version.get(key, ())]
        return bool(configs) and not any(config.always_allocate_gpu for config in configs)


@dataclass(slots=True)
class Reading:
    """What stands in the registry now."""

    configs: dict[QualifiedFunction, tuple[ProvisionConfig, VersionKey]] = field(default_factory=dict)
    functions: dict[VersionKey, tuple[Function, Service] | None] = field(default_factory=dict)
    on_demand_max: dict[VersionKey, int | None] = field(default_factory=dict)


async def read(registry: Registry, services: Services, also: set[VersionKey]) -> Reading:
    """Their provision configs with the function versions, and those of `also` that are theirs. Raises Unavailable."""
    found = Reading()
    for service in [""] if services is None else sorted(services):
        await _read_configs(registry, service, found)
    others = {key for key in also if _among(services, key[0])}
    for key in {*(key for _, key in found.configs.values()), *others}:
        found.functions[key], found.on_demand_max[key] = await read_function(registry, key)
    return found


async def _read_configs(registry: Registry, service: str, found: Reading) -> None:
    async for name, config in all_items(partial(registry.list_provision, service=service), PAGE):
        with suppress(NotFound):  # its alias went away meanwhile
            version = await registry.resolve_version(name.service_name, name.qualifier)
            found.configs[name] = config, (name.service_name, version, name.function_name)


def _among(services: Services, service: str) -> bool:
    return services is None or service in services


async def read_function(registry: Registry, key: VersionKey) -> tuple[tuple[Function, Service] | None, int | None]:
    """One function version with its service, and the most on-demand instances it may have; None, None if it is gone."""
    service, version, name = key
    try:
        function = await registry.get_function(service, name, version)
        owner = await registry.get_service(service, version)
    except NotFound:
        return None, None
    return (function, owner), await registry.on_demand_max(service, version, name)


def gone(before: World, found: Reading, services: Services) -> set[QualifiedFunction]:
    """The configs that are there no more."""
    return {n for n in before.provisioned if n not in found.configs and _among(services, n.service_name)}


def changed(before: World, found: Reading, services: Services) -> set[VersionKey]:
    """The function versions of which something is not as it was: a config, its version, the function or its service."""
    keys = set()
    for name in gone(before, found, services) | found.configs.keys():
        known, now = before.provisioned.get(name), found.configs.get(name)
        if known is None or now is None or (known.config, known.key) != now:
            keys.update(([known.key] if known else []) + ([now[1]] if now else []))
    for key in {key for key in before.functions if _among(services, key[0])} | found.functions.keys():
        known_as = before.functions.get(key), before.on_demand_max.get(key)
        if known_as != (found.functions.get(key), found.on_demand_max.get(key)):
            keys.add(key)
    return keys


def renewed(before: World, found: Reading, services: Services, saved: dict[str, str]) -> World:
    """The world with what was found of these services; the others are as they were.

    A config that was there before goes on with what it remembers, else with what was saved.
    """
    kept = [key for key in before.functions if not _among(services, key[0])]
    world = World(
        provisioned={n: one for n, one in before.provisioned.items() if not _among(services, n.service_name)},
        functions={key: before.functions[key] for key in kept} | found.functions,
        on_demand_max={key: before.on_demand_max.get(key) for key in kept} | found.on_demand_max,
    )
    for name, (config, key) in found.configs.items():
        known = before.provisioned.get(name)
        if known is not None:
            known.config, known.key = config, key
        else:
            text = saved.get(str(name))
            known = Provisioned(config, key, Memory.from_json(text) if text else Memory())
        world.provisioned[name] = known
    by_version: defaultdict[VersionKey, list[QualifiedFunction]] = defaultdict(list)
    for name, one in world.provisioned.items():
        by_version[one.key].append(name)
    world.by_version = dict(by_version)
    world.sampled = frozenset(
        known.key
        for known in world.provisioned.values()
        if any(policy.metric_type.is_sampled for policy in known.config.target_tracking_policies)
    )
    return world
