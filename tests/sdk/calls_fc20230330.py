"""Every call of `alibabacloud_fc20230330` (FC 3.0)."""

import io
import json

from alibabacloud_fc20230330 import models
from alibabacloud_fc20230330.client import Client
from common import CODE, CODE_BASE64, ENDPOINT, GATE, TeaCalls, answered, eventually, tea_client

client = tea_client(Client)
call = TeaCalls(client, models)
refused = call.refused


def names(functions):
    return [function.function_name for function in functions]


# -- functions and their code ------------------------------------------------------------------------------------------

[region] = call("describe_regions").regions.region
assert (region.region_id, region.local_name) == ("cn-local", "cn-local")
container = {
    "image": "registry.example/f:1", "entrypoint": ["/bin/server"], "command": ["--port", "9001"], "port": 9001,
    "healthCheckConfig": {"httpGetUrl": "/ping", "periodSeconds": 5},
}  # fmt: skip
hooks = {"initializer": {"handler": "not-used", "timeout": 30}, "preStop": {"handler": "not-used", "timeout": 5}}
body = {
    "functionName": "f", "runtime": "custom-container", "handler": "not-used", "description": "d", "cpu": 2,
    "memorySize": 4096, "diskSize": 10240, "timeout": 60, "instanceConcurrency": 2, "internetAccess": True,
    "gpuConfig": {"gpuType": "fc.gpu.tesla.1", "gpuMemorySize": 8192}, "customContainerConfig": container,
    "instanceLifecycleConfig": hooks, "environmentVariables": {"A": "b"}, "role": "acs:ram::1:role/r",
    "logConfig": {"project": "p", "logstore": "l"}, "tags": [{"Key": "team", "Value": "vision"}],
    "vpcConfig": {"vpcId": "vpc-1", "vSwitchIds": ["vsw-1"], "securityGroupId": "sg-1"}, "disableOndemand": True,
}  # fmt: skip
made = call("create_function", body=body)
arn = made.function_arn
assert arn.startswith("acs:fc:cn-local:")
assert arn.endswith(":functions/f")
assert (made.state, made.last_update_status, made.function_id != "") == ("Active", "Successful", True)
shown = call.whole("get_function", "f")
match = {"headers": {"if-match": shown.headers["etag"]}}
shown = shown.body
assert (shown.gpu_config.gpu_type, shown.gpu_config.gpu_memory_size) == ("fc.gpu.tesla.1", 8192)
assert (shown.cpu, shown.memory_size, shown.disk_size, shown.timeout) == (2, 4096, 10240, 60)
seen = shown.custom_container_config
assert (seen.entrypoint, seen.command, seen.port) == (["/bin/server"], ["--port", "9001"], 9001)
assert (seen.health_check_config.http_get_url, seen.health_check_config.period_seconds) == ("/ping", 5)
assert shown.instance_lifecycle_config.initializer.timeout == 30
assert shown.instance_lifecycle_config.pre_stop.timeout == 5
assert (shown.log_config.project, shown.environment_variables, shown.layers) == ("p", {"A": "b"}, [])
assert (shown.role, shown.vpc_config.vpc_id, shown.disable_ondemand) == ("acs:ram::1:role/r", "vpc-1", True)
assert (shown.internet_access, shown.instance_concurrency) == (True, 2)
refused(409, "FunctionAlreadyExists", "create_function", body={"functionName": "f", "runtime": "custom"})
assert refused(404, "FunctionNotFound", "get_function", "nobody") == "function 'nobody' does not exist"
refused(404, "FunctionNotFound", "update_function", "nobody", body={"timeout": 1})
assert "timeout is 0" in refused(400, "InvalidArgument", "update_function", "f", body={"timeout": 0})
refused(404, "VersionNotFound", "get_function", "f", qualifier="9")
updated = call("update_function", "f", body={"timeout": 90}, **match)
assert (updated.timeout, updated.description) == (90, "d")
refused(412, "PreconditionFailed", "update_function", "f", body={"timeout": 91}, **match)
refused(412, "PreconditionFailed", "delete_function", "f", **match)
python = {
    "runtime": "python3.11",
    "environmentVariables": {"GATE": str(GATE)},
    "code": {"zipFile": CODE_BASE64},
    "timeout": 90,
}
made = call("create_function", body={"functionName": "g", "handler": "app.handler", **python})
assert (made.code_size, made.code_checksum.isdecimal(), made.handler) == (len(CODE), True, "app.handler")
call("create_function", body={"functionName": "web", "handler": "app.app", **python})
code = call("get_function_code", "g")
assert (code.checksum, code.url.startswith(f"{ENDPOINT}/")) == (made.code_checksum, True)
assert names(call("list_functions", gpuType="fc.gpu.tesla.1").functions) == ["f"]
assert names(call("list_functions", prefix="g", limit=1, fcVersion="v3").functions) == ["g"]
tagged = [models.Tag(key="team", value="vision")]
listed = client.list_functions(models.ListFunctionsRequest(tags=tagged)).body
assert names(listed.functions) == ["f"]
for narrower in ({"description": "d"}, {"runtime": "custom-container"}, {"functionName": "f"}):
    assert names(call("list_functions", **narrower).functions) == ["f"], narrower
