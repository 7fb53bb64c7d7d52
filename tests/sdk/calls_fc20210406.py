"""Every call of `alibabacloud_fc_open20210406` (FC 2.0, 2021-04-06)."""

import json

from alibabacloud_fc_open20210406 import models
from alibabacloud_fc_open20210406.client import Client
from common import CODE, CODE_BASE64, ENDPOINT, GATE, TeaCalls, answered, eventually, tea_client

client = tea_client(Client)
call = TeaCalls(client, models)
refused = call.refused

# -- the account, services, their tags and bindings --------------------------------------------------------------------

assert call("get_account_settings").available_azs == ["cn-local-a"]
logs = {"project": "p", "logstore": "l", "enableRequestMetrics": True, "enableInstanceMetrics": True}
vpc = {"vpcId": "vpc-1", "vSwitchIds": ["vsw-1"], "securityGroupId": "sg-1"}
nas = {"userId": 1, "groupId": 2, "mountPoints": [{"serverAddr": "nas:/a", "mountDir": "/mnt"}]}
oss = {"mountPoints": [{"bucketName": "b", "endpoint": "http://oss.example", "mountDir": "/oss", "readOnly": True}]}
made = call(
    "create_service", serviceName="s", description="d", internetAccess=False, role="acs:ram::1:role/r",
    logConfig=logs, vpcConfig=vpc, nasConfig=nas, ossMountConfig=oss, tracingConfig={"type": "Jaeger", "params": {}},
)  # fmt: skip
assert (made.service_name, made.description, made.internet_access) == ("s", "d", False)
assert (made.role, made.log_config.logstore, made.vpc_config.vpc_id) == ("acs:ram::1:role/r", "l", "vpc-1")
assert (made.nas_config.mount_points[0].mount_dir, made.tracing_config.type) == ("/mnt", "Jaeger")
assert made.oss_mount_config.mount_points[0].bucket_name == "b"
assert made.service_id
assert made.created_time == made.last_modified_time
refused(409, "ServiceAlreadyExists", "create_service", serviceName="s")
refused(400, "EntityTooLarge", "create_service", serviceName="large", description="x" * (1 << 21))
shown = call.whole("get_service", "s")
assert (shown.body.description, shown.body.log_config.enable_instance_metrics) == ("d", True)
match = {"headers": {"If-Match": shown.headers["etag"]}}
# Instances here are processes, for which nothing can be mounted.
no_nas = {"userId": -1, "groupId": -1, "mountPoints": []}
updated = call("update_service", "s", description="e", nasConfig=no_nas, **match)
assert (updated.description, updated.log_config.project, updated.service_id) == ("e", "p", made.service_id)
refused(412, "PreconditionFailed", "update_service", "s", description="f", **match)
refused(412, "PreconditionFailed", "delete_service", "s", **match)
refused(412, "PreconditionFailed", "publish_service_version", "s", **match)
call("create_service", serviceName="s-other")
page = call("list_services", limit=1, prefix="s")
assert [s.service_name for s in page.services] == ["s"]
page = call("list_services", limit=1, prefix="s", nextToken=page.next_token)
assert ([s.service_name for s in page.services], page.next_token) == (["s-other"], None)
assert [s.service_name for s in call("list_services", startKey="s-").services] == ["s-other"]
arn = "acs:fc:cn-local:1:services/s"
call("tag_resource", resourceArn=arn, tags={"team": "vision", "tier": "gpu"})
assert call("get_resource_tags", resourceArn=arn).tags == {"team": "vision", "tier": "gpu"}
[tagged] = call("list_tagged_resources").resources
assert (tagged.resource_arn.rpartition(":")[2], tagged.tags["team"]) == ("services/s", "vision")
call("untag_resource", resourceArn=arn, tagKeys=["team"])
assert call("get_resource_tags", resourceArn=arn).tags == {"tier": "gpu"}
call("untag_resource", resourceArn=arn, tagKeys=[], all=True)
assert call("list_tagged_resources").resources == []
call("create_vpc_binding", "s", vpcId="vpc-1")
assert call("list_vpc_bindings", "s").vpc_ids == ["vpc-1"]
call("delete_vpc_binding", "s", "vpc-1")
assert call("list_vpc_bindings", "s").vpc_ids == []
assert call("list_layers").layers == []
assert call("list_layer_versions", "l").layers == []
refused(404, "LayerNotFound", "get_layer_version", "l", "1")
assert call("list_reserved_capacities").reserved_capacities == []
refused(404, "ServiceNotFound", "get_service", "nobody")

# -- functions and their code ------------------------------------------------------------------------------------------

