// Every call of npm's `@alicloud/fc2` (FC 2.0, 2016-08-15) that Stoke serves. Arguments: endpoint, folder with code.zip.
"use strict";

const FC = require("@alicloud/fc2");
const { account, assert, caller, code, codeFile, endpoint, key, refuser, run, shows, until } = require("./npm_driver.cjs");

const settings = { accessKeyID: key.id, accessKeySecret: key.secret, region: "cn-local", endpoint };
const client = new FC(account, settings);
const call = caller(client, (answer) => answer.data);
const refused = refuser(client);
const names = (items, field) => items.map((item) => item[field]);

async function signatures() {
  const stranger = new FC(account, { ...settings, accessKeyID: "nobody" });
  await refuser(stranger)("InvalidAccessKeyID", "listServices");
  const liar = new FC(account, { ...settings, accessKeySecret: "another" });
  await refuser(liar)("SignatureNotMatch", "listServices");
  await refuser(liar)("SignatureNotMatch", "createService", "stolen");
  const borrowed = new FC(account, { ...settings, headers: { "x-fc-security-token": "token" } });
  await caller(borrowed, (answer) => answer.data)("listServices");
}

async function services() {
  assert.ok(Array.isArray((await call("getAccountSettings")).availableAZs));
  assert.equal((await call("createService", "s", { description: "d" })).serviceName, "s");
  await refused("ServiceAlreadyExists", "createService", "s");
  const { data, headers } = await client.getService("s");
  assert.equal(data.description, "d");
  const stale = { "if-match": headers.etag };
  assert.equal((await call("updateService", "s", { description: "e" }, stale)).description, "e");
  await refused("PreconditionFailed", "updateService", "s", { description: "f" }, stale);
  await refused("PreconditionFailed", "deleteService", "s", stale);
  assert.equal((await call("getService", "s")).description, "e");
  await call("createService", "other");
  const page = await call("listServices", { limit: 1 });
  assert.deepEqual(names(page.services, "serviceName"), ["other"]);
  assert.deepEqual(names((await call("listServices", { nextToken: page.nextToken })).services, "serviceName"), ["s"]);

  const arn = `acs:fc:cn-local:${account}:services/s`;
  await call("tagResource", arn, { team: "vision", tier: "gpu" });
  assert.deepEqual((await call("getResourceTags", { resourceArn: arn })).tags, { team: "vision", tier: "gpu" });
  assert.deepEqual(names((await call("listServices", { tags: { team: "vision" } })).services, "serviceName"), ["s"]);
  await call("untagResource", arn, ["tier"]);
  assert.deepEqual((await call("getResourceTags", { resourceArn: arn })).tags, { team: "vision" });
  await call("untagResource", arn, [], true);
  assert.deepEqual((await call("getResourceTags", { resourceArn: arn })).tags, {});
  assert.deepEqual((await call("listReservedCapacities")).reservedCapacities, []);
  assert.deepEqual((await call("listLayers")).layers, []);
  assert.deepEqual((await call("listLayerVersions", "l")).layers, []);
}

async function functions() {
  const made = await call("createFunction", "s", {
    functionName: "f", runtime: "python3", handler: "app.handler", memorySize: "256", timeout: 10,
    instanceConcurrency: 2, environmentVariables: { A: "b" }, instanceSoftConcurrency: null, code,
  });
  assert.deepEqual([made.functionName, made.memorySize, made.instanceConcurrency], ["f", 256, 2]);
  await refused("FunctionAlreadyExists", "createFunction", "s", { functionName: "f", runtime: "python3", handler: "app.handler", code });
  const gpu = {
    functionName: "g", runtime: "custom-container", handler: "not-used", instanceType: "g1", gpuMemorySize: 8192,
    caPort: 9001, cpu: 2, diskSize: 512, memorySize: 8192, initializer: "not-used", initializationTimeout: 30,
    customContainerConfig: { image: "registry.example/g:1", command: '["/bin/server"]' },
    customHealthCheckConfig: { httpGetUrl: "/ping", periodSeconds: 5 },
    instanceLifecycleConfig: { preStop: { handler: "not-used", timeout: 5 } },
  };
  await call("createFunction", "s", gpu);
  shows(await call("getFunction", "s", "g"), gpu, "g");
  const { headers } = await client.getFunction("s", "f");
  const stale = { "if-match": headers.etag };
  assert.equal((await call("updateFunction", "s", "f", { timeout: 20 }, stale)).timeout, 20);
  await refused("PreconditionFailed", "updateFunction", "s", "f", { timeout: 30 }, stale);
  await refused("FunctionNotFound", "updateFunction", "s", "nobody", { timeout: 30 });
  const packed = await call("getFunctionCode", "s", "f");
  assert.equal(Buffer.from(await (await fetch(packed.url)).arrayBuffer()).toString("base64"), code.zipFile);
  assert.deepEqual(names((await call("listFunctions", "s")).functions, "functionName"), ["f", "g"]);
  assert.deepEqual(names((await call("listFunctions", "s", { prefix: "g" })).functions, "functionName"), ["g"]);
  await refused("FunctionNotFound", "getFunction", "s", "nobody");
}