page = call("list_functions", limit=2)
assert names(page.functions) == ["f", "g"]
page = call("list_functions", limit=2, nextToken=page.next_token)
assert (names(page.functions), page.next_token) == (["web"], None)

# -- tags --------------------------------------------------------------------------------------------------------------

call("tag_resources", body={"ResourceId": [arn], "ResourceType": "function", "Tag": [{"Key": "tier", "Value": "gpu"}]})
found = call("list_tag_resources", ResourceId=[arn], ResourceType="function").tag_resources
assert {(tag.tag_key, tag.tag_value) for tag in found} == {("team", "vision"), ("tier", "gpu")}
assert {tag.resource_id for tag in found} == {arn}
call("untag_resources", ResourceId=[arn], ResourceType="function", TagKey=["tier"])
found = call("list_tag_resources", ResourceId=[arn], ResourceType="function").tag_resources
assert [(tag.tag_key, tag.tag_value) for tag in found] == [("team", "vision")]
call("untag_resources", ResourceId=[arn], ResourceType="function", All=True)
assert call("list_tag_resources", ResourceId=[arn], ResourceType="function").tag_resources == []

# -- invocations, instances, and closing to requests -------------------------------------------------------------------


def invoke(body, function="g", headers=None, **values):
    """This SDK's payload is a stream, which its model does not take from a map."""
    asked = models.InvokeFunctionRequest(body=io.BytesIO(body), **values)
    if headers is None:
        return client.invoke_function(function, asked)
    said = models.InvokeFunctionHeaders().from_map(headers)
    return client.invoke_function_with_options(function, asked, said, RuntimeOptions())


from darabonba.runtime import RuntimeOptions  # noqa: E402

ran = invoke(b"hello")
answered("invoke_function")
assert (ran.body.read(), ran.status_code, ran.headers["x-fc-invocation-service-version"]) == (b"olleh", 200, "LATEST")
failed = invoke(b"raise")
assert (failed.status_code, failed.headers["x-fc-error-type"]) == (200, "UnhandledInvocationError")
said = json.loads(failed.body.read())
assert (said["errorType"], said["errorMessage"], bool(said["stackTrace"])) == ("ValueError", "as asked for", True)
[instance] = call("list_instances", "g").instances
assert (instance.instance_id, instance.version_id) == (ran.headers["x-fc-instance-id"], "0")
assert (instance.status, instance.qualifier, instance.destroyed_time_ms) == ("Running", "LATEST", 0)
assert instance.created_time_ms > 0
assert call("list_instances", "g", instanceIds=["i-none"], limit=5).instances == []
assert call("disable_function_invocation", "g", reason="maintenance").success
assert call("get_function", "g").invocation_restriction.reason == "maintenance"


def is_closed():
    try:
        invoke(b"x").body.read()
    except Exception as error:
        return (error.status_code, error.code) == (403, "AccessDenied")
    return False


eventually(is_closed, "it is closed to requests")
assert call("enable_function_invocation", "g").success
assert call("get_function", "g").invocation_restriction is None
eventually(lambda: not is_closed(), "it is open again")

# -- asynchronous invocations ------------------------------------------------------------------------------------------