made = call(
    "create_function", "s", functionName="f", runtime="custom-container", handler="not-used", description="d",
    instanceType="g1", gpuMemorySize=4096, cpu=2, memorySize=8192, diskSize=10240, timeout=60, instanceConcurrency=2,
    caPort=9001, initializer="not-used", initializationTimeout=30, environmentVariables={"A": "b"},
    customContainerConfig={"image": "registry.example/f:1", "command": '["/a"]', "args": '["-v"]'},
    customHealthCheckConfig={"httpGetUrl": "/ping", "periodSeconds": 5},
    customDNS={"nameServers": ["1.1.1.1"]},
    instanceLifecycleConfig={"preStop": {"handler": "not-used", "timeout": 3}},
)  # fmt: skip
assert (made.function_name, made.runtime, made.instance_type) == ("f", "custom-container", "g1")
assert (made.gpu_memory_size, made.cpu, made.memory_size, made.disk_size) == (4096, 2, 8192, 10240)
assert (made.timeout, made.instance_concurrency, made.ca_port) == (60, 2, 9001)
assert (made.initializer, made.initialization_timeout) == ("not-used", 30)
container = made.custom_container_config
assert (container.image, container.command, container.args) == ("registry.example/f:1", '["/a"]', '["-v"]')
health = made.custom_health_check_config
assert (health.http_get_url, health.period_seconds) == ("/ping", 5)
assert made.instance_lifecycle_config.pre_stop.timeout == 3
assert (made.environment_variables, made.custom_dns.name_servers) == ({"A": "b"}, ["1.1.1.1"])
assert made.function_id
python = {"runtime": "python3.11", "environmentVariables": {"GATE": str(GATE)}, "code": {"zipFile": CODE_BASE64}}
made = call("create_function", "s", functionName="g", handler="app.handler", timeout=90, **python)
assert (made.code_size, made.code_checksum.isdecimal()) == (len(CODE), True)
call("create_function", "s", functionName="web", handler="app.app", **python)
refused(409, "FunctionAlreadyExists", "create_function", "s", functionName="g", handler="app.handler", **python)
shown = call.whole("get_function", "s", "f")
assert shown.body.function_name == "f"
match = {"headers": {"If-Match": shown.headers["etag"]}}
assert call("update_function", "s", "f", InstanceConcurrency=4, **match).instance_concurrency == 4
refused(412, "PreconditionFailed", "update_function", "s", "f", timeout=5, **match)
refused(412, "PreconditionFailed", "delete_function", "s", "f", **match)
refused(400, "InvalidArgument", "update_function", "s", "f", timeout=0)
code = call("get_function_code", "s", "g")
assert (code.checksum, code.url.startswith(f"{ENDPOINT}/")) == (made.code_checksum, True)
assert [f.function_name for f in call("list_functions", "s", limit=2).functions] == ["f", "g"]
assert [f.function_name for f in call("list_functions", "s", prefix="w").functions] == ["web"]
refused(404, "FunctionNotFound", "get_function", "s", "nobody")

# -- versions and aliases ----------------------------------------------------------------------------------------------

first = call("publish_service_version", "s", description="first")
assert (first.version_id, first.description) == ("1", "first")
assert call("publish_service_version", "s").version_id == "2"
assert call("get_service", "s", qualifier="1").service_name == "s"
versions = call("list_service_versions", "s")
assert ([v.version_id for v in versions.versions], versions.direction) == (["2", "1"], "BACKWARD")
assert [v.version_id for v in call("list_service_versions", "s", direction="FORWARD").versions] == ["1", "2"]
made = call("create_alias", "s", aliasName="prod", versionId="1", description="d", additionalVersionWeight={"2": 0.05})
assert (made.alias_name, made.version_id, made.additional_version_weight) == ("prod", "1", {"2": 0.05})
refused(409, "AliasAlreadyExists", "create_alias", "s", aliasName="prod", versionId="1")
shown = call.whole("get_alias", "s", "prod")
assert (shown.body.description, shown.body.created_time) == ("d", made.created_time)
match = {"headers": {"If-Match": shown.headers["etag"]}}
updated = call("update_alias", "s", "prod", versionId="2", additionalVersionWeight={}, **match)
assert (updated.version_id, updated.description) == ("2", "d")
refused(412, "PreconditionFailed", "update_alias", "s", "prod", versionId="1", **match)
refused(412, "PreconditionFailed", "delete_alias", "s", "prod", **match)
assert [a.alias_name for a in call("list_aliases", "s").aliases] == ["prod"]
refused(404, "AliasNotFound", "get_alias", "s", "nobody")
refused(404, "VersionNotFound", "get_function", "s", "f", qualifier="9")
refused(412, "VersionInUse", "delete_service_version", "s", "2")

