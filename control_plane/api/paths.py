"""The paths of the API: which operation answers what, under which of FC's API versions."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import (
    aliases,
    async_invocations,
    async_tasks,
    bindings,
    chatter,
    domains,
    explain,
    fc3,
    functions,
    functions3,
    instances,
    keys,
    nodes,
    provision,
    provision3,
    services,
    settings,
    shells,
    stoke,
    tags,
    tags_v2,
    triggers,
    uploads,
    usage,
    versions,
    wire,
)
from control_plane.api.auth import UPLOADS
from control_plane.api.context import Operation
from control_plane.model import Setting
from runtime.contract import API_VERSION_3, API_VERSIONS

Table = tuple[tuple[str, str, Operation], ...]

DOMAINS: Table = (
    ("/custom-domains", "POST", domains.create),
    ("/custom-domains", "GET", domains.list_all),
    ("/custom-domains/{domain}", "GET", domains.get),
    ("/custom-domains/{domain}", "PUT", domains.update),
    ("/custom-domains/{domain}", "DELETE", domains.delete),
)
NOTHING_THERE: Table = (
    ("/layers", "GET", chatter.no_layers),
    ("/layers/{layer}/versions", "GET", chatter.no_layers),
    ("/layers/{layer}/versions/{version}", "GET", chatter.no_layer),
)

SERVICE = "/services/{service}"
FUNCTION = f"{SERVICE}/functions/{{function}}"
EXEC = "instances/{instance}/exec"

# Path, method, operation. 2016-08-15 and 2021-04-06 have the same tree under their own prefix.
FC_ROUTES: Table = (
    ("/services", "POST", services.create),
    ("/services", "GET", services.list_all),
    (SERVICE, "GET", services.get),
    (SERVICE, "PUT", services.update),
    (SERVICE, "DELETE", services.delete),
    (f"{SERVICE}/functions", "POST", functions.create),
    (f"{SERVICE}/functions", "GET", functions.list_all),
    (FUNCTION, "GET", functions.get),
    (FUNCTION, "PUT", functions.update),
    (FUNCTION, "DELETE", functions.delete),
    (f"{FUNCTION}/code", "GET", functions.get_code),
    (f"{SERVICE}/versions", "POST", versions.publish),
    (f"{SERVICE}/versions", "GET", versions.list_all),
    (f"{SERVICE}/versions/{{version}}", "DELETE", versions.delete),
    (f"{SERVICE}/aliases", "POST", aliases.create),
    (f"{SERVICE}/aliases", "GET", aliases.list_all),
    (f"{SERVICE}/aliases/{{alias}}", "GET", aliases.get),
    (f"{SERVICE}/aliases/{{alias}}", "PUT", aliases.update),
    (f"{SERVICE}/aliases/{{alias}}", "DELETE", aliases.delete),
    (f"{FUNCTION}/triggers", "POST", triggers.create),
    (f"{FUNCTION}/triggers", "GET", triggers.list_all),
    (f"{FUNCTION}/triggers/{{trigger}}", "GET", triggers.get),
    (f"{FUNCTION}/triggers/{{trigger}}", "PUT", triggers.update),
    (f"{FUNCTION}/triggers/{{trigger}}", "DELETE", triggers.delete),
    (f"{FUNCTION}/provision-config", "PUT", provision.put),
    (f"{FUNCTION}/provision-config", "GET", provision.get),
    ("/provision-configs", "GET", provision.list_all),
    (f"{FUNCTION}/instances", "GET", instances.list_all),
    (f"{FUNCTION}/{EXEC}", "GET", shells.not_upgraded),
    ("/account-settings", "GET", chatter.account_settings),
    ("/tempBucketToken", "GET", uploads.token),
    (f"{SERVICE}/bindings", "POST", bindings.create),
    (f"{SERVICE}/bindings", "GET", bindings.list_all),
    (f"{SERVICE}/bindings/{{vpc}}", "DELETE", bindings.delete),
    (f"{FUNCTION}/async-invoke-config", "PUT", settings.operation(Setting.ASYNC_INVOKE, "put")),
    (f"{FUNCTION}/async-invoke-config", "GET", settings.operation(Setting.ASYNC_INVOKE, "get")),
    (f"{FUNCTION}/async-invoke-config", "DELETE", settings.operation(Setting.ASYNC_INVOKE, "delete")),
    (f"{FUNCTION}/async-invoke-configs", "GET", settings.listing(Setting.ASYNC_INVOKE)),
    ("/stateful-async-invocation-functions", "GET", settings.list_stateful),
    (f"{FUNCTION}/stateful-async-invocations", "GET", async_invocations.list_all),
    (f"{FUNCTION}/stateful-async-invocations/{{invocation}}", "GET", async_invocations.get),
    (f"{FUNCTION}/stateful-async-invocations/{{invocation}}", "PUT", async_invocations.stop),
    (f"{FUNCTION}/on-demand-config", "PUT", settings.operation(Setting.ON_DEMAND, "put")),
    (f"{FUNCTION}/on-demand-config", "GET", settings.operation(Setting.ON_DEMAND, "get")),
    (f"{FUNCTION}/on-demand-config", "DELETE", settings.operation(Setting.ON_DEMAND, "delete")),
    ("/on-demand-configs", "GET", settings.list_on_demand),
    ("/tags", "POST", tags.tag),
    ("/tags", "DELETE", tags.untag),
    ("/tags", "PUT", tags.untag),
    ("/tags", "GET", tags.get),
    ("/tag", "POST", tags.tag),
    ("/tag", "DELETE", tags.untag),
    ("/tag", "PUT", tags.untag),
    ("/tag", "GET", tags.get),
    *DOMAINS,
    *NOTHING_THERE,
    ("/reservedCapacities", "GET", chatter.no_reserved_capacities),
    ("/reserved-capacities", "GET", chatter.no_reserved_capacities),
)

NAMED = "/functions/{name}"


def _settings(path: str, kind: Setting) -> Table:
    actions: tuple[tuple[str, settings.Action], ...] = (("PUT", "put"), ("GET", "get"), ("DELETE", "delete"))
    return tuple((f"{NAMED}/{path}", method, settings.operation(kind, action)) for method, action in actions)


# 2023-03-30: what has a function's name in its path.
OF_FUNCTION: Table = (
    (NAMED, "GET", functions3.get),
    (NAMED, "PUT", functions3.update),
    (NAMED, "DELETE", functions3.delete),
    (f"{NAMED}/code", "GET", functions.get_code),
    (f"{NAMED}/versions", "POST", versions.publish),
    (f"{NAMED}/versions", "GET", versions.list_all),
    (f"{NAMED}/versions/{{version}}", "DELETE", versions.delete),
    (f"{NAMED}/aliases", "POST", aliases.create),
    (f"{NAMED}/aliases", "GET", aliases.list_all),
    (f"{NAMED}/aliases/{{alias}}", "GET", aliases.get),
    (f"{NAMED}/aliases/{{alias}}", "PUT", aliases.update),
    (f"{NAMED}/aliases/{{alias}}", "DELETE", aliases.delete),
    (f"{NAMED}/triggers", "POST", triggers.create),
    (f"{NAMED}/triggers", "GET", triggers.list_all),
    (f"{NAMED}/triggers/{{trigger}}", "GET", triggers.get),
    (f"{NAMED}/triggers/{{trigger}}", "PUT", triggers.update),
    (f"{NAMED}/triggers/{{trigger}}", "DELETE", triggers.delete),
    (f"{NAMED}/provision-config", "PUT", provision3.put),
    (f"{NAMED}/provision-config", "GET", provision3.get),
    (f"{NAMED}/provision-config", "DELETE", provision3.delete),
    (f"{NAMED}/scaling-config", "PUT", provision3.put_scaling),
    (f"{NAMED}/scaling-config", "GET", provision3.get_scaling),
    (f"{NAMED}/scaling-config", "DELETE", provision3.delete),
    *_settings("concurrency", Setting.CONCURRENCY),
    *_settings("async-invoke-config", Setting.ASYNC_INVOKE),
    (f"{NAMED}/async-tasks", "GET", async_tasks.list_all),
    (f"{NAMED}/async-tasks/{{task}}", "GET", async_tasks.get),
    (f"{NAMED}/async-tasks/{{task}}/stop", "PUT", async_tasks.stop),
    (f"{NAMED}/instances", "GET", instances.list_all),
    (f"{NAMED}/{EXEC}", "GET", shells.not_upgraded),
    (f"{NAMED}/invoke/disable", "POST", functions3.disable),
    (f"{NAMED}/invoke/enable", "POST", functions3.enable),
    (f"{NAMED}/vpc-bindings", "POST", bindings.create),
    (f"{NAMED}/vpc-bindings", "GET", bindings.list_all),
    (f"{NAMED}/vpc-bindings/{{vpc}}", "DELETE", bindings.delete),
    (f"{NAMED}/sessions", "GET", chatter.no_sessions),
)

FC3_ROUTES: Table = (
    ("/functions", "POST", functions3.create),
    ("/functions", "GET", functions3.list_all),
    *((path, method, fc3.of_function(operation)) for path, method, operation in OF_FUNCTION),
    ("/provision-configs", "GET", provision3.list_all),
    ("/scaling-configs", "GET", provision3.list_scaling),
    ("/concurrency-configs", "GET", settings.listing(Setting.CONCURRENCY)),
    ("/async-invoke-configs", "GET", settings.listing(Setting.ASYNC_INVOKE)),
    ("/tags-v2", "POST", tags_v2.tag),
    ("/tags-v2", "DELETE", tags_v2.untag),
    ("/tags-v2", "GET", tags_v2.list_all),
    ("/regions", "GET", chatter.regions),
    ("/snapshots", "GET", chatter.no_snapshots),
    *DOMAINS,
    *NOTHING_THERE,
)


async def openapi_document(request: Request) -> Response:
    """This API as an OpenAPI 3.1 document."""
    del request
    return wire.reply(_document())


@cache
def _document() -> dict[str, Any]:
    from control_plane.api import openapi  # when it is first asked for: making schemas takes a while

    return openapi.build(TREES, version("stoke"))


STOKE_PREFIX = "/stoke/v1"
STOKE_ROUTES: Table = (
    ("/status", "GET", stoke.status),
    ("/nodes", "GET", nodes.nodes),
    ("/instances", "GET", stoke.instances),
    ("/instances/{instance}/logs", "GET", stoke.logs),
    ("/provision", "GET", stoke.provision),
    ("/provision/explain", "GET", explain.explain),
    ("/usage", "GET", usage.usage),
    ("/usage/recorded", "GET", usage.recorded),
    ("/code/{sha256}", "GET", stoke.code),
    ("/environments", "POST", stoke.prepare_environment),
    ("/environments/{sha256}", "GET", stoke.environment),
    ("/metrics", "GET", stoke.metrics),
    ("/openapi.json", "GET", openapi_document),
    ("/keys", "POST", keys.create),
    ("/keys", "GET", keys.list_all),
    ("/keys/{key}/enable", "POST", keys.enable),
    ("/keys/{key}/disable", "POST", keys.disable),
    ("/keys/{key}", "DELETE", keys.remove),
)

# Where a WebSocket may be asked for.
EXEC_PATHS: tuple[tuple[str, str], ...] = (
    *((f"/{version}", f"{FUNCTION}/{EXEC}") for version in API_VERSIONS),
    (f"/{API_VERSION_3}", f"{NAMED}/{EXEC}"),
)

# Where a client that was given a token puts code: below the account, as object storage has it.
UPLOAD_ROUTES: Table = ((f"/{{account}}/{UPLOADS}/{{upload}}", "PUT", uploads.put),)

TREES: tuple[tuple[str, Table], ...] = (
    *((f"/{version}", FC_ROUTES) for version in API_VERSIONS),
    (f"/{API_VERSION_3}", FC3_ROUTES),
    (STOKE_PREFIX, STOKE_ROUTES),
    ("", UPLOAD_ROUTES),
)