config = {
    "maxAsyncRetryAttempts": 0, "maxAsyncEventAgeInSeconds": 60, "asyncTask": True,
    "destinationConfig": {"onSuccess": {"destination": "acs:fc:::functions/web"}},
}  # fmt: skip
put = call("put_async_invoke_config", "g", body=config)
assert (put.max_async_retry_attempts, put.max_async_event_age_in_seconds, put.async_task) == (0, 60, True)
assert put.destination_config.on_success.destination == "acs:fc:::functions/web"
garn = arn.removesuffix("f") + "g"
assert put.function_arn == f"{garn}/LATEST"
assert call("get_async_invoke_config", "g").to_map() == put.to_map()
assert [c.to_map() for c in call("list_async_invoke_configs", functionName="g").configs] == [put.to_map()]


def send(task, body):
    return invoke(body, headers={"x-fc-invocation-type": "Async", "x-fc-async-task-id": task})


def standing(task, status):
    seen = call("get_async_task", "g", task)
    return seen.status == status and seen


queued = send("order-1", b"hello")
assert (queued.status_code, queued.headers["x-fc-async-task-id"]) == (202, "order-1")
done = eventually(lambda: standing("order-1", "Succeeded"), "the task succeeds")
assert (done.task_id, done.function_arn, done.qualifier) == ("order-1", f"{garn}/LATEST", "LATEST")
assert (done.task_payload, done.return_payload, done.already_retried_times) == ("hello", "olleh", 0)
assert done.request_id == queued.headers["x-fc-request-id"]
assert done.end_time >= done.started_time
assert (done.duration_ms >= 0, done.events[0].status, done.instance_id != "") == (True, "Enqueued", True)
send("order-2", b"raise")
assert "as asked for" in eventually(lambda: standing("order-2", "Failed"), "the task fails").task_error_message
send("order-3", b"wait")
eventually(lambda: standing("order-3", "Running"), "the task runs")
listed = call("list_async_tasks", "g", prefix="order-", sortOrderByTime="asc").tasks
assert [task.task_id for task in listed] == ["order-1", "order-2", "order-3"]
listed = call("list_async_tasks", "g", status="Succeeded", includePayload=True, limit=5).tasks
assert [(task.task_id, task.return_payload) for task in listed] == [("order-1", "olleh")]
span = {"startedTimeBegin": done.started_time, "startedTimeEnd": done.started_time + 1}
assert [task.task_id for task in call("list_async_tasks", "g", **span).tasks] == ["order-1"]
page = call("list_async_tasks", "g", limit=2)
assert [task.task_id for task in page.tasks] == ["order-3", "order-2"]
page = call("list_async_tasks", "g", limit=2, nextToken=page.next_token)
assert ([task.task_id for task in page.tasks], page.next_token) == (["order-1"], None)
call("stop_async_task", "g", "order-3")
GATE.touch()
eventually(lambda: standing("order-3", "Stopped"), "the task is stopped")
refused(412, "PreconditionFailed", "stop_async_task", "g", "order-1")
refused(404, "AsyncTaskNotFound", "get_async_task", "g", "nobody")
call("delete_async_invoke_config", "g")
refused(404, "AsyncConfigNotExists", "get_async_invoke_config", "g")

# -- triggers and custom domains ---------------------------------------------------------------------------------------

trigger = {"triggerName": "t", "triggerType": "http", "description": "d"}
trigger["triggerConfig"] = json.dumps({"authType": "anonymous", "methods": ["GET"]})
made = call("create_trigger", "web", body=trigger)
assert made.http_trigger.url_internet.startswith(f"{ENDPOINT}/")
assert (made.target_arn, json.loads(made.trigger_config)["methods"]) == (arn.removesuffix("f") + "web", ["GET"])
assert (made.trigger_name, made.trigger_type, made.qualifier, made.description) == ("t", "http", "LATEST", "d")
assert made.trigger_id
refused(409, "TriggerAlreadyExists", "create_trigger", "web", body=trigger)
assert call("get_trigger", "web", "t").to_map() == made.to_map()
assert call("update_trigger", "web", "t", body={"description": "e"}).description == "e"
assert [t.trigger_name for t in call("list_triggers", "web").triggers] == ["t"]
refused(404, "TriggerNotFound", "get_trigger", "web", "nobody")