# -- invocations -------------------------------------------------------------------------------------------------------

by = {"qualifier": "prod"}
ran = call.whole("invoke_function", "s", "g", body=b"hello", **by)
assert (ran.body, ran.status_code, ran.headers["x-fc-invocation-service-version"]) == (b"olleh", 200, "2")
assert ran.headers["x-fc-request-id"].startswith("1-")
failed = call.whole("invoke_function", "s", "g", body=b"raise", **by)
assert (failed.status_code, failed.headers["x-fc-error-type"]) == (200, "UnhandledInvocationError")
assert json.loads(failed.body)["errorType"] == "ValueError"
refused(404, "FunctionNotFound", "invoke_function", "s", "nobody", body=b"x")
refused(502, "BadGateway", "invoke_function", "s", "g", body=b"exit")
ran = call.whole("invoke_function", "s", "g", body=b"hello", **by)
[instance] = eventually(
    lambda: len(found := call("list_instances", "s", "g", **by).instances) == 1 and found, "the one that exited is gone"
)
assert (instance.instance_id, instance.version_id) == (ran.headers["x-fc-instance-id"], "2")
assert len(call("list_instances", "s", "g", instanceIds=[instance.instance_id, "i-none"], **by).instances) == 1
assert call("list_instances", "s", "g", instanceIds=["i-none"], limit=1, **by).instances == []

# -- asynchronous invocations ------------------------------------------------------------------------------------------

put = call(
    "put_function_async_invoke_config", "s", "g", statefulInvocation=True, maxAsyncRetryAttempts=0,
    maxAsyncEventAgeInSeconds=60, destinationConfig={"onFailure": {"destination": "acs:fc:::services/s/functions/web"}},
)  # fmt: skip
assert (put.max_async_retry_attempts, put.max_async_event_age_in_seconds, put.stateful_invocation) == (0, 60, True)
assert (put.service, put.function, put.qualifier) == ("s", "g", "LATEST")
assert put.destination_config.on_failure.destination.endswith("/web")
assert call("get_function_async_invoke_config", "s", "g").to_map() == put.to_map()
assert [c.qualifier for c in call("list_function_async_invoke_configs", "s", "g").configs] == ["LATEST"]
[found] = call("list_stateful_async_invocation_functions", limit=1).data
assert (found.service_name, found.function_name, found.qualifier) == ("s", "g", "LATEST")


def send(task, body):
    headers = {
        "X-Fc-Invocation-Type": "Async",
        "X-Fc-Stateful-Async-Invocation-Id": task,
        "X-Fc-Stateful-Async-Invocation-Enable": "true",
    }
    return call.whole("invoke_function", "s", "g", body=body, headers=headers)


def standing(task, status):
    seen = call("get_stateful_async_invocation", "s", "g", task)
    return seen.status == status and seen


queued = eventually(lambda: (a := send("order-1", b"hello")).status_code == 202 and a, "it is taken")
assert queued.headers["x-fc-async-task-id"] == "order-1"
done = eventually(lambda: standing("order-1", "Succeeded"), "the invocation succeeds")
assert (done.invocation_id, done.service_name, done.function_name) == ("order-1", "s", "g")
assert (done.invocation_payload, done.return_payload) == ("hello", "olleh")
assert (done.already_retried_times, done.qualifier, done.events[0].status) == (0, "LATEST", "Enqueued")
assert done.end_time >= done.started_time
assert done.request_id == queued.headers["x-fc-request-id"]
send("order-2", b"raise")
failed = eventually(lambda: standing("order-2", "Failed"), "the invocation fails")
assert "as asked for" in failed.invocation_error_message
send("order-3", b"wait")
eventually(lambda: standing("order-3", "Running"), "the invocation runs")
listed = call("list_stateful_async_invocations", "s", "g", invocationIdPrefix="order-", sortOrderByTime="asc")
assert [i.invocation_id for i in listed.invocations] == ["order-1", "order-2", "order-3"]
listed = call("list_stateful_async_invocations", "s", "g", status="Succeeded", includePayload=True, limit=5)
assert [(i.invocation_id, i.return_payload) for i in listed.invocations] == [("order-1", "olleh")]
span = {"startedTimeBegin": done.started_time, "startedTimeEnd": done.started_time + 1}
listed = call("list_stateful_async_invocations", "s", "g", **span).invocations
assert [i.invocation_id for i in listed] == ["order-1"]
page = call("list_stateful_async_invocations", "s", "g", limit=2)
assert [i.invocation_id for i in page.invocations] == ["order-3", "order-2"]
page = call("list_stateful_async_invocations", "s", "g", limit=2, nextToken=page.next_token)
assert ([i.invocation_id for i in page.invocations], page.next_token) == (["order-1"], None)
call("stop_stateful_async_invocation", "s", "g", "order-3")
GATE.touch()
eventually(lambda: standing("order-3", "Stopped"), "the invocation is stopped")
refused(412, "PreconditionFailed", "stop_stateful_async_invocation", "s", "g", "order-1")
refused(404, "StatefulAsyncInvocationNotFound", "get_stateful_async_invocation", "s", "g", "nobody")
call("delete_function_async_invoke_config", "s", "g")
refused(404, "AsyncConfigNotExists", "get_function_async_invoke_config", "s", "g")
assert call("list_stateful_async_invocation_functions").data == []