async function invocations() {
  const greet = () => client.invokeFunction("s", "f", "abc");
  const answer = await until("the function answers", greet, (reply) => reply.data === "cba");
  console.log("invokeFunction");
  assert.ok(answer.headers["x-fc-request-id"]);
  assert.equal(await call("invokeFunction", "s", "f", Buffer.from("xyz"), {}, "LATEST"), "zyx");
  assert.deepEqual(await call("invokeFunction", "s", "f", "ÿ€", {}, "LATEST", { rawBuf: true }), Buffer.from("ÿ€").reverse());
  const [{ instanceId, versionId }] = (await call("listInstances", "s", "f", "LATEST")).instances;
  assert.deepEqual([instanceId, versionId], [answer.headers["x-fc-instance-id"], "0"]);
  const failed = await client.invokeFunction("s", "f", "fail");
  assert.equal(failed.headers["x-fc-error-type"], "UnhandledInvocationError");
  assert.equal(failed.data.errorMessage, "as asked");
  console.log("invokeFunction x-fc-error-type");
  const later = { "x-fc-invocation-type": "Async", "x-fc-stateful-async-invocation-id": "once" };
  const accepted = await client.invokeFunction("s", "f", "abc", later);
  assert.deepEqual([accepted.data, accepted.headers["x-fc-async-task-id"]], ["", "once"]);
  console.log("invokeFunction Async");
}

/** Object storage's own client puts code where Stoke told it to; a function is made of that. */
async function uploads() {
  const OSS = require("ali-oss");
  const { credentials, ossBucket, objectName } = await call("getTempBucketToken");
  const { AccessKeyId: accessKeyId, AccessKeySecret: accessKeySecret, SecurityToken: stsToken } = credentials;
  const storage = new OSS({ endpoint, accessKeyId, accessKeySecret, stsToken, bucket: ossBucket });
  const object = `${account}/${objectName}`;
  assert.equal((await storage.put(object, codeFile)).res.status, 200);
  const liar = new OSS({ endpoint, accessKeyId, accessKeySecret: "another", stsToken, bucket: ossBucket });
  await assert.rejects(liar.put(object, codeFile), { status: 403 });
  const made = { functionName: "u", runtime: "python3", handler: "app.handler", timeout: 10 };
  const from = { code: { ossBucketName: ossBucket, ossObjectName: object } };
  assert.equal((await call("createFunction", "s", { ...made, ...from })).codeSize, Buffer.from(code.zipFile, "base64").length);
  await until("the uploaded code answers", () => client.invokeFunction("s", "u", "abc"), (got) => got.data === "cba");
  const lost = { code: { ossBucketName: ossBucket, ossObjectName: "never" } };
  await refused("InvalidArgument", "updateFunction", "s", "u", lost);
  await call("deleteFunction", "s", "u");
}