domain = {"domainName": "www.example.com", "protocol": "HTTP"}
domain["routeConfig"] = {"routes": [{"path": "/*", "functionName": "web", "qualifier": "LATEST"}]}
made = call("create_custom_domain", body=domain)
assert (made.domain_name, made.protocol) == ("www.example.com", "HTTP")
assert made.route_config.routes[0].function_name == "web"
refused(409, "DomainNameAlreadyExists", "create_custom_domain", body=domain)
assert call("get_custom_domain", "www.example.com").to_map() == made.to_map()
routes = {"routes": [{"path": "/a/*", "functionName": "web", "methods": ["GET"]}]}
[route] = call("update_custom_domain", "www.example.com", body={"routeConfig": routes}).route_config.routes
assert (route.path, route.methods) == ("/a/*", ["GET"])
assert [d.domain_name for d in call("list_custom_domains").custom_domains] == ["www.example.com"]
call("delete_custom_domain", "www.example.com")
refused(404, "DomainNameNotFound", "get_custom_domain", "www.example.com")
refused(412, "FunctionNotEmpty", "delete_function", "web")
call("delete_trigger", "web", "t")

# -- versions and aliases ----------------------------------------------------------------------------------------------

first = call("publish_function_version", "g", body={"description": "first"})
assert (first.version_id, first.description) == ("1", "first")
assert call("publish_function_version", "g", body={}).version_id == "2"
listed = call("list_function_versions", "g")
assert ([v.version_id for v in listed.versions], listed.direction) == (["2", "1"], "BACKWARD")
assert [v.version_id for v in call("list_function_versions", "g", direction="FORWARD").versions] == ["1", "2"]
alias = {"aliasName": "prod", "versionId": "1", "description": "d", "additionalVersionWeight": {"2": 0.05}}
made = call("create_alias", "g", body=alias)
assert (made.alias_name, made.version_id, made.additional_version_weight) == ("prod", "1", {"2": 0.05})
refused(409, "AliasAlreadyExists", "create_alias", "g", body=alias)
assert call("get_alias", "g", "prod").to_map() == made.to_map()
updated = call("update_alias", "g", "prod", body={"versionId": "2", "additionalVersionWeight": {}})
assert (updated.version_id, updated.description) == ("2", "d")
assert [a.alias_name for a in call("list_aliases", "g").aliases] == ["prod"]
refused(404, "AliasNotFound", "get_alias", "g", "nobody")
refused(412, "VersionInUse", "delete_function_version", "g", "2")
assert invoke(b"hello", qualifier="prod").headers["x-fc-invocation-service-version"] == "2"

# -- provision and scaling configs -------------------------------------------------------------------------------------

by = {"qualifier": "prod"}
none = call("get_provision_config", "g", **by)
assert (none.function_arn, none.current, none.target, none.default_target) == ("", 0, 0, 0)
put = call("put_provision_config", "g", body={"defaultTarget": 1, "alwaysAllocateGPU": False}, **by)
assert (put.default_target, put.target, put.function_arn) == (1, 1, f"{garn}/prod")
assert (put.always_allocate_cpu, put.always_allocate_gpu, put.current_error) == (True, False, "")


def settled(target):
    seen = call("get_provision_config", "g", **by)
    return (seen.target, seen.current, seen.current_error) == (target, target, "") and seen