# -- triggers ----------------------------------------------------------------------------------------------------------

config = json.dumps({"authType": "anonymous", "methods": ["GET", "POST"]})
made = call("create_trigger", "s", "web", triggerName="t", triggerType="http", triggerConfig=config, description="d")
assert (made.trigger_name, made.trigger_type, made.qualifier, made.description) == ("t", "http", "LATEST", "d")
assert json.loads(made.trigger_config)["methods"] == ["GET", "POST"]
assert made.url_internet.startswith(f"{ENDPOINT}/")
assert made.domain_name
assert made.trigger_id
again = {"triggerName": "t", "triggerType": "http", "triggerConfig": config}
refused(409, "TriggerAlreadyExists", "create_trigger", "s", "web", **again)
shown = call.whole("get_trigger", "s", "web", "t")
assert (shown.body.url_internet, shown.body.trigger_id) == (made.url_internet, made.trigger_id)
assert [t.trigger_name for t in call("list_triggers", "s", "web").triggers] == ["t"]
refused(404, "TriggerNotFound", "get_trigger", "s", "web", "nobody")
url = f"{made.url_internet}/a%20b/?b=2&a=1"


def visited(name, *given):
    answer = getattr(client, name)(*given)
    return answer if answer.status_code == 200 else None


page = eventually(lambda: visited("invoke_anonymous_httptrigger", url, "GET", b"", {}), "the trigger answers")
answered("invoke_anonymous_httptrigger")
assert page.text.startswith("GET ")
assert page.text.endswith("/a b/ b=2&a=1")
match = {"headers": {"If-Match": shown.headers["etag"]}}
config = json.dumps({"authType": "function", "methods": ["GET", "POST"]})
updated = call("update_trigger", "s", "web", "t", triggerConfig=config, **match)
assert json.loads(updated.trigger_config)["authType"] == "function"
refused(412, "PreconditionFailed", "update_trigger", "s", "web", "t", triggerConfig=config, **match)
refused(412, "PreconditionFailed", "delete_trigger", "s", "web", "t", **match)
eventually(lambda: visited("invoke_anonymous_httptrigger", url, "GET", b"", {}) is None, "it asks for a signature")
assert client.invoke_anonymous_httptrigger(url, "GET", b"", {}).json()["Code"] == "AccessDenied"
assert visited("invoke_httptrigger", url, "POST", b"x", {"content-type": "text/plain"}).text.startswith("POST ")
answered("invoke_httptrigger")
asked = client.build_httprequest(url, "GET", b"", {})
assert visited("send_httprequest_with_authorization", asked).text.startswith("GET ")
answered("build_httprequest")
answered("send_httprequest_with_authorization")
assert visited("send_httprequest", client.sign_request(client.build_httprequest(url, "GET", b"", {})))
answered("sign_request")
answered("send_httprequest")
digest = "XUFAKrxLKna5cZ2REBfFkg=="  # of b"hello"
asked = client.sign_request_with_content_md5(client.build_httprequest(url, "POST", b"hello", {}), digest)
assert visited("send_httprequest", asked)
answered("sign_request_with_content_md5")
asked = client.sign_request_with_content_md5(client.build_httprequest(url, "POST", b"other", {}), digest)
assert client.send_httprequest(asked).json()["Code"] == "SignatureNotMatch"
refused(412, "FunctionNotEmpty", "delete_function", "s", "web")
refused(412, "ServiceNotEmpty", "delete_service", "s")

# -- custom domains ----------------------------------------------------------------------------------------------------