async function triggers() {
  const config = { authType: "function", methods: ["GET", "POST"] };
  const wanted = { triggerName: "t", triggerType: "http", triggerConfig: config, sourceArn: null, invocationRole: null };
  const made = await call("createTrigger", "s", "f", wanted);
  assert.deepEqual([made.triggerConfig.authType, made.triggerConfig.methods], ["function", ["GET", "POST"]]);
  assert.ok(made.urlInternet.startsWith(endpoint), made.urlInternet);
  await refused("TriggerAlreadyExists", "createTrigger", "s", "f", wanted);
  assert.equal((await call("getTrigger", "s", "f", "t")).triggerName, "t");
  // A trigger's URL is signed with its query: names in any order, one name several times.
  const query = { z: "1", a: ["2", "3"] };
  const proxied = () => client.get("/proxy/s/f/some/path", query);
  const reply = await until("the trigger answers", proxied, () => true);
  assert.equal(reply.data.path, "/2016-08-15/proxy/s/f/some/path");
  assert.deepEqual(reply.data.query, { z: "1", a: "3" });
  console.log("get /proxy");
  const posted = await client.post("/proxy/s/f/", Buffer.from("body"));
  assert.equal(posted.data.body, "body");
  console.log("post /proxy");
  const liar = new FC(account, { ...settings, accessKeySecret: "another" });
  await refuser(liar)("SignatureNotMatch", "get", "/proxy/s/f/", query);
  const open = { authType: "anonymous", methods: ["GET"] };
  assert.equal((await call("updateTrigger", "s", "f", "t", { triggerConfig: open })).triggerConfig.authType, "anonymous");
  await until("anybody may ask", () => fetch(made.urlInternet), (got) => got.status === 200);
  assert.deepEqual(names((await call("listTriggers", "s", "f")).triggers, "triggerName"), ["t"]);

  const route = { path: "/*", serviceName: "s", functionName: "f", qualifier: "LATEST" };
  const domain = { protocol: "HTTP", routeConfig: { routes: [route] } };
  assert.equal((await call("createCustomDomain", "www.example.com", domain)).domainName, "www.example.com");
  assert.equal((await call("getCustomDomain", "www.example.com")).routeConfig.routes[0].path, "/*");
  const moved = { routeConfig: { routes: [{ ...route, path: "/a/*" }] } };
  assert.equal((await call("updateCustomDomain", "www.example.com", moved)).routeConfig.routes[0].path, "/a/*");
  assert.deepEqual(names((await call("listCustomDomains")).customDomains, "domainName"), ["www.example.com"]);
  await call("deleteCustomDomain", "www.example.com");
  await refused("DomainNameNotFound", "getCustomDomain", "www.example.com");
  await refused("FunctionNotEmpty", "deleteFunction", "s", "f");
  await call("deleteTrigger", "s", "f", "t");
  await refused("TriggerNotFound", "getTrigger", "s", "f", "t");
}

async function versions() {
  assert.equal((await call("publishVersion", "s", "first")).versionId, "1");
  assert.equal((await call("publishVersion", "s")).versionId, "2");
  assert.deepEqual(names((await call("listVersions", "s")).versions, "versionId"), ["2", "1"]);
  assert.deepEqual(names((await call("listVersions", "s", { direction: "FORWARD" })).versions, "versionId"), ["1", "2"]);
  const weights = { additionalVersionWeight: { 2: 0.1 } };
  assert.equal((await call("createAlias", "s", "prod", "1", weights)).versionId, "1");
  assert.deepEqual((await call("getAlias", "s", "prod")).additionalVersionWeight, { 2: 0.1 });
  const { headers } = await client.getAlias("s", "prod");
  const stale = { "if-match": headers.etag };
  const moved = await call("updateAlias", "s", "prod", "2", { additionalVersionWeight: {} }, stale);
  assert.equal(moved.versionId, "2");
  await refused("PreconditionFailed", "updateAlias", "s", "prod", "1", {}, stale);
  assert.deepEqual(names((await call("listAliases", "s")).aliases, "aliasName"), ["prod"]);
  await refused("VersionInUse", "deleteVersion", "s", "2");
  assert.equal((await call("getService", "s", {}, "prod")).serviceName, "s");
  assert.equal((await call("getFunction", "s", "f", {}, "prod")).functionName, "f");
  assert.deepEqual(names((await call("listFunctions", "s", {}, {}, "prod")).functions, "functionName"), ["f", "g"]);
  await until("the alias answers", () => client.invokeFunction("s", "f", "abc", {}, "prod"), (got) => got.data === "cba");
  console.log("invokeFunction prod");
}

