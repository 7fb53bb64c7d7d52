"""Every seam of the control plane on one page. `main.py` alone names the classes that fill them.

The shared tests in `tests/conformance` repeat these promises line by line for every implementation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from control_plane.explain import Explained
from control_plane.fleet_views import InstanceView, NodeView, PoolView, ProvisionStatus
from control_plane.listing import InvocationQuery, Page, Query
from control_plane.metering.recorded import RecordedRow
from control_plane.model import Alias, CustomDomain, Function, QualifiedFunction, Service, Setting, Trigger, Version
from provision.config import ProvisionConfig
from provision.decide import Reading
from runtime.access.records import AccessKey, KeyRecord
from runtime.access.roles import Role
from runtime.async_invocation.store import Stored
from runtime.node_contract import CodeEnvironment, InstanceSample, InstanceStatus, LaunchSpec, NodeInfo
from runtime.shell import ShellOrder, Stream


class Clock(Protocol):
    """Time, handed in. Only loops hold one; a tick reads it once and passes the number down."""

    def utc_s(self) -> float:
        """Seconds since the epoch. Never smaller than the last answer, even if the wall clock steps back."""

    def monotonic_s(self) -> float:
        """Seconds from an origin that means nothing: subtract."""

    async def sleep(self, seconds: float) -> None: ...


class Backend(Protocol):
    """Where instances run. Every method may raise Unavailable while the backend cannot be reached.

    Instances are the backend's to keep: they outlive whoever asked for them and, where the backend is a process of its
    own, that process as well, which finds them again under the same ids. An instance's `address` is where its server
    listens, from READY on. Its state goes one way, by `TRANSITIONS`, and `reason` says why it FAILED; while it is
    LAUNCHING, `reason` may say what it waits for.
    """

    async def info(self) -> NodeInfo:
        """What it can hold, which runtimes it launches, and what shuts instances in."""

    async def prepare(self, runtime: str) -> None:
        """Get ready to launch instances of this runtime fast. May be called any number of times."""

    async def launch(self, spec: LaunchSpec) -> None:
        """Accept an instance for launching; its fate comes by `watch`. A second call with the same id does nothing.

        Raises:
            LaunchRefused: it can never run here as it is; the message says why.
        """

    async def stop(self, instance_id: str, grace_s: float) -> None:
        """Begin to stop: pre-stop hook, SIGTERM, then SIGKILL after `grace_s`. Unknown or ended ids do nothing."""

    async def forget(self, instance_id: str) -> None:
        """Drop what is kept of an ended instance; its log stays readable. Unknown ids do nothing."""

    async def list(self) -> Sequence[InstanceStatus]:
        """All instances it has not been told to forget, the ended ones too."""

    def watch(self) -> AsyncIterator[InstanceStatus]:
        """First the state of every known instance, then each change, until the connection breaks (Unavailable)."""

    async def samples(self) -> Sequence[InstanceSample]:
        """The newest reading of each running instance."""

    def logs(self, instance_id: str, *, tail_bytes: int, follow: bool) -> AsyncIterator[bytes]:
        """The end of an instance's output; with `follow`, then what it adds, until it ends or the caller stops."""


class CodeEnvironments(Protocol):
    """What functions' requirements.txt become where instances run. Every method may raise Unavailable."""

    async def look(self, code_sha256: str, *, build: bool, wait_s: float) -> CodeEnvironment:
        """The environment that this code needs, as it is now, or has become within `wait_s`.

        `build` begins to make it, unless that is under way; one that failed is tried again.
        """

    async def sweep(self, code_in_use: Collection[str]) -> Sequence[str]:
        """Remove what neither this code nor an instance needs, nor was asked for lately; gives the ids."""


class CodeStore(Protocol):
    """Function code by content hash, unpacked into a folder that instances may read."""

    async def put(self, zip_bytes: bytes) -> str:
        """Unpack durably (fsync before return) and give the SHA-256 in hex. The same bytes again do nothing.

        Raises:
            InvalidArgument: not a zip file, a path that leaves the folder, or over the size limit.
            Unavailable: it cannot be kept, as the disk is full.
        """

    async def get(self, sha256: str) -> bytes:
        """The zip as it was put. Raises NotFound."""


RegistryListener = Callable[[frozenset[str]], Awaitable[None] | None]  # the services that something has changed in


