"""Every call of `aliyun-fc2` (FC 2.0, 2016-08-15)."""

import fc2
from common import CODE, ENDPOINT, FOLDER, HANDLER, Fc2Calls, answered, eventually, fc2_client

call = Fc2Calls(fc2_client())
refused = call.refused

archive = FOLDER / "code.zip"
archive.write_bytes(CODE)
unpacked = FOLDER / "code"
unpacked.mkdir()
(unpacked / "app.py").write_text(HANDLER)

# -- the account, services and their tags ------------------------------------------------------------------------------

assert call("get_account_settings")["availableAZs"] == ["cn-local-a"]
logs = {"project": "p", "logstore": "l", "enableRequestMetrics": True, "enableInstanceMetrics": True}
vpc = {"vpcId": "vpc-1", "vSwitchIds": ["vsw-1"], "securityGroupId": "sg-1"}
nas = {"userId": 1, "groupId": 2, "mountPoints": [{"serverAddr": "nas:/a", "mountDir": "/mnt"}]}
tracing = {"type": "Jaeger", "params": {"endpoint": "http://jaeger.example"}}
whole = {"logConfig": logs, "role": "acs:ram::1:role/r", "vpcConfig": vpc, "nasConfig": nas, "tracingConfig": tracing}
made = call("create_service", "s", description="d", internetAccess=False, **whole)
assert (made["serviceName"], made["description"], made["internetAccess"]) == ("s", "d", False)
assert {key: made[key] for key in whole} == whole
assert made["serviceId"]
assert made["createdTime"] == made["lastModifiedTime"]
assert made["createdTime"].endswith("Z")
refused(409, "ServiceAlreadyExists", "create_service", "s")
refused(400, "InvalidArgument", "create_service", "s.t")
shown = call.whole("get_service", "s")
assert (shown.data["description"], shown.data["vpcConfig"]) == ("d", vpc)
match = {"headers": {"if-match": shown.headers["etag"]}}
# Instances here are processes, for which nothing can be mounted.
no_nas = {"userId": -1, "groupId": -1, "mountPoints": []}
updated = call("update_service", "s", description="e", nasConfig=no_nas, **match)
assert (updated["description"], updated["logConfig"], updated["serviceId"]) == ("e", logs, made["serviceId"])
refused(412, "PreconditionFailed", "update_service", "s", description="f", **match)
refused(412, "PreconditionFailed", "delete_service", "s", **match)
refused(412, "PreconditionFailed", "publish_version", "s", **match)
call("create_service", "s-other")
page = call("list_services", limit=1, prefix="s")
assert [s["serviceName"] for s in page["services"]] == ["s"]
page = call("list_services", limit=1, prefix="s", nextToken=page["nextToken"])
assert [s["serviceName"] for s in page["services"]] == ["s-other"]
assert "nextToken" not in page
assert [s["serviceName"] for s in call("list_services", startKey="s-")["services"]] == ["s-other"]
arn = "acs:fc:cn-local:1:services/s"
call("tag_resource", arn, {"team": "vision", "tier": "gpu"})
assert call("get_resource_tags", arn)["tags"] == {"team": "vision", "tier": "gpu"}
assert [s["serviceName"] for s in call("list_services", tags={"team": "vision"})["services"]] == ["s"]
call("untag_resource", arn, ["tier"])
assert call("get_resource_tags", arn)["tags"] == {"team": "vision"}
call("untag_resource", arn, [], deleteAll=True)
assert call("get_resource_tags", arn)["tags"] == {}
assert call("list_reserved_capacities")["reservedCapacities"] == []
refused(404, "ServiceNotFound", "get_service", "nobody")

# -- functions and their code ------------------------------------------------------------------------------------------