routes = {"routes": [{"path": "/*", "serviceName": "s", "functionName": "web", "qualifier": "LATEST"}]}
made = call("create_custom_domain", domainName="www.example.com", protocol="HTTP", routeConfig=routes)
assert (made.domain_name, made.protocol, made.api_version) == ("www.example.com", "HTTP", "2021-04-06")
assert call("get_custom_domain", "www.example.com").route_config.routes[0].function_name == "web"
assert call("update_custom_domain", "www.example.com", protocol="HTTP,HTTPS").protocol == "HTTP,HTTPS"
assert [d.domain_name for d in call("list_custom_domains").custom_domains] == ["www.example.com"]
call("delete_custom_domain", "www.example.com")
refused(404, "DomainNameNotFound", "get_custom_domain", "www.example.com")
call("delete_trigger", "s", "web", "t")

# -- on-demand and provision configs -----------------------------------------------------------------------------------

put = call("put_function_on_demand_config", "s", "g", maximumInstanceCount=3, **by)
assert (put.resource, put.maximum_instance_count) == ("services/s.prod/functions/g", 3)
assert call("get_function_on_demand_config", "s", "g", **by).maximum_instance_count == 3
assert [c.resource for c in call("list_on_demand_configs", prefix="services/s").configs] == [put.resource]
call("delete_function_on_demand_config", "s", "g", **by)
refused(404, "OnDemandConfigNotFound", "get_function_on_demand_config", "s", "g", **by)

policy = {
    "name": "p", "metricType": "ProvisionedConcurrencyUtilization", "metricTarget": 0.6, "minCapacity": 2,
    "maxCapacity": 3, "startTime": "2020-01-01T00:00:00Z", "endTime": "2099-01-01T00:00:00Z",
}  # fmt: skip
action = {
    "name": "a", "target": 3, "scheduleExpression": "at(2098-01-01T00:00:00)", "startTime": "2020-01-01T00:00:00Z",
    "endTime": "2099-01-01T00:00:00Z",
}  # fmt: skip
none = call("get_provision_config", "s", "g", **by)
assert (none.target, none.current, none.current_error) == (0, 0, "")
lists = {"targetTrackingPolicies": [policy], "scheduledActions": [action]}
put = call("put_provision_config", "s", "g", target=1, alwaysAllocateCPU=False, **lists, **by)
assert (put.resource.split("#")[1:], put.always_allocate_cpu) == (["s", "prod", "g"], False)
assert [p.to_map() for p in put.target_tracking_policies] == [policy]
assert [a.to_map() for a in put.scheduled_actions] == [action]


def settled(target):
    seen = call("get_provision_config", "s", "g", **by)
    return (seen.target, seen.current, seen.current_error) == (target, target, "") and seen


shown = eventually(lambda: settled(2), "the policy's least is wanted and there: more than the static target")
listed = call("list_provision_configs", serviceName="s", qualifier="prod").provision_configs
assert [c.to_map() for c in listed] == [shown.to_map()]
match = {"headers": {"If-Match": call.whole("get_provision_config", "s", "g", **by).headers["etag"]}}
call("put_provision_config", "s", "g", target=1, **by, **match)
refused(412, "PreconditionFailed", "put_provision_config", "s", "g", target=2, **by, **match)
eventually(lambda: settled(1), "without a policy the static target is wanted and there")
call("put_provision_config", "s", "g", target=0, **by)
eventually(lambda: settled(0), "nothing is provisioned any more")
refused(400, "InvalidArgument", "put_provision_config", "s", "g", target=-1, **by)
refused(400, "InvalidArgument", "put_provision_config", "s", "g", target=1, qualifier="1")
policy["metricTarget"] = 1.5
refused(400, "InvalidArgument", "put_provision_config", "s", "g", target=1, targetTrackingPolicies=[policy], **by)

# -- what there is none of ---------------------------------------------------------------------------------------------

nowhere = (404, "PathNotSupported")
refused(*nowhere, "claim_gpuinstance")
refused(*nowhere, "release_gpuinstance", "i")
refused(*nowhere, "register_event_source", "s", "g", sourceArn="a")
refused(*nowhere, "list_event_sources", "s", "g")
refused(*nowhere, "deregister_event_source", "s", "g", "a")
refused(405, "PathNotSupported", "create_layer_version", "l")
refused(405, "PathNotSupported", "delete_layer_version", "l", "1")
refused(*nowhere, "put_layer_acl", "l", public=True)

# -- and all of it away again ------------------------------------------------------------------------------------------

call("delete_alias", "s", "prod")
call("delete_service_version", "s", "1")
call("delete_service_version", "s", "2")
for name in ("f", "g", "web"):
    call("delete_function", "s", name)
call("delete_service", "s")
call("delete_service", "s-other")
assert call("list_services").services == []