class Registry(Protocol):
    """What users asked for. A method that changes something returns only after the change is durable, and has written
    the matching routes and feed entries in the same transaction. Missing things raise NotFound with FC's message,
    and every method raises Unavailable while the store does not answer.

    An update replaces the whole record but for its id and its creation time. With `based_on`, the record that the
    caller has read, an update or a delete raises ConcurrentUpdate when the stored one is another by now.
    """

    async def create_service(self, service: Service) -> Service: ...
    async def get_service(self, name: str, qualifier: str = "LATEST") -> Service: ...
    async def get_services(self, names: Collection[str]) -> dict[str, Service]:
        """Those of these services that exist, by name: one question to the store, however many."""

    async def update_service(self, service: Service, *, based_on: Service | None = None) -> Service: ...
    async def delete_service(self, name: str, *, based_on: Service | None = None) -> None: ...
    async def list_services(self, query: Query) -> Page[Service]: ...

    async def create_function(self, function: Function) -> Function: ...
    async def get_function(self, service: str, name: str, qualifier: str = "LATEST") -> Function: ...
    async def update_function(self, function: Function, *, based_on: Function | None = None) -> Function: ...
    async def delete_function(self, service: str, name: str, *, based_on: Function | None = None) -> None: ...
    async def create_function_with_service(
        self, function: Function, change: Callable[[Service | None], Service]
    ) -> Function:
        """A function, and its service as `change` makes it of the one that is there, or of none: both or neither.

        `change` may be called more than once; what it raises passes through.
        """

    async def update_function_with_service(
        self, function: Function, change: Callable[[Service | None], Service], *, based_on: Function | None = None
    ) -> Function:
        """As `create_function_with_service`, of a function that exists; `based_on` is about the function."""

    async def delete_function_with_service(self, service: str, name: str, *, based_on: Function | None = None) -> None:
        """A function, and its service with all versions and aliases unless other functions are in it: all at once."""

    async def restrict_function(self, service: str, name: str, restriction: dict[str, Any] | None) -> Function:
        """Close a function with all its versions to requests, or open it (None)."""

    async def list_every_function(self, query: Query) -> Page[Function]:
        """The functions of all services, by the names that FC 3.0 has for them."""

    async def list_functions(self, service: str, query: Query, qualifier: str = "LATEST") -> Page[Function]: ...

    async def publish_version(
        self, service: str, description: str | None, *, based_on: Service | None = None
    ) -> Version: ...
    async def delete_version(self, service: str, version_id: str) -> None: ...
    async def list_versions(self, service: str, query: Query, *, backward: bool = True) -> Page[Version]: ...

    async def create_alias(self, service: str, alias: Alias) -> Alias: ...
    async def get_alias(self, service: str, name: str) -> Alias: ...
    async def update_alias(self, service: str, alias: Alias, *, based_on: Alias | None = None) -> Alias: ...
    async def delete_alias(self, service: str, name: str, *, based_on: Alias | None = None) -> None: ...
    async def list_aliases(self, service: str, query: Query) -> Page[Alias]: ...

    async def create_trigger(self, service: str, function: str, trigger: Trigger) -> Trigger: ...
    async def get_trigger(self, service: str, function: str, name: str) -> Trigger: ...
    async def update_trigger(
        self, service: str, function: str, trigger: Trigger, *, based_on: Trigger | None = None
    ) -> Trigger: ...
    async def delete_trigger(
        self, service: str, function: str, name: str, *, based_on: Trigger | None = None
    ) -> None: ...
    async def list_triggers(self, service: str, function: str, query: Query) -> Page[Trigger]: ...

    async def put_provision(
        self, target: QualifiedFunction, config: ProvisionConfig, *, based_on: ProvisionConfig | None = None
    ) -> None:
        """Raises InvalidArgument for a qualifier that is a bare version: only LATEST and aliases are provisioned; and
        ConcurrentUpdate if `based_on` is not the one there, where none counts as `ProvisionConfig()`."""

    async def get_provision(self, target: QualifiedFunction) -> ProvisionConfig | None: ...
    async def list_provision(
        self, query: Query, service: str = "", qualifier: str = ""
    ) -> Page[tuple[QualifiedFunction, ProvisionConfig]]: ...

    async def delete_provision(self, target: QualifiedFunction) -> None:
        """Also when it was asked for as a scaling config. One that is not there does nothing."""

    async def put_scaling(self, target: QualifiedFunction, given: dict[str, Any], config: ProvisionConfig) -> None:
        """A provision config that was spelled as a scaling config. Either refuses while the other is there (412)."""

    async def put_setting(self, kind: Setting, target: QualifiedFunction, values: dict[str, Any]) -> dict[str, Any]:
        """Replaces it. Gives it back with `createdTime` and `lastModifiedTime`."""

    async def get_setting(self, kind: Setting, target: QualifiedFunction) -> dict[str, Any] | None: ...
    async def delete_setting(self, kind: Setting, target: QualifiedFunction) -> None:
        """One that is not there does nothing."""

    async def list_settings(
        self, kind: Setting, query: Query, service: str = ""
    ) -> Page[tuple[QualifiedFunction, dict[str, Any]]]: ...

    async def on_demand_max(self, service: str, version: str, function: str) -> int | None:
        """The least that the on-demand configs of LATEST or of aliases allow this version; None without any."""

    async def create_domain(self, domain: CustomDomain) -> CustomDomain: ...
    async def get_domain(self, name: str) -> CustomDomain: ...
    async def update_domain(self, domain: CustomDomain, *, based_on: CustomDomain | None = None) -> CustomDomain: ...
    async def delete_domain(self, name: str, *, based_on: CustomDomain | None = None) -> None: ...
    async def list_domains(self, query: Query) -> Page[CustomDomain]: ...

    async def resolve_version(self, service: str, qualifier: str) -> str:
        """LATEST, a version or an alias → "LATEST" or the version id (an alias's main one)."""

    def subscribe(self, listener: RegistryListener) -> None:
        """Call `listener` after each change made through this object."""


