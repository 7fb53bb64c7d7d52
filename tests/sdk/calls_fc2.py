"""Every call of `aliyun-fc2` (FC 2.0, 2016-08-15). Arguments: endpoint, folder for code."""

import pathlib
import sys
import zipfile

import fc2

endpoint, folder = sys.argv[1], pathlib.Path(sys.argv[2])
client = fc2.Client(endpoint=endpoint, accessKeyID="id", accessKeySecret="secret")


def call(name, *arguments, **named):
    answer = getattr(client, name)(*arguments, **named)
    print(name)
    return None if answer is None else answer.data


def refused(code, name, *arguments, **named):
    try:
        getattr(client, name)(*arguments, **named)
    except fc2.FcError as error:
        assert error.err_code == code, (error.err_code, code)
        print(name, code)
        return
    raise AssertionError(f"{name} went through")


archive = folder / "code.zip"
with zipfile.ZipFile(archive, "w") as packed:
    packed.writestr("app.py", "def handler(event, context): return event\n")

assert "availableAZs" in call("get_account_settings")
assert call("create_service", "s", description="d")["serviceName"] == "s"
refused("ServiceAlreadyExists", "create_service", "s")
assert call("get_service", "s")["description"] == "d"
etag = client.get_service("s").headers["etag"]
assert call("update_service", "s", description="e", headers={"if-match": etag})["description"] == "e"
refused("PreconditionFailed", "update_service", "s", description="f", headers={"if-match": etag})
refused("PreconditionFailed", "delete_service", "s", headers={"if-match": etag})
refused("PreconditionFailed", "publish_version", "s", headers={"if-match": etag})
call("create_service", "other")
assert len(call("list_services", limit=1)["services"]) == 1
arn = "acs:fc:cn-local:1:services/s"
call("tag_resource", arn, {"team": "vision", "tier": "gpu"})
assert call("get_resource_tags", arn)["tags"] == {"team": "vision", "tier": "gpu"}
assert [s["serviceName"] for s in call("list_services", tags={"team": "vision"})["services"]] == ["s"]
call("untag_resource", arn, ["tier"])
assert call("get_resource_tags", arn)["tags"] == {"team": "vision"}
call("untag_resource", arn, [], deleteAll=True)
assert call("get_resource_tags", arn)["tags"] == {}
assert call("list_reserved_capacities")["reservedCapacities"] == []

made = call("create_function", "s", "f", "python3.10", "app.handler", codeZipFile=str(archive), instanceConcurrency=2)
assert (made["functionName"], made["instanceConcurrency"]) == ("f", 2)
assert call("get_function", "s", "f")["functionName"] == "f"
etag = client.get_function("s", "f").headers["etag"]
assert call("update_function", "s", "f", memorySize=1024, headers={"if-match": etag})["memorySize"] == 1024
refused("PreconditionFailed", "update_function", "s", "f", memorySize=512, headers={"if-match": etag})
assert call("get_function_code", "s", "f")["url"].startswith("http")
assert [f["functionName"] for f in call("list_functions", "s")["functions"]] == ["f"]
assert call("invoke_function", "s", "f", payload=b"hello") == b"hello"
refused("FunctionNotFound", "get_function", "s", "nobody")

config = {"authType": "anonymous", "methods": ["GET"]}
trigger = call("create_trigger", "s", "f", "t", "http", config, None, None)
assert trigger["triggerConfig"]["methods"] == ["GET"]
assert call("get_trigger", "s", "f", "t")["triggerName"] == "t"
config = {"authType": "function", "methods": ["POST"]}
assert call("update_trigger", "s", "f", "t", triggerConfig=config)["triggerConfig"]["authType"] == "function"
assert [t["triggerName"] for t in call("list_triggers", "s", "f")["triggers"]] == ["t"]

routes = {"routes": [{"path": "/*", "serviceName": "s", "functionName": "f", "qualifier": "LATEST"}]}
assert call("create_custom_domain", "www.example.com", "HTTP", routes)["domainName"] == "www.example.com"
assert call("get_custom_domain", "www.example.com")["routeConfig"]["routes"][0]["path"] == "/*"
routes["routes"][0]["path"] = "/a/*"
updated = call("update_custom_domain", "www.example.com", "HTTP", routes)
assert updated["routeConfig"]["routes"][0]["path"] == "/a/*"
assert len(call("list_custom_domains")["customDomains"]) == 1
call("delete_custom_domain", "www.example.com")
refused("DomainNameNotFound", "get_custom_domain", "www.example.com")
call("delete_trigger", "s", "f", "t")

assert call("publish_version", "s", "first")["versionId"] == "1"
assert call("publish_version", "s", "second")["versionId"] == "2"
assert [v["versionId"] for v in call("list_versions", "s")["versions"]] == ["2", "1"]
assert call("create_alias", "s", "prod", "1", additionalVersionWeight={"2": 0.1})["versionId"] == "1"
assert call("get_alias", "s", "prod")["additionalVersionWeight"] == {"2": 0.1}
assert call("update_alias", "s", "prod", "2", additionalVersionWeight={})["versionId"] == "2"
assert [a["aliasName"] for a in call("list_aliases", "s")["aliases"]] == ["prod"]

put = call("put_on_demand_config", "s", "prod", "f", 3)
assert (put["resource"], put["maximumInstanceCount"]) == ("services/s.prod/functions/f", 3)
assert call("get_on_demand_config", "s", "prod", "f")["maximumInstanceCount"] == 3
assert len(call("list_on_demand_config", prefix="services/s")["configs"]) == 1
call("delete_on_demand_config", "s", "prod", "f")
refused("OnDemandConfigNotFound", "get_on_demand_config", "s", "prod", "f")

assert call("put_provision_config", "s", "prod", "f", 2)["target"] == 2
shown = call("get_provision_config", "s", "prod", "f")
assert (shown["current"], shown["resource"].split("#")[1:]) == (2, ["s", "prod", "f"])
assert len(call("list_provision_configs", "s", "prod")["provisionConfigs"]) == 1
assert call("put_provision_config", "s", "prod", "f", 0)["target"] == 0

config = {
    "maxAsyncRetryAttempts": 2,
    "destinationConfig": {"onSuccess": {"destination": "acs:fc:::services/s/functions/g"}},
}
assert call("put_function_async_invoke_config", "s", "prod", "f", config)["maxAsyncRetryAttempts"] == 2
kept = call("get_function_async_invoke_config", "s", "prod", "f")
assert kept["destinationConfig"]["onSuccess"]["destination"].endswith("/g")
assert len(call("list_function_async_invoke_configs", "s", "f")["configs"]) == 1
call("delete_function_async_invoke_config", "s", "prod", "f")
refused("AsyncConfigNotExists", "get_function_async_invoke_config", "s", "prod", "f")
assert call("list_instances", "s", "LATEST", "f")["instances"] == []

call("delete_alias", "s", "prod")
call("delete_version", "s", "1")
call("delete_version", "s", "2")
call("delete_function", "s", "f")
call("delete_service", "s")
refused("ServiceNotFound", "get_service", "s")
