"""The registry as the autoscaler knows it: read anew after each change, and told apart from what was known before."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from control_plane.errors import NotFound
from control_plane.explain import History
from control_plane.fleet.usage import VersionKey
from control_plane.model import Function, QualifiedFunction, Service
from control_plane.ports import Query, Registry
from provision.config import ProvisionConfig
from provision.decide import Decision, Memory

PAGE = 100


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

    def revision(self, key: VersionKey, function: Function) -> str:
        """The revision of a function version, reckoned once: it is a digest of all its fields."""
        known = self.revisions.get(key)
        if known is None:
            known = self.revisions[key] = function.revision
        return known


@dataclass(slots=True)
class Reading:
    """What stands in the registry now."""

    configs: dict[QualifiedFunction, tuple[ProvisionConfig, VersionKey]] = field(default_factory=dict)
    functions: dict[VersionKey, tuple[Function, Service] | None] = field(default_factory=dict)
    on_demand_max: dict[VersionKey, int | None] = field(default_factory=dict)


async def read(registry: Registry, also: set[VersionKey]) -> Reading:
    """All provision configs with their function versions, and the function versions in `also`. Raises Unavailable."""
    found = Reading()
    token = ""
    while True:
        page = await registry.list_provision(Query(limit=PAGE, next_token=token))
        for name, config in page.items:
            try:
                version = await registry.resolve_version(name.service_name, name.qualifier)
            except NotFound:
                continue
            found.configs[name] = config, (name.service_name, version, name.function_name)
        if not (token := page.next_token):
            break
    for key in {*(key for _, key in found.configs.values()), *also}:
        found.functions[key], found.on_demand_max[key] = await read_function(registry, key)
    return found


async def read_function(registry: Registry, key: VersionKey) -> tuple[tuple[Function, Service] | None, int | None]:
    """One function version with its service, and the most on-demand instances it may have; None, None if it is gone."""
    service, version, name = key
    try:
        function = await registry.get_function(service, name, version)
        owner = await registry.get_service(service, version)
    except NotFound:
        return None, None
    return (function, owner), await registry.on_demand_max(service, version, name)


def changed(before: World, found: Reading) -> set[VersionKey]:
    """The function versions of which something is not as it was: a config, its version, the function or its service."""
    keys = set()
    for name in before.provisioned.keys() | found.configs.keys():
        known, now = before.provisioned.get(name), found.configs.get(name)
        if known is None or now is None or (known.config, known.key) != now:
            keys.update(([known.key] if known else []) + ([now[1]] if now else []))
    for key in before.functions.keys() | found.functions.keys():
        known_as = before.functions.get(key), before.on_demand_max.get(key)
        if known_as != (found.functions.get(key), found.on_demand_max.get(key)):
            keys.add(key)
    return keys


def renewed(before: World, found: Reading, saved: dict[str, str]) -> World:
    """The world as found; a config that was there before goes on with what it remembers, else with what was saved."""
    world = World(functions=found.functions, on_demand_max=found.on_demand_max)
    by_version: defaultdict[VersionKey, list[QualifiedFunction]] = defaultdict(list)
    for name, (config, key) in found.configs.items():
        known = before.provisioned.get(name)
        if known is not None:
            known.config, known.key = config, key
        else:
            text = saved.get(str(name))
            known = Provisioned(config, key, Memory.from_json(text) if text else Memory())
        world.provisioned[name] = known
        by_version[key].append(name)
    world.by_version = dict(by_version)
    world.sampled = frozenset(
        known.key
        for known in world.provisioned.values()
        if any(policy.metric_type.is_sampled for policy in known.config.target_tracking_policies)
    )
    return world