class AsyncInvocations(Protocol):
    """The asynchronous invocations that gateways have accepted. Every method raises Unavailable while the store does
    not answer."""

    async def get(self, service: str, function: str, invocation_id: str) -> Stored:
        """Raises NotFound (StatefulAsyncInvocationNotFound)."""

    async def list(self, service: str, function: str, query: InvocationQuery) -> Page[Stored]: ...

    async def stop(self, service: str, function: str, invocation_id: str) -> None:
        """One that waits is stopped on return; one that runs is when its attempt ends. Again does nothing.

        Raises:
            NotFound: StatefulAsyncInvocationNotFound.
            PreconditionFailed: it has ended otherwise.
        """


class Readings(Protocol):
    """What policies track that neither gateways nor instances tell of."""

    def of(self, config: ProvisionConfig) -> tuple[Reading, ...]:
        """The newest reading of each query of a config's policies, without waiting; an error is in it, never raised.

        A query that is asked for keeps being read; the first time there is nothing yet.
        """


class Fleet(Protocol):
    """What the API may ask of the running side."""

    def provision_status(self, target: QualifiedFunction, config: ProvisionConfig | None) -> ProvisionStatus: ...

    async def explained(self, target: QualifiedFunction) -> Sequence[Explained]:
        """The newest decision of a provision config, then those before it that changed something, newest first.

        Nothing while there was no decision. At most EXPLAINED_MAX; those from before a restart too.
        """

    def instances(self, service: str, function: str, version: str | None = None) -> Sequence[InstanceView]: ...
    def all_instances(self) -> Sequence[InstanceView]: ...

    def node(self) -> NodeInfo | None:
        """The machine and its devices, as last read; None while it has not been reached yet."""

    def nodes(self) -> Sequence[NodeView]:
        """What can hold instances, as last read; nothing while it has not been reached yet."""

    def pools(self) -> Sequence[PoolView]:
        """The pools of nodes, in the operator's order; nothing where there are none."""

    def logs(self, instance_id: str, *, tail_bytes: int, follow: bool) -> AsyncIterator[bytes]: ...


class Shell(Protocol):
    """A process beside an instance. It ends at the latest when this is closed."""

    async def send(self, stream: Stream, data: bytes = b"") -> None:
        """To the process; returns when there is room for more. Raises OSError when it has ended."""

    async def receive(self) -> tuple[Stream, bytes] | None:
        """What it says next: STDOUT, STDERR, at last EXIT or ERROR. None when there is nothing more."""

    async def close(self) -> None: ...


class Shells(Protocol):
    """What can start processes beside instances."""

    async def open(self, order: ShellOrder) -> Shell:
        """Raises NotFound (no such instance runs), InvalidArgument (the command), RequestError (too many are there),
        Unavailable."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a function version lived through, to be simulated."""

    since_s: float  # UTC; what is older than is kept is left out
    until_s: float
    rows: list[RecordedRow]
    launch_s: float | None  # median, from launch until ready; None: nothing was launched


class Accounts(Protocol):
    """What was used. Every method raises Unavailable while the store does not answer."""

    async def usage(self, by: str, since_s: float, until_s: float, wanted: tuple[str, str, str]) -> dict[str, Any]:
        """By "hour" or "day", of all that [since, until) touches, up to this moment. `wanted`: service, version,
        function; "" is any."""

    async def recorded(self, key: tuple[str, str, str], since_s: float, until_s: float) -> Recorded: ...


@dataclass(frozen=True, slots=True)
class NewAccessKey:
    """What an access key is to be. No services: it may touch all of them."""

    role: Role
    services: tuple[str, ...] = ()
    description: str = ""
    with_token: bool = False  # a security token that its requests must bear


class AccessKeys(Protocol):
    """Access keys. A method that changes something returns only after the change is durable and told to gateways; every
    method raises Unavailable while the store does not answer."""

    async def find(self, access_key_id: str) -> AccessKey | None:
        """With its secret, to check a signature with. The local key is found without asking the store."""

    async def create(self, new: NewAccessKey) -> tuple[KeyRecord, str, str]:
        """The record, the secret and the token ("" without). They are not told again."""

    async def list(self, query: Query) -> Page[KeyRecord]: ...

    async def set_enabled(self, access_key_id: str, *, enabled: bool) -> KeyRecord:
        """Raises NotFound, and InvalidArgument for the local key. One that is so already stays so."""

    async def remove(self, access_key_id: str) -> None:
        """Raises NotFound, and InvalidArgument for the local key."""