refused(404, "ServiceNotFound", "create_function", "nobody", "f", "python3", "app.handler", codeZipFile=str(archive))
made = call(
    "create_function", "s", "f", "python3.10", "app.handler", codeZipFile=str(archive), description="d",
    memorySize=256, timeout=30, instanceConcurrency=2, environmentVariables={"A": "b"},
)  # fmt: skip
assert (made["functionName"], made["runtime"], made["handler"]) == ("f", "python3.10", "app.handler")
assert (made["memorySize"], made["timeout"], made["instanceConcurrency"]) == (256, 30, 2)
assert (made["description"], made["environmentVariables"]) == ("d", {"A": "b"})
assert (made["codeSize"], made["instanceType"], made["caPort"]) == (len(CODE), "e1", 9000)
assert made["functionId"]
assert made["codeChecksum"].isdecimal()
refused(409, "FunctionAlreadyExists", "create_function", "s", "f", "python3", "app.app", codeZipFile=str(archive))
container = {"image": "registry.example/f:1", "command": '["/a"]', "args": '["-v"]'}
made = call(
    "create_function", "s", "gpu", "custom-container", "not-used", initializer="not-used", initializationTimeout=60,
    customContainerConfig=container, caPort=9001, instanceType="g1",
)  # fmt: skip
assert (made["instanceType"], made["caPort"]) == ("g1", 9001)
assert {key: made["customContainerConfig"][key] for key in container} == container
assert (made["initializer"], made["initializationTimeout"]) == ("not-used", 60)
call("create_function", "s", "web", "python3", "app.app", codeDir=str(unpacked))
shown = call.whole("get_function", "s", "f")
assert shown.data["functionName"] == "f"
match = {"headers": {"if-match": shown.headers["etag"]}}
assert call("update_function", "s", "f", memorySize=512, **match)["memorySize"] == 512
refused(412, "PreconditionFailed", "update_function", "s", "f", memorySize=1024, **match)
refused(412, "PreconditionFailed", "delete_function", "s", "f", **match)
refused(400, "InvalidArgument", "update_function", "s", "f", memorySize=1)
code = call("get_function_code", "s", "f")
assert code["checksum"] == call("get_function", "s", "f")["codeChecksum"]
assert code["url"].startswith(f"{ENDPOINT}/")
assert [f["functionName"] for f in call("list_functions", "s", prefix="f")["functions"]] == ["f"]
assert [f["functionName"] for f in call("list_functions", "s", limit=2)["functions"]] == ["f", "gpu"]
refused(404, "FunctionNotFound", "get_function", "s", "nobody")

# -- versions and aliases ----------------------------------------------------------------------------------------------

first = call("publish_version", "s", "first")
assert (first["versionId"], first["description"]) == ("1", "first")
assert call("publish_version", "s", "second")["versionId"] == "2"
assert call("get_function", "s", "f", qualifier="1")["memorySize"] == 512
assert call("get_service", "s", qualifier="1")["serviceName"] == "s"
assert [f["functionName"] for f in call("list_functions", "s", qualifier="1")["functions"]] == ["f", "gpu", "web"]
versions = call("list_versions", "s")
assert ([v["versionId"] for v in versions["versions"]], versions["direction"]) == (["2", "1"], "BACKWARD")
assert [v["versionId"] for v in call("list_versions", "s", direction="FORWARD")["versions"]] == ["1", "2"]
assert [v["versionId"] for v in call("list_versions", "s", limit=1, startKey="1")["versions"]] == ["1"]
alias = call("create_alias", "s", "prod", "1", description="d", additionalVersionWeight={"2": 0.1})
assert (alias["aliasName"], alias["versionId"], alias["additionalVersionWeight"]) == ("prod", "1", {"2": 0.1})
refused(409, "AliasAlreadyExists", "create_alias", "s", "prod", "1")
refused(404, "VersionNotFound", "create_alias", "s", "other", "9")
shown = call.whole("get_alias", "s", "prod")
assert (shown.data["description"], shown.data["additionalVersionWeight"]) == ("d", {"2": 0.1})
match = {"headers": {"if-match": shown.headers["etag"]}}
assert call("update_alias", "s", "prod", "2", additionalVersionWeight={}, **match)["versionId"] == "2"
refused(412, "PreconditionFailed", "update_alias", "s", "prod", "1", **match)
refused(412, "PreconditionFailed", "delete_alias", "s", "prod", **match)
assert [a["aliasName"] for a in call("list_aliases", "s")["aliases"]] == ["prod"]
refused(404, "AliasNotFound", "get_alias", "s", "nobody")
refused(412, "VersionInUse", "delete_version", "s", "2")

