"""What exists, as the registry wrote it, ready to be looked up: functions, aliases, triggers, custom domains. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from sys import intern
from typing import Any, TypeVar

from runtime.access.jwt import JwtConfig, parse_config
from runtime.contract import (
    ASYNC_EVENT_AGE_S_MAX,
    CONTROL_PATH_HTTP,
    HEADER_CONTROL_PATH,
    HEADER_SERVICE_VERSION,
    LATEST,
    PATH_INVOKE,
    AliasRoute,
    AsyncRoute,
    DomainRoute,
    FunctionRoute,
    TriggerRoute,
    VersionKey,
)
from runtime.gateway.claim import PRIORITY
from runtime.gateway.domains import Domain
from runtime.gateway.refusal import Refusal, not_found
from runtime.gateway.resolve import DomainAsk, Names, TriggerAsk
from runtime.http.framing import header_block
from runtime.traffic.asked import Asked
from runtime.traffic.rules import Rules, parse_rules

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True, eq=False)
class Destination:
    """A function version as one qualifier reaches it, with the header lines that are the same for each request."""

    route: FunctionRoute
    key: VersionKey
    invoke_headers: bytes  # to the instance, with an invocation
    http_headers: bytes  # to the instance, with a trigger's request
    response_headers: bytes  # to the client


@dataclass(frozen=True, slots=True, eq=False)
class Entrance:
    """A trigger, ready for requests."""

    names: Names
    methods: frozenset[bytes]
    is_signed: bool  # authType function
    internet_disabled: bool
    jwt: JwtConfig | None = None  # authType jwt
    priority: int = PRIORITY
    session_by: str = ""  # "Header" | "Cookie"
    session_name: str = ""  # "" = no session affinity

    @property
    def is_open(self) -> bool:
        """Whether nothing about a request has to be checked."""
        return not self.is_signed and self.jwt is None


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    """Destinations by their share of the roll: the first whose bound is above it.

    Where there are rules, they say whether a request goes to one of the others; which of them, the roll among these.
    """

    main: Destination
    others: tuple[tuple[float, Destination], ...]
    rules: Rules | None = None

    @property
    def is_fixed(self) -> bool:
        """Whether requests with one head all go to one version."""
        return not self.others or (self.rules is not None and len(self.others) == 1)

    def destination(self, roll: float, asked: Asked | None) -> Destination:
        if self.rules is not None:
            if not self.others or asked is None or not self.rules.match(asked):
                return self.main
            roll *= self.others[-1][0]
        for bound, destination in self.others:
            if roll < bound:
                return destination
        return self.main if self.rules is None else self.others[-1][1]


class Routes:
    """The five tables. `put` and `remove` change them, the other methods look up."""

    def __init__(self) -> None:
        self._functions: dict[VersionKey, FunctionRoute] = {}
        self._aliases: dict[tuple[str, str], AliasRoute] = {}
        self._triggers: dict[tuple[str, str, str], TriggerRoute] = {}
        self._async: dict[Names, AsyncRoute] = {}
        # The same once more by what they are asked for: nothing that a request asks looks through a whole table.
        self._known: Counter[tuple[str, ...]] = Counter()  # functions and aliases of a service; functions of a version
        self._triggers_of: defaultdict[Names, dict[str, TriggerRoute]] = defaultdict(dict)  # by their names
        self._async_of: defaultdict[tuple[str, str], dict[str, AsyncRoute]] = defaultdict(dict)  # by their qualifiers
        self.subdomains: dict[bytes, TriggerRoute] = {}
        self.domains: dict[bytes, Domain] = {}
        self.generation = 0  # grows with each change: what was looked up before may be another now
        # What a lookup has found is kept; what does not exist is not, so a client's inventions take no memory.
        self._choices: dict[Names, _Choice] = {}
        self._entrances: dict[Names | bytes, Entrance] = {}

    # -- the feed's side -----------------------------------------------------------------------------------------------

    def put(self, field: str, value: dict[str, Any]) -> None:
        """One entry of the hash of routes.

        Raises:
            ValueError, TypeError: no kind of entry has this field, or something of the value is missing.
        """
        kind, *names = field.split("/")
        if kind == "function" and len(names) == 3:
            route = FunctionRoute.from_dict(_shared(value))
            header_block(route.headers.items())  # here rather than at the first request: say who wrote what cannot be
            service, version, function = names
            self._count((service,), (service, version), by=(service, version, function) not in self._functions)
            self._functions[service, version, function] = route
        elif kind == "alias" and len(names) == 2:
            alias = AliasRoute.from_dict(value)
            if alias.route_policy:
                parse_rules(alias.route_policy)
            self._count((names[0],), by=(names[0], names[1]) not in self._aliases)
            self._aliases[names[0], names[1]] = alias
        elif kind == "trigger" and len(names) == 3:
            trigger = TriggerRoute.from_dict(value)
            if trigger.auth_type == "jwt":
                parse_config(trigger.auth_config)
            self._put_trigger((names[0], names[1], names[2]), trigger)
        elif kind == "domain" and len(names) == 1:
            self.domains[names[0].encode()] = Domain(DomainRoute.from_dict(value))
        elif kind == "async" and len(names) == 3:
            of = Names(*names)
            self._async[of] = self._async_of[of.service, of.function][of.qualifier] = AsyncRoute.from_dict(value)
        else:
            raise ValueError(f"field {field!r}: function/…, alias/…, trigger/…, domain/… and async/… are allowed")
        self._changed()

    def remove(self, field: str) -> None:
        """An entry is gone. One that was not there does nothing."""
        kind, *names = field.split("/")
        key: Any = tuple(names)
        if kind == "function":
            if self._functions.pop(key, None) is not None:
                self._count(key[:1], key[:2], by=-1)
        elif kind == "alias":
            if self._aliases.pop(key, None) is not None:
                self._count(key[:1], by=-1)
        elif kind == "trigger":
            self._remove_trigger(key)
        elif kind == "domain":
            self.domains.pop(names[0].encode(), None)
        elif kind == "async" and len(names) == 3:
            of = Names(*names)
            self._async.pop(of, None)
            _take_out(self._async_of, (of.service, of.function), of.qualifier)
        self._changed()

    def clear(self) -> None:
        self._functions.clear()
        self._aliases.clear()
        self._triggers.clear()
        self._async.clear()
        self._known.clear()
        self._triggers_of.clear()
        self._async_of.clear()
        self.subdomains.clear()
        self.domains.clear()
        self._changed()

    # -- the request's side --------------------------------------------------------------------------------------------

    def function(self, key: VersionKey) -> FunctionRoute | None:
        return self._functions.get(key)

    def async_route(self, names: Names) -> AsyncRoute:
        """How asynchronous invocations by these names are treated: as configured, or by FC's defaults."""
        service, qualifier, function = names
        return self._async.get(names) or AsyncRoute(service, function, qualifier)

    def async_age_s_min(self, service: str, function: str) -> float:
        """The smallest age at which an event of this function may expire, over all qualifiers."""
        routes = self._async_of.get((service, function), {})
        return min([ASYNC_EVENT_AGE_S_MAX, *(route.event_age_s_max for route in routes.values())])

    def headers_of(self, names: Names, version: str) -> dict[str, str]:
        """What the instances of a function version are told with each request; nothing of one that is no more."""
        route = self._functions.get((names.service, version, names.function))
        return {} if route is None else route.headers

    def destination_of_version(self, names: Names, version: str) -> Destination:
        """A version as the qualifier reached it once, whatever the qualifier names today.

        Raises:
            Refusal: 404, naming what does not exist.
        """
        return self._find_destination(names, version)

    def entrance(self, ask: TriggerAsk) -> Entrance:
        """The trigger that a request came by.

        Raises:
            Refusal: 404, naming what does not exist.
        """
        key = ask.names or ask.subdomain
        entrance = self._entrances.get(key)
        if entrance is None:
            entrance = self._entrances[key] = self._find_entrance(ask)
        return entrance

    def by_domain(self, ask: DomainAsk, method: bytes) -> TriggerAsk:
        """The trigger that a custom domain's path leads to. The function is asked for the whole path.

        Raises:
            Refusal: 404, no path of the domain is this one; 405, the path is not for this method.
        """
        return TriggerAsk(self.domains[ask.domain].names(ask.target, method), b"", ask.target, b"")

    def destination(self, names: Names, roll: float, asked: Asked | None = None) -> Destination:
        """The version that a request goes to; `roll` in [0, 1) decides between the versions of an alias, or its rules
        do by what the request says.

        Raises:
            Refusal: 404, naming what does not exist.
        """
        choice = self._choices.get(names)
        if choice is None:
            choice = self._choices[names] = self._find_choice(names)
        if not choice.others:
            return choice.main
        return choice.destination(roll, asked)

    def has(self, names: Names) -> bool:
        """Whether requests by these names go anywhere."""
        alias = self._aliases.get((names.service, names.qualifier))
        version = names.qualifier if alias is None else alias.version
        return (names.service, version, names.function) in self._functions

    def has_rules(self, names: Names) -> bool:
        """Whether what a head says decides where requests by these names go."""
        choice = self._choices.get(names)
        return choice is not None and choice.rules is not None

    def is_fixed(self, names: Names) -> bool:
        """Whether requests by these names that have one head all go to one version, until something changes."""
        choice = self._choices.get(names)
        return choice is not None and choice.is_fixed

    # -- inside --------------------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        self.generation += 1
        self._choices = {}
        self._entrances = {}

    def _count(self, *keys: tuple[str, ...], by: int) -> None:
        for key in keys:
            self._known[key] += by
            if not self._known[key]:
                del self._known[key]

    def _put_trigger(self, key: tuple[str, str, str], trigger: TriggerRoute) -> None:
        self._remove_trigger(key)
        self._triggers[key] = trigger
        self._triggers_of[_names_of(trigger)][trigger.name] = trigger
        if trigger.subdomain:
            self.subdomains[trigger.subdomain.lower().encode()] = trigger

    def _remove_trigger(self, key: tuple[str, str, str]) -> None:
        trigger = self._triggers.pop(key, None)
        if trigger is not None:
            _take_out(self._triggers_of, _names_of(trigger), trigger.name)
            label = trigger.subdomain.lower().encode()
            if self.subdomains.get(label) is trigger:
                del self.subdomains[label]

    def _find_entrance(self, ask: TriggerAsk) -> Entrance:
        if ask.names is None:
            return _entrance(self.subdomains[ask.subdomain])
        service, qualifier, function = ask.names
        for trigger in self._triggers_of.get(ask.names, {}).values():
            return _entrance(trigger)
        self._find_choice(ask.names)  # something before the trigger may be what is missing
        message = f"no http trigger of function '{function}' in service '{service}' has the qualifier '{qualifier}'"
        raise not_found("Trigger", message)

    def _find_choice(self, names: Names) -> _Choice:
        alias = self._aliases.get((names.service, names.qualifier))
        if alias is None:
            return _Choice(self._find_destination(names, names.qualifier), ())
        others: list[tuple[float, Destination]] = []
        bound = 0.0
        for version, share in sorted(alias.additional_version_weight.items()):
            bound += share
            others.append((bound, self._find_destination(names, version)))
        rules = parse_rules(alias.route_policy) if alias.route_policy else None
        return _Choice(self._find_destination(names, alias.version), tuple(others), rules)

    def _find_destination(self, names: Names, version: str) -> Destination:
        key = (names.service, version, names.function)
        route = self._functions.get(key)
        if route is None:
            raise self._missing(names, version)
        common = [*route.headers.items(), ("x-fc-qualifier", names.qualifier)]
        return Destination(
            route=route,
            key=key,
            invoke_headers=header_block([*common, (HEADER_CONTROL_PATH, PATH_INVOKE)]),
            http_headers=header_block([*common, (HEADER_CONTROL_PATH, CONTROL_PATH_HTTP)]),
            response_headers=header_block([(HEADER_SERVICE_VERSION, version)]),
        )

    def _missing(self, names: Names, version: str) -> Refusal:
        """The outermost thing that does not exist. A service without functions leaves no trace here."""
        service, qualifier, function = names
        if (service,) not in self._known:
            return not_found("Service", f"service '{service}' does not exist")
        if version != LATEST and (service, version) not in self._known:
            if qualifier.isdecimal():
                return not_found("Version", f"version '{version}' does not exist in service '{service}'")
            if (service, qualifier) not in self._aliases:
                return not_found("Alias", f"alias '{qualifier}' does not exist in service '{service}'")
        return not_found("Function", f"function '{function}' does not exist in service '{service}'")


def _shared(value: dict[str, Any]) -> dict[str, Any]:
    """With one object for each header that many functions have alike: ten thousand of them take half the memory."""
    headers = value.get("headers")
    return value if not headers else value | {"headers": {intern(name): intern(text) for name, text in headers.items()}}


def _take_out(table: dict[K, dict[str, V]], key: K, name: str) -> None:
    group = table.get(key)
    if group is not None:
        group.pop(name, None)
        if not group:
            del table[key]


def _names_of(trigger: TriggerRoute) -> Names:
    return Names(trigger.service, trigger.qualifier or LATEST, trigger.function)


def _entrance(trigger: TriggerRoute) -> Entrance:
    return Entrance(
        names=_names_of(trigger),
        methods=frozenset(method.upper().encode() for method in trigger.methods),
        is_signed=trigger.auth_type not in ("anonymous", "jwt"),
        internet_disabled=trigger.internet_disabled,
        jwt=parse_config(trigger.auth_config) if trigger.auth_type == "jwt" else None,
        priority=trigger.priority,
        session_by=trigger.session_by,
        session_name=trigger.session_name,
    )
