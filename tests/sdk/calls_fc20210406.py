"""The calls of `alibabacloud_fc_open20210406` (FC 2.0, 2021-04-06). Arguments: endpoint, folder for code."""

import base64
import io
import json
import sys
import zipfile

from alibabacloud_fc_open20210406 import models
from alibabacloud_fc_open20210406.client import Client
from alibabacloud_tea_openapi.models import Config

client = Client(
    Config(
        access_key_id="id",
        access_key_secret="secret",
        endpoint=sys.argv[1].removeprefix("http://"),
        protocol="http",
        region_id="cn-local",
    )
)


def call(name, *path, **values):
    """`values` as the request's model has them on the wire; what comes back is the reply's model."""
    model = getattr(models, "".join(word.capitalize() for word in name.split("_")) + "Request", None)
    request = [] if model is None else [model().from_map(values)]
    answer = getattr(client, name)(*path, *request)
    print(name)
    return getattr(answer, "body", None)


def refused(code, name, *path, **values):
    try:
        call(name, *path, **values)
    except Exception as error:
        assert getattr(error, "code", None) == code, (error, code)
        print(name, code)
        return
    raise AssertionError(f"{name} went through")


packed = io.BytesIO()
with zipfile.ZipFile(packed, "w") as archive:
    archive.writestr("app.py", "def handler(event, context): return event\n")
code = {"zipFile": base64.b64encode(packed.getvalue()).decode()}

assert call("get_account_settings").available_azs
assert call("create_service", serviceName="s", description="d").service_name == "s"
refused("ServiceAlreadyExists", "create_service", serviceName="s")
assert call("get_service", "s").description == "d"
assert call("update_service", "s", description="e").description == "e"
assert [s.service_name for s in call("list_services", limit=5).services] == ["s"]
arn = "acs:fc:cn-local:1:services/s"
call("tag_resource", resourceArn=arn, tags={"team": "vision", "tier": "gpu"})
assert call("get_resource_tags", resourceArn=arn).tags == {"team": "vision", "tier": "gpu"}
assert [r.tags["team"] for r in call("list_tagged_resources").resources] == ["vision"]
call("untag_resource", resourceArn=arn, tagKeys=["team"])
call("untag_resource", resourceArn=arn, tagKeys=[], all=True)
assert not call("list_tagged_resources").resources
call("create_vpc_binding", "s", vpcId="vpc-1")
assert call("list_vpc_bindings", "s").vpc_ids == ["vpc-1"]
call("delete_vpc_binding", "s", "vpc-1")
assert call("list_vpc_bindings", "s").vpc_ids == []
assert call("list_layers").layers == []
assert call("list_layer_versions", "l").layers == []
assert call("list_reserved_capacities").reserved_capacities == []

made = call(
    "create_function",
    "s",
    functionName="f",
    runtime="custom-container",
    handler="not-used",
    instanceType="g1",
    gpuMemorySize=4096,
    instanceConcurrency=2,
    caPort=9001,
    customContainerConfig={"image": "registry.example/f:1", "command": '["/a"]'},
    customHealthCheckConfig={"httpGetUrl": "/ping"},
    instanceLifecycleConfig={"preStop": {"handler": "not-used", "timeout": 3}},
)
assert (made.gpu_memory_size, made.ca_port, made.custom_container_config.command) == (4096, 9001, '["/a"]')
assert made.custom_health_check_config.http_get_url == "/ping"
assert made.instance_lifecycle_config.pre_stop.timeout == 3
call("create_function", "s", functionName="g", runtime="python3.10", handler="app.handler", code=code)
assert call("get_function", "s", "f").function_name == "f"
assert call("update_function", "s", "f", InstanceConcurrency=4).instance_concurrency == 4
assert call("get_function_code", "s", "g").url.startswith("http")
assert [f.function_name for f in call("list_functions", "s").functions] == ["f", "g"]
refused("FunctionNotFound", "get_function", "s", "nobody")
assert call("invoke_function", "s", "f", body=b"hello") == b"hello"