# -- invocations -------------------------------------------------------------------------------------------------------

ran = call.whole("invoke_function", "s", "f", payload=b"hello", qualifier="prod")
assert ran.data == b"olleh"
assert ran.headers["x-fc-invocation-service-version"] == "2"
assert ran.headers["x-fc-request-id"].startswith("1-")
assert ran.headers["x-fc-instance-id"]
try:
    call("invoke_function", "s", "f", payload=b"raise")
    raise AssertionError("a function error went through")
except fc2.FcError as error:  # 200 and x-fc-error-type: this SDK makes an error of it
    assert error.status_code == 200
    assert "as asked for" in error.message
asked = {"x-fc-invocation-type": "Async", "x-fc-stateful-async-invocation-id": "order-1"}
queued = call.whole("invoke_function", "s", "f", payload=b"hello", headers=asked)
assert (queued.data, queued.headers["x-fc-async-task-id"]) == (b"", "order-1")
refused(404, "FunctionNotFound", "invoke_function", "s", "nobody")
running = call("list_instances", "s", "prod", "f")["instances"]
assert [instance["versionId"] for instance in running] == ["2"]
only = {"instanceIds": [running[0]["instanceId"]], "limit": 1}
assert call("list_instances", "s", "prod", "f", params=only)["instances"] == running
refused(502, "BadGateway", "invoke_function", "s", "f", payload=b"exit")

# -- triggers ----------------------------------------------------------------------------------------------------------

config = {"authType": "anonymous", "methods": ["GET"]}
made = call("create_trigger", "s", "web", "t", "http", config, None, None, description="d")
assert (made["triggerName"], made["triggerType"], made["qualifier"]) == ("t", "http", "LATEST")
assert (made["triggerConfig"]["methods"], made["description"]) == (["GET"], "d")
assert made["triggerId"]
assert made["urlInternet"].startswith(f"{ENDPOINT}/")
refused(409, "TriggerAlreadyExists", "create_trigger", "s", "web", "t", "http", config, None, None)
refused(404, "TriggerNotFound", "get_trigger", "s", "web", "nobody")
shown = call.whole("get_trigger", "s", "web", "t")
assert shown.data["triggerConfig"]["authType"] == "anonymous"
match = {"headers": {"if-match": shown.headers["etag"]}}
config = {"authType": "function", "methods": ["GET", "POST"]}
assert call("update_trigger", "s", "web", "t", triggerConfig=config, **match)["triggerConfig"]["authType"] == "function"
refused(412, "PreconditionFailed", "update_trigger", "s", "web", "t", triggerConfig=config, **match)
refused(412, "PreconditionFailed", "delete_trigger", "s", "web", "t", **match)
assert [t["triggerName"] for t in call("list_triggers", "s", "web")["triggers"]] == ["t"]


def visited(**given):
    answer = call.client.do_http_request("GET", "s", "web", "/a b/", **given)
    return answer if answer.status_code == 200 else None


page = eventually(lambda: visited(params={"b": "2", "a": "1"}), "the trigger answers the call that is signed")
answered("do_http_request")
assert page.text == "GET /2016-08-15/proxy/s/web/a b/ b=2&a=1", page.text
assert fc2_client("wrong").do_http_request("GET", "s", "web", "/").status_code == 403
hidden = config | {"disableURLInternet": True}
assert call("update_trigger", "s", "web", "t", triggerConfig=hidden)["triggerConfig"]["disableURLInternet"]
eventually(lambda: visited() is None, "it is hidden")
page = call.client.do_http_request("GET", "s", "web", "/")
assert (page.status_code, page.json()["ErrorCode"]) == (403, "AccessDenied")
assert page.json()["ErrorMessage"] == "access denied due to function internet URL is disable"
refused(412, "FunctionNotEmpty", "delete_function", "s", "web")
refused(412, "ServiceNotEmpty", "delete_service", "s")