shown = eventually(lambda: settled(1), "one instance is there")
assert [c.to_map() for c in call("list_provision_configs", functionName="g").provision_configs] == [shown.to_map()]
call("put_provision_config", "f", body={"defaultTarget": 1})
failed = eventually(lambda: (seen := call("get_provision_config", "f")).current_error and seen, "it cannot be started")
assert (failed.target, failed.current, "container" in failed.current_error) == (1, 0, True)
call("delete_provision_config", "f")
policy = {
    "name": "p", "metricType": "ProvisionedConcurrencyUtilization", "metricTarget": 0.6, "minCapacity": 3,
    "maxCapacity": 5, "startTime": "2020-01-01T00:00:00", "endTime": "2099-01-01T00:00:00", "timeZone": "Asia/Shanghai",
}  # fmt: skip
action = {"name": "a", "target": 9, "scheduleExpression": "cron(0 0 0 1 1 *)", "timeZone": "Asia/Shanghai"}
action |= {"startTime": "2098-01-01T00:00:00", "endTime": "2099-01-01T00:00:00"}
lists = {"targetTrackingPolicies": [policy], "scheduledActions": [action]}
put = call("put_provision_config", "g", body={"defaultTarget": 1, **lists}, **by)
assert put.target_tracking_policies[0].to_map() == policy, put.target_tracking_policies[0].to_map()
assert put.scheduled_actions[0].to_map() == action, put.scheduled_actions[0].to_map()
assert eventually(lambda: settled(3), "target is the policy's word").default_target == 1
match = {"headers": {"if-match": call.whole("get_provision_config", "g", **by).headers["etag"]}}
call("put_provision_config", "g", body={"target": 2}, **by, **match)
refused(412, "PreconditionFailed", "put_provision_config", "g", body={"target": 3}, **by, **match)
assert eventually(lambda: settled(2), "a target alone is the static one").default_target == 2
scaling = {
    "minInstances": 1,
    "horizontalScalingPolicies": [
        {"name": "p", "metricType": "GPUSmUtilization", "metricTarget": 0.6, "minInstances": 1, "maxInstances": 5}
    ],
}
refused(412, "ProvisionConfigExist", "put_scaling_config", "g", body=scaling, **by)
call("delete_provision_config", "g", **by)
eventually(lambda: settled(0), "nothing is provisioned any more")
assert call("get_provision_config", "g", **by).function_arn == ""
assert call("put_scaling_config", "g", body=scaling, **by).function_arn == f"{garn}/prod"
shown = eventually(
    lambda: (seen := call("get_scaling_config", "g", **by)).current_instances == 1 and seen, "one instance is there"
)
assert (shown.min_instances, shown.target_instances, shown.current_error) == (1, 1, "")
assert (shown.horizontal_scaling_policies[0].max_instances, shown.function_arn) == (5, f"{garn}/prod")
[listed] = call("list_scaling_configs", FunctionName="g").scaling_configs
assert (listed.function_arn, listed.min_instances) == (f"{garn}/prod", 1)
refused(412, "ResidentScalingConfigExists", "put_provision_config", "g", body={"defaultTarget": 2}, **by)
call("delete_scaling_config", "g", **by)
assert call("get_scaling_config", "g", **by).function_arn == ""

# -- concurrency, bindings, and what there is none of ------------------------------------------------------------------

assert call("put_concurrency_config", "g", body={"reservedConcurrency": 10}).reserved_concurrency == 10
shown = call("get_concurrency_config", "g")
assert (shown.function_arn, shown.reserved_concurrency) == (garn, 10)
assert [c.to_map() for c in call("list_concurrency_configs").configs] == [shown.to_map()]
call("delete_concurrency_config", "g")
assert call("get_concurrency_config", "g").reserved_concurrency is None
call("create_vpc_binding", "g", body={"vpcId": "vpc-1"})
assert call("list_vpc_bindings", "g").vpc_ids == ["vpc-1"]
call("delete_vpc_binding", "g", "vpc-1")
assert call("list_vpc_bindings", "g").vpc_ids == []
assert call("list_layers").layers == []
assert call("list_layer_versions", "l").layers == []
refused(404, "LayerNotFound", "get_layer_version", "l", "1")
assert call("list_sessions", "g").sessions == []
assert call("list_snapshots").snapshots == []
nowhere, otherwise = (404, "PathNotSupported"), (405, "PathNotSupported")
refused(*nowhere, "get_layer_version_by_arn", "arn")
refused(*otherwise, "create_layer_version", "l", body={})
refused(*otherwise, "delete_layer_version", "l", "1")
refused(*nowhere, "put_layer_acl", "l", public="true")
refused(*otherwise, "create_session", "g", body={})
refused(*nowhere, "get_session", "g", "s")
refused(*nowhere, "update_session", "g", "s", body={})
refused(*nowhere, "pause_session", "g", "s")
refused(*nowhere, "resume_session", "g", "s")
refused(*nowhere, "delete_session", "g", "s")
refused(*nowhere, "create_snapshot", "g", body={})
refused(*nowhere, "get_snapshot", "g", "s")
refused(*nowhere, "delete_snapshot", "g", "s")
refused(*nowhere, "change_resource_group", body={})

# -- and all of it away again ------------------------------------------------------------------------------------------

call("delete_alias", "g", "prod")
call("delete_function_version", "g", "1")
for name in ("f", "g", "web"):
    call("delete_function", name)
refused(404, "FunctionNotFound", "get_function", "g")
assert call("list_functions").functions == []
