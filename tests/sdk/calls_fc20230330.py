"""The calls of `alibabacloud_fc20230330` (FC 3.0). Arguments: endpoint, folder for code."""

import base64
import io
import json
import sys
import zipfile

from alibabacloud_fc20230330 import models
from alibabacloud_fc20230330.client import Client
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

made = call(
    "create_function",
    body={
        "functionName": "f",
        "runtime": "custom-container",
        "handler": "not-used",
        "description": "d",
        "cpu": 2,
        "memorySize": 4096,
        "timeout": 60,
        "instanceConcurrency": 2,
        "internetAccess": True,
        "gpuConfig": {"gpuType": "fc.gpu.tesla.1", "gpuMemorySize": 8192},
        "customContainerConfig": {
            "image": "registry.example/f:1",
            "entrypoint": ["/bin/server"],
            "command": ["--port", "9001"],
            "port": 9001,
            "healthCheckConfig": {"httpGetUrl": "/ping", "periodSeconds": 5},
        },
        "instanceLifecycleConfig": {
            "initializer": {"handler": "not-used", "timeout": 30},
            "preStop": {"handler": "not-used", "timeout": 5},
        },
        "environmentVariables": {"A": "b"},
        "logConfig": {"project": "p", "logstore": "l"},
        "tags": [{"Key": "team", "Value": "vision"}],
    },
)
assert made.function_arn.endswith(":functions/f"), made.function_arn
assert (made.state, made.last_update_status) == ("Active", "Successful")
shown = call("get_function", "f")
assert (shown.gpu_config.gpu_type, shown.gpu_config.gpu_memory_size) == ("fc.gpu.tesla.1", 8192)
container = shown.custom_container_config
assert (container.entrypoint, container.command, container.port) == (["/bin/server"], ["--port", "9001"], 9001)
assert (container.health_check_config.http_get_url, container.health_check_config.period_seconds) == ("/ping", 5)
assert shown.instance_lifecycle_config.initializer.timeout == 30
assert shown.instance_lifecycle_config.pre_stop.timeout == 5
assert (shown.log_config.project, shown.environment_variables, shown.layers) == ("p", {"A": "b"}, [])
refused("FunctionAlreadyExists", "create_function", body={"functionName": "f", "runtime": "custom", "handler": "x"})
refused("FunctionNotFound", "get_function", "nobody")
refused("FunctionNotFound", "update_function", "nobody", body={"timeout": 1})
assert call("update_function", "f", body={"timeout": 90}).timeout == 90
call("create_function", body={"functionName": "g", "runtime": "python3.10", "handler": "app.handler", "code": code})
assert call("get_function_code", "g").url.startswith("http")
assert [f.function_name for f in call("list_functions").functions] == ["f", "g"]
assert [f.function_name for f in call("list_functions", gpuType="fc.gpu.tesla.1").functions] == ["f"]
assert [f.function_name for f in call("list_functions", prefix="g", limit=1).functions] == ["g"]
assert client.invoke_function("f", models.InvokeFunctionRequest(body=io.BytesIO(b"hello"))).body.read() == b"hello"
print("invoke_function")

arn = made.function_arn
call("tag_resources", body={"ResourceId": [arn], "ResourceType": "function", "Tag": [{"Key": "tier", "Value": "gpu"}]})
found = call("list_tag_resources", ResourceId=[arn], ResourceType="function").tag_resources
found = {(tag.tag_key, tag.tag_value) for tag in found}
assert found == {("team", "vision"), ("tier", "gpu")}, found
call("untag_resources", ResourceId=[arn], ResourceType="function", TagKey=["tier"])
assert len(call("list_tag_resources", ResourceId=[arn], ResourceType="function").tag_resources) == 1
call("untag_resources", ResourceId=[arn], ResourceType="function", All=True)

config = json.dumps({"authType": "anonymous", "methods": ["GET"]})
trigger = call("create_trigger", "f", body={"triggerName": "t", "triggerType": "http", "triggerConfig": config})
assert trigger.http_trigger.url_internet.startswith("http")
assert (trigger.target_arn, json.loads(trigger.trigger_config)["methods"]) == (arn, ["GET"])
assert call("get_trigger", "f", "t").trigger_name == "t"
assert call("update_trigger", "f", "t", body={"description": "d"}).description == "d"
assert [t.trigger_name for t in call("list_triggers", "f").triggers] == ["t"]