# -- custom domains ----------------------------------------------------------------------------------------------------

routes = {"routes": [{"path": "/*", "serviceName": "s", "functionName": "web", "qualifier": "LATEST"}]}
made = call("create_custom_domain", "www.example.com", "HTTP", routes)
assert (made["domainName"], made["protocol"], made["apiVersion"]) == ("www.example.com", "HTTP", "2016-08-15")
refused(409, "DomainNameAlreadyExists", "create_custom_domain", "www.example.com", "HTTP", routes)
assert call("get_custom_domain", "www.example.com")["routeConfig"]["routes"][0]["path"] == "/*"
routes["routes"][0]["path"] = "/a/*"
updated = call("update_custom_domain", "www.example.com", "HTTP", routes)
assert updated["routeConfig"]["routes"][0]["path"] == "/a/*"
assert [d["domainName"] for d in call("list_custom_domains")["customDomains"]] == ["www.example.com"]
call("delete_custom_domain", "www.example.com")
refused(404, "DomainNameNotFound", "get_custom_domain", "www.example.com")
call("delete_trigger", "s", "web", "t")

# -- on-demand, provision and asynchronous invocation configs ----------------------------------------------------------

put = call("put_on_demand_config", "s", "prod", "f", 3)
assert (put["resource"], put["maximumInstanceCount"]) == ("services/s.prod/functions/f", 3)
assert call("get_on_demand_config", "s", "prod", "f")["maximumInstanceCount"] == 3
assert call("list_on_demand_config", prefix="services/s")["configs"] == [put]
call("delete_on_demand_config", "s", "prod", "f")
refused(404, "OnDemandConfigNotFound", "get_on_demand_config", "s", "prod", "f")

resource = f"{put['resource']}"
none = call("get_provision_config", "s", "prod", "f")
assert (none["target"], none["current"], none["resource"].split("#")[1:]) == (0, 0, ["s", "prod", "f"])
assert call("put_provision_config", "s", "prod", "f", 2)["target"] == 2
shown = eventually(
    lambda: (seen := call("get_provision_config", "s", "prod", "f"))["current"] == seen["target"] and seen,
    "two instances are ready",
)
assert (shown["current"], shown["currentError"], shown["alwaysAllocateCPU"]) == (2, "", True)
assert (shown["scheduledActions"], shown["targetTrackingPolicies"]) == ([], [])
assert call("list_provision_configs", "s", "prod")["provisionConfigs"] == [shown]
match = {"headers": {"if-match": call.whole("get_provision_config", "s", "prod", "f").headers["etag"]}}
assert call("put_provision_config", "s", "prod", "f", 0, **match)["target"] == 0
refused(412, "PreconditionFailed", "put_provision_config", "s", "prod", "f", 1, **match)
eventually(lambda: call("get_provision_config", "s", "prod", "f")["current"] == 0, "no instance is provisioned")
refused(400, "InvalidArgument", "put_provision_config", "s", "1", "f", 1)

config = {
    "maxAsyncRetryAttempts": 2,
    "maxAsyncEventAgeInSeconds": 60,
    "statefulInvocation": True,
    "destinationConfig": {"onSuccess": {"destination": "acs:fc:::services/s/functions/web"}},
}
put = call("put_function_async_invoke_config", "s", "prod", "f", config)
assert {key: put[key] for key in config} == config
assert (put["service"], put["function"], put["qualifier"]) == ("s", "f", "prod")
assert call("get_function_async_invoke_config", "s", "prod", "f") == put
assert call("list_function_async_invoke_configs", "s", "f")["configs"] == [put]
call("delete_function_async_invoke_config", "s", "prod", "f")
refused(404, "AsyncConfigNotExists", "get_function_async_invoke_config", "s", "prod", "f")

# -- and all of it away again ------------------------------------------------------------------------------------------

call("delete_alias", "s", "prod")
call("delete_version", "s", "1")
call("delete_version", "s", "2")
for name in ("f", "gpu", "web"):
    call("delete_function", "s", name)
call("delete_service", "s")
call("delete_service", "s-other")
assert call("list_services")["services"] == []