async function configs() {
  const put = await call("putOnDemandConfig", "s", "f", "prod", { maximumInstanceCount: 3 });
  assert.deepEqual([put.resource, put.maximumInstanceCount], ["services/s.prod/functions/f", 3]);
  assert.equal((await call("getOnDemandConfig", "s", "f", "prod")).maximumInstanceCount, 3);
  assert.equal((await call("listOnDemandConfigs", { prefix: "services/s" })).configs.length, 1);
  await call("deleteOnDemandConfig", "s", "f", "prod");
  await refused("OnDemandConfigNotFound", "getOnDemandConfig", "s", "f", "prod");

  const policy = {
    name: "p", metricType: "ProvisionedConcurrencyUtilization", metricTarget: 0.6, minCapacity: 1, maxCapacity: 4,
    startTime: "2020-01-01T00:00:00.000Z", endTime: "2020-01-02T00:00:00.000Z",
  };
  const action = {
    name: "a", target: 3, scheduleExpression: "cron(0 0 20 * * *)",
    startTime: "2020-01-01T00:00:00Z", endTime: "2020-01-02T00:00:00Z",
  };
  const wanted = { target: 1, scheduledActions: [action], targetTrackingPolicies: [policy], alwaysAllocateCPU: false, alwaysAllocateGPU: false };
  const provisioned = await call("putProvisionConfig", "s", "f", "prod", wanted);
  assert.deepEqual([provisioned.target, provisioned.alwaysAllocateGPU], [1, false]);
  const get = () => client.getProvisionConfig("s", "f", "prod");
  const ready = (await until("an instance is ready", get, (reply) => reply.data.current === reply.data.target)).data;
  console.log("getProvisionConfig");
  assert.deepEqual([ready.current, ready.currentError], [1, ""]);
  assert.equal(ready.resource, `${account}#s#prod#f`);
  assert.deepEqual(ready.scheduledActions, [action]);
  assert.deepEqual(ready.targetTrackingPolicies, [policy]);
  const listed = await call("listProvisionConfigs", { serviceName: "s", qualifier: "prod" });
  assert.deepEqual(names(listed.provisionConfigs, "resource"), [ready.resource]);
  await refused("InvalidArgument", "putProvisionConfig", "s", "f", "prod", { target: -1 });
  assert.equal((await call("putProvisionConfig", "s", "f", "prod", { target: 0 })).target, 0);
  await until("nothing is provisioned", get, (reply) => reply.data.current === 0);

  const destination = { onSuccess: { destination: "acs:fc:::services/s/functions/g" } };
  const config = { maxAsyncRetryAttempts: 2, destinationConfig: destination, statefulInvocation: true };
  assert.equal((await call("putFunctionAsyncConfig", "s", "f", "prod", config)).maxAsyncRetryAttempts, 2);
  assert.deepEqual((await call("getFunctionAsyncConfig", "s", "f", "prod")).destinationConfig.onSuccess, destination.onSuccess);
  assert.equal((await call("listFunctionAsyncConfigs", "s", "f")).configs.length, 1);
  await call("deleteFunctionAsyncConfig", "s", "f", "prod");
  await refused("AsyncConfigNotExists", "getFunctionAsyncConfig", "s", "f", "prod");
}

async function removal() {
  await call("deleteAlias", "s", "prod");
  await refused("AliasNotFound", "getAlias", "s", "prod");
  await call("deleteVersion", "s", "1");
  await call("deleteVersion", "s", "2");
  await refused("ServiceNotEmpty", "deleteService", "s");
  await call("deleteFunction", "s", "f");
  await call("deleteFunction", "s", "g");
  await call("deleteService", "s");
  await call("deleteService", "other");
  await refused("ServiceNotFound", "getService", "s");
}

run(async () => {
  for (const part of [signatures, services, functions, invocations, uploads, triggers, versions, configs, removal]) await part();
});