domain = {"domainName": "www.example.com", "protocol": "HTTP"}
domain["routeConfig"] = {"routes": [{"path": "/*", "functionName": "f", "qualifier": "LATEST"}]}
assert call("create_custom_domain", body=domain).route_config.routes[0].function_name == "f"
assert call("get_custom_domain", "www.example.com").domain_name == "www.example.com"
routes = {"routes": [{"path": "/a/*", "functionName": "g", "methods": ["GET"]}]}
assert (
    call("update_custom_domain", "www.example.com", body={"routeConfig": routes}).route_config.routes[0].path == "/a/*"
)
assert len(call("list_custom_domains").custom_domains) == 1
call("delete_custom_domain", "www.example.com")
refused("FunctionNotEmpty", "delete_function", "f")
call("delete_trigger", "f", "t")

assert call("publish_function_version", "f", body={"description": "first"}).version_id == "1"
assert [v.version_id for v in call("list_function_versions", "f").versions] == ["1"]
assert call("create_alias", "f", body={"aliasName": "prod", "versionId": "1"}).version_id == "1"
assert call("get_alias", "f", "prod").alias_name == "prod"
assert call("update_alias", "f", "prod", body={"description": "d"}).description == "d"
assert [a.alias_name for a in call("list_aliases", "f").aliases] == ["prod"]

by = {"qualifier": "prod"}
none = call("get_provision_config", "f", **by)
assert (none.function_arn, none.current, none.target) == ("", 0, 0)
put = call("put_provision_config", "f", body={"defaultTarget": 2, "alwaysAllocateGPU": False}, **by)
assert (put.default_target, put.target, put.function_arn) == (2, 2, f"{arn}/prod")
assert call("get_provision_config", "f", **by).current == 2
assert len(call("list_provision_configs", functionName="f").provision_configs) == 1
policy = {"name": "p", "metricType": "GPUSmUtilization", "metricTarget": 0.6, "minInstances": 1, "maxInstances": 5}
scaling = {"minInstances": 1, "horizontalScalingPolicies": [policy]}
refused("ProvisionConfigExist", "put_scaling_config", "f", body=scaling, **by)
call("delete_provision_config", "f", **by)
assert call("put_scaling_config", "f", body=scaling, **by).function_arn == f"{arn}/prod"
shown = call("get_scaling_config", "f", **by)
assert (shown.min_instances, shown.horizontal_scaling_policies[0].max_instances, shown.current_instances) == (1, 5, 1)
assert len(call("list_scaling_configs", FunctionName="f").scaling_configs) == 1
refused("ResidentScalingConfigExists", "put_provision_config", "f", body={"defaultTarget": 2}, **by)
call("delete_scaling_config", "f", **by)

assert call("put_concurrency_config", "f", body={"reservedConcurrency": 10}).reserved_concurrency == 10
assert call("get_concurrency_config", "f").function_arn == arn
assert len(call("list_concurrency_configs").configs) == 1
call("delete_concurrency_config", "f")
assert call("get_concurrency_config", "f").reserved_concurrency is None

config = {"maxAsyncRetryAttempts": 2, "asyncTask": True}
assert call("put_async_invoke_config", "f", body=config, **by).max_async_retry_attempts == 2
assert call("get_async_invoke_config", "f", **by).async_task
assert len(call("list_async_invoke_configs", functionName="f").configs) == 1
call("delete_async_invoke_config", "f", **by)
refused("AsyncConfigNotExists", "get_async_invoke_config", "f", **by)

assert call("list_instances", "f").instances == []
call("disable_function_invocation", "f", reason="maintenance")
assert call("get_function", "f").invocation_restriction.reason == "maintenance"
call("enable_function_invocation", "f")
assert call("get_function", "f").invocation_restriction is None
call("create_vpc_binding", "f", body={"vpcId": "vpc-1"})
assert call("list_vpc_bindings", "f").vpc_ids == ["vpc-1"]
call("delete_vpc_binding", "f", "vpc-1")
assert call("list_layers").layers == []
assert call("list_layer_versions", "l").layers == []

call("delete_alias", "f", "prod")
call("delete_function_version", "f", "1")
call("publish_function_version", "f", body={})
call("delete_function", "f")
call("delete_function", "g")
refused("FunctionNotFound", "get_function", "f")
assert call("list_functions").functions == []