config = json.dumps({"authType": "anonymous", "methods": ["GET"]})
trigger = call("create_trigger", "s", "f", triggerName="t", triggerType="http", triggerConfig=config)
assert json.loads(trigger.trigger_config)["methods"] == ["GET"]
assert trigger.url_internet.startswith("http")
assert call("get_trigger", "s", "f", "t").trigger_name == "t"
config = json.dumps({"authType": "anonymous", "methods": ["POST"]})
assert json.loads(call("update_trigger", "s", "f", "t", triggerConfig=config).trigger_config)["methods"] == ["POST"]
assert [t.trigger_name for t in call("list_triggers", "s", "f").triggers] == ["t"]

routes = {"routes": [{"path": "/*", "serviceName": "s", "functionName": "f", "qualifier": "LATEST"}]}
made = call("create_custom_domain", domainName="www.example.com", protocol="HTTP", routeConfig=routes)
assert made.domain_name == "www.example.com"
assert call("get_custom_domain", "www.example.com").route_config.routes[0].function_name == "f"
assert call("update_custom_domain", "www.example.com", protocol="HTTP,HTTPS").protocol == "HTTP,HTTPS"
assert len(call("list_custom_domains").custom_domains) == 1
call("delete_custom_domain", "www.example.com")
call("delete_trigger", "s", "f", "t")

assert call("publish_service_version", "s", description="first").version_id == "1"
assert [v.version_id for v in call("list_service_versions", "s").versions] == ["1"]
assert call("create_alias", "s", aliasName="prod", versionId="1").version_id == "1"
assert call("get_alias", "s", "prod").alias_name == "prod"
assert call("update_alias", "s", "prod", description="d").description == "d"
assert [a.alias_name for a in call("list_aliases", "s").aliases] == ["prod"]

by = {"qualifier": "prod"}
made = call("put_function_on_demand_config", "s", "f", maximumInstanceCount=3, **by)
assert (made.resource, made.maximum_instance_count) == ("services/s.prod/functions/f", 3)
assert call("get_function_on_demand_config", "s", "f", **by).maximum_instance_count == 3
assert len(call("list_on_demand_configs", prefix="services/s").configs) == 1
call("delete_function_on_demand_config", "s", "f", **by)

policies = [
    {
        "name": "p",
        "metricType": "ProvisionedConcurrencyUtilization",
        "metricTarget": 0.6,
        "minCapacity": 1,
        "maxCapacity": 5,
        "startTime": "2026-01-01T00:00:00Z",
        "endTime": "2036-01-01T00:00:00Z",
    }
]
made = call("put_provision_config", "s", "f", target=2, targetTrackingPolicies=policies, **by)
assert (made.target, made.target_tracking_policies[0].metric_target) == (2, 0.6)
assert call("get_provision_config", "s", "f", **by).current == 2
assert len(call("list_provision_configs", serviceName="s", **by).provision_configs) == 1

config = {
    "maxAsyncRetryAttempts": 2,
    "destinationConfig": {"onFailure": {"destination": "acs:fc:::services/s/functions/g"}},
}
made = call("put_function_async_invoke_config", "s", "f", statefulInvocation=True, **config, **by)
assert (made.max_async_retry_attempts, made.service, made.qualifier) == (2, "s", "prod")
assert call("get_function_async_invoke_config", "s", "f", **by).stateful_invocation
assert len(call("list_function_async_invoke_configs", "s", "f").configs) == 1
call("delete_function_async_invoke_config", "s", "f", **by)
refused("AsyncConfigNotExists", "get_function_async_invoke_config", "s", "f", **by)
assert call("list_instances", "s", "f").instances == []

call("delete_alias", "s", "prod")
call("delete_service_version", "s", "1")
call("delete_function", "s", "f")
call("delete_function", "s", "g")
call("delete_service", "s")
refused("ServiceNotFound", "get_service", "s")
