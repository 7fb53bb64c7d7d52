// The calls of npm's `@alicloud/fc20230330` (FC 3.0) that Stoke serves. Arguments: endpoint, folder with code.zip.
"use strict";

const { Readable } = require("node:stream");
const { $OpenApiUtil } = require("@alicloud/openapi-core");
const $dara = require("@darabonba/typescript");
const sdk = require("@alicloud/fc20230330");
const { account, assert, caller, code, endpoint, key, refuser, run, shows, until } = require("./npm_driver.cjs");

const LATEST = { qualifier: "LATEST" };
const PROD = { qualifier: "prod" };
const names = (items, field) => items.map((item) => item[field]);

/** A client whose calls take plain values where the SDK wants its request models. */
function connect(settings = {}) {
  const config = { accessKeyId: key.id, accessKeySecret: key.secret, regionId: "cn-local", protocol: "http", ...settings };
  const client = new sdk.default(new $OpenApiUtil.Config({ endpoint: endpoint.replace("http://", ""), ...config }));
  return new Proxy(client, {
    get: (target, name) => (...given) => {
      const Request = sdk[`${name[0].toUpperCase()}${name.slice(1)}Request`];
      if (Request === undefined) return target[name](...given);
      const values = typeof given.at(-1) === "object" ? given.pop() : {};
      const Body = Request.types().body;
      const body = typeof Body === "function" ? { body: new Body(values.body) } : {};
      return target[name](...given, new Request({ ...values, ...body }));
    },
  });
}

const client = connect();
const call = caller(client, (answer) => answer.body);
const refused = refuser(client);

/** The payload of an invocation is a stream, sent in chunks of no announced length. */
async function invoke(payload, { qualifier = "LATEST", ...headers } = {}, by = client) {
  const request = new sdk.InvokeFunctionRequest({ body: Readable.from([Buffer.from(payload)]), qualifier });
  const runtime = new $dara.RuntimeOptions({});
  const answer = await by.invokeFunctionWithOptions("f", request, new sdk.InvokeFunctionHeaders(headers), runtime);
  const chunks = [];
  for await (const chunk of answer.body) chunks.push(chunk);
  return { text: Buffer.concat(chunks).toString(), headers: answer.headers, status: answer.statusCode };
}

async function signatures() {
  await refuser(connect({ accessKeyId: "nobody" }))("InvalidAccessKeyID", "listFunctions");
  await refuser(connect({ accessKeySecret: "another" }))("SignatureNotMatch", "listFunctions");
  await refuser(connect({ accessKeySecret: "another" }))("SignatureNotMatch", "createFunction", { body: { functionName: "stolen" } });
  const borrowed = connect({ securityToken: "token" });
  await caller(borrowed, (answer) => answer.body)("listFunctions");
}

async function functions() {
  const gpu = {
    functionName: "g", runtime: "custom-container", handler: "not-used", description: "d", cpu: 2, memorySize: 8192,
    diskSize: 512, timeout: 60, instanceConcurrency: 2, internetAccess: true, environmentVariables: { A: "b" },
    gpuConfig: { gpuType: "fc.gpu.tesla.1", gpuMemorySize: 8192 },
    customContainerConfig: {
      image: "registry.example/g:1", entrypoint: ["/bin/server"], command: ["--port", "9001"], port: 9001,
      healthCheckConfig: { httpGetUrl: "/ping", periodSeconds: 5 },
    },
    instanceLifecycleConfig: { initializer: { handler: "not-used", timeout: 30 }, preStop: { handler: "not-used", timeout: 5 } },
    logConfig: { project: "p", logstore: "l" },
    vpcConfig: { vpcId: "vpc-1", vSwitchIds: ["v"], securityGroupId: "g" },
    tags: [{ key: "team", value: "vision" }],
  };
  const { tags, ...kept } = gpu;
  const made = await call("createFunction", { body: gpu });
  shows(made, { ...kept, state: "Active", lastUpdateStatus: "Successful", functionArn: arnOf("g") }, "g");
  shows(await call("getFunction", "g"), kept, "g");
  await refused("FunctionAlreadyExists", "createFunction", { body: gpu });
  await refused("FunctionNotFound", "getFunction", "nobody");
  await refused("FunctionNotFound", "updateFunction", "nobody", { body: { timeout: 1 } });
  const plain = { functionName: "f", runtime: "python3", handler: "app.handler", memorySize: 256, timeout: 10, code };
  await call("createFunction", { body: plain });
  assert.equal((await call("updateFunction", "f", { body: { timeout: 20 } })).timeout, 20);
  const packed = await call("getFunctionCode", "f", LATEST);
  assert.equal(Buffer.from(await (await fetch(packed.url)).arrayBuffer()).toString("base64"), code.zipFile);
  assert.deepEqual(names((await call("listFunctions")).functions, "functionName"), ["f", "g"]);
  assert.deepEqual(names((await call("listFunctions", { gpuType: "fc.gpu.tesla.1" })).functions, "functionName"), ["g"]);
  const page = await call("listFunctions", { limit: 1 });
  assert.deepEqual(names(page.functions, "functionName"), ["f"]);
  assert.deepEqual(names((await call("listFunctions", { nextToken: page.nextToken })).functions, "functionName"), ["g"]);

  const of = { resourceId: [arnOf("g")], resourceType: "function" };
  await call("tagResources", { body: { ...of, tag: [{ key: "tier", value: "gpu" }] } });
  const found = (await call("listTagResources", of)).tagResources.map((tag) => `${tag.tagKey}=${tag.tagValue}`);
  assert.deepEqual(found.sort(), ["team=vision", "tier=gpu"]);
  await call("untagResources", { ...of, tagKey: ["tier"] });
  assert.equal((await call("listTagResources", of)).tagResources.length, 1);
  await call("untagResources", { ...of, all: true });
  await call("createVpcBinding", "f", { body: { vpcId: "vpc-1" } });
  assert.deepEqual((await call("listVpcBindings", "f")).vpcIds, ["vpc-1"]);
  await call("deleteVpcBinding", "f", "vpc-1");
  assert.deepEqual((await call("listLayers")).layers, []);
  assert.deepEqual((await call("listLayerVersions", "l")).layers, []);
}

function arnOf(name) {
  return `acs:fc:cn-local:${account}:functions/${name}`;
}

async function invocations() {
  const answer = await until("the function answers", () => invoke("abc"), (reply) => reply.text === "cba");
  console.log("invokeFunction");
  assert.ok(answer.headers["x-fc-request-id"]);
  const [instance] = (await call("listInstances", "f", LATEST)).instances;
  assert.equal(instance.instanceId, answer.headers["x-fc-instance-id"]);
  const failed = await invoke("fail");
  assert.deepEqual([failed.status, failed.headers["x-fc-error-type"]], [200, "UnhandledInvocationError"]);
  assert.equal(JSON.parse(failed.text).errorMessage, "as asked");
  console.log("invokeFunction x-fc-error-type");
  await assert.rejects(invoke("abc", {}, connect({ accessKeySecret: "another" })), { code: "SignatureNotMatch" });
  console.log("invokeFunction SignatureNotMatch");

  await call("disableFunctionInvocation", "f", { reason: "maintenance" });
  assert.equal((await call("getFunction", "f")).invocationRestriction.reason, "maintenance");
  await until("the gateway refuses", () => invoke("abc").catch((error) => error), (reply) => reply.statusCode === 403);
  await call("enableFunctionInvocation", "f");
  assert.equal((await call("getFunction", "f")).invocationRestriction, undefined);
  await until("the gateway lets in", () => invoke("abc"), (reply) => reply.text === "cba");
}

async function tasks() {
  const destination = { onSuccess: { destination: "acs:fc:::functions/g" } };
  const config = { maxAsyncRetryAttempts: 2, maxAsyncEventAgeInSeconds: 600, asyncTask: true };
  shows(await call("putAsyncInvokeConfig", "f", { ...LATEST, body: { ...config, destinationConfig: destination } }), config, "put");
  shows((await call("getAsyncInvokeConfig", "f", LATEST)).destinationConfig, destination, "get");
  await call("putAsyncInvokeConfig", "f", { ...LATEST, body: config });
  assert.equal((await call("listAsyncInvokeConfigs", { functionName: "f" })).configs.length, 1);

  const later = { xFcInvocationType: "Async", xFcAsyncTaskId: "once" };
  const accepted = await invoke("abc", later);
  assert.deepEqual([accepted.status, accepted.headers["x-fc-async-task-id"], accepted.text], [202, "once", ""]);
  console.log("invokeFunction Async");
  const get = () => client.getAsyncTask("f", "once", LATEST);
  const task = (await until("the task ends", get, (reply) => reply.body.status === "Succeeded")).body;
  console.log("getAsyncTask");
  shows(task, { taskId: "once", functionArn: `${arnOf("f")}/LATEST`, returnPayload: "cba", taskPayload: "abc", alreadyRetriedTimes: 0 }, "task");
  assert.ok(task.endTime >= task.startedTime && task.events.length > 0);
  assert.deepEqual(names((await call("listAsyncTasks", "f", { ...LATEST, prefix: "on" })).tasks, "taskId"), ["once"]);
  await refused("PreconditionFailed", "stopAsyncTask", "f", "once", LATEST);
  await refused("AsyncTaskNotFound", "getAsyncTask", "f", "never", LATEST);
  await call("deleteAsyncInvokeConfig", "f", LATEST);
  await refused("AsyncConfigNotExists", "getAsyncInvokeConfig", "f", LATEST);
}

async function triggers() {
  const config = { authType: "anonymous", methods: ["GET"] };
  const wanted = { triggerName: "t", triggerType: "http", triggerConfig: JSON.stringify(config), qualifier: "LATEST" };
  const made = await call("createTrigger", "f", { body: wanted });
  shows(JSON.parse(made.triggerConfig), config, "triggerConfig");
  assert.equal(made.targetArn, arnOf("f"));
  assert.ok(made.httpTrigger.urlInternet.startsWith(endpoint), made.httpTrigger.urlInternet);
  await until("anybody may ask", () => fetch(made.httpTrigger.urlInternet), (got) => got.status === 200);
  await refused("TriggerAlreadyExists", "createTrigger", "f", { body: wanted });
  assert.equal((await call("getTrigger", "f", "t")).triggerName, "t");
  assert.equal((await call("updateTrigger", "f", "t", { body: { description: "d" } })).description, "d");
  assert.deepEqual(names((await call("listTriggers", "f")).triggers, "triggerName"), ["t"]);

  const routes = { routes: [{ path: "/*", functionName: "f", qualifier: "LATEST", methods: ["GET"] }] };
  const domain = { domainName: "www.example.com", protocol: "HTTP", routeConfig: routes };
  shows(await call("createCustomDomain", { body: domain }), { domainName: "www.example.com" }, "domain");
  shows((await call("getCustomDomain", "www.example.com")).routeConfig.routes[0], routes.routes[0], "route");
  routes.routes[0].path = "/a/*";
  const moved = await call("updateCustomDomain", "www.example.com", { body: { routeConfig: routes } });
  assert.equal(moved.routeConfig.routes[0].path, "/a/*");
  assert.deepEqual(names((await call("listCustomDomains")).customDomains, "domainName"), ["www.example.com"]);
  await call("deleteCustomDomain", "www.example.com");
  await refused("DomainNameNotFound", "getCustomDomain", "www.example.com");
  await refused("FunctionNotEmpty", "deleteFunction", "f");
  await call("deleteTrigger", "f", "t");
}

async function versions() {
  assert.equal((await call("publishFunctionVersion", "f", { body: { description: "first" } })).versionId, "1");
  assert.equal((await call("publishFunctionVersion", "f", { body: {} })).versionId, "2");
  assert.deepEqual(names((await call("listFunctionVersions", "f")).versions, "versionId"), ["2", "1"]);
  const wanted = { aliasName: "prod", versionId: "1", additionalVersionWeight: { 2: 0.1 } };
  shows(await call("createAlias", "f", { body: wanted }), wanted, "alias");
  shows(await call("getAlias", "f", "prod"), wanted, "alias");
  assert.equal((await call("updateAlias", "f", "prod", { body: { versionId: "2", additionalVersionWeight: {} } })).versionId, "2");
  assert.deepEqual(names((await call("listAliases", "f")).aliases, "aliasName"), ["prod"]);
  const reply = await until("the alias answers", () => invoke("abc", PROD), (got) => got.text === "cba");
  assert.equal(reply.headers["x-fc-invocation-service-version"], "2");
  console.log("invokeFunction prod");
}

async function provisioned() {
  const none = await call("getProvisionConfig", "f", PROD);
  assert.deepEqual([none.functionArn, none.current, none.target], ["", 0, 0]);
  const policy = {
    name: "p", metricType: "GPUMemUtilization", metricTarget: 0.6, minCapacity: 1, maxCapacity: 4,
    startTime: "2020-01-01T00:00:00Z", endTime: "2020-01-02T00:00:00Z", timeZone: "Asia/Shanghai",
  };
  const action = { name: "a", target: 3, scheduleExpression: "cron(0 0 20 * * *)", timeZone: "Asia/Shanghai", endTime: "2020-01-02T00:00:00Z" };
  const flags = { alwaysAllocateCPU: false, alwaysAllocateGPU: false };
  const lists = { scheduledActions: [action], targetTrackingPolicies: [policy] };
  shows(await call("putProvisionConfig", "f", { ...PROD, body: { defaultTarget: 1, ...flags, ...lists } }), { defaultTarget: 1, target: 1 }, "put");
  const get = () => client.getProvisionConfig("f", PROD);
  const ready = (await until("an instance is ready", get, (reply) => reply.body.current === reply.body.target)).body;
  console.log("getProvisionConfig");
  shows(ready, { ...flags, functionArn: `${arnOf("f")}/prod`, current: 1, currentError: "" }, "ready");
  shows(ready.scheduledActions[0], action, "action");
  shows(ready.targetTrackingPolicies[0], policy, "policy");
  assert.equal((await call("listProvisionConfigs", { functionName: "f" })).provisionConfigs.length, 1);
  await refused("InvalidArgument", "putProvisionConfig", "f", { ...PROD, body: { defaultTarget: -1 } });

  const rule = { name: "p", metricType: "GPUSmUtilization", metricTarget: 0.6, minInstances: 1, maxInstances: 5 };
  const scaling = { ...PROD, body: { minInstances: 1, horizontalScalingPolicies: [rule] } };
  await refused("ProvisionConfigExist", "putScalingConfig", "f", scaling);
  await call("deleteProvisionConfig", "f", PROD);
  await until("nothing is provisioned", get, (reply) => reply.body.current === 0);
  shows(await call("putScalingConfig", "f", scaling), { functionArn: `${arnOf("f")}/prod`, minInstances: 1 }, "scaling");
  shows((await call("getScalingConfig", "f", PROD)).horizontalScalingPolicies[0], rule, "rule");
  assert.equal((await call("listScalingConfigs", { functionName: "f" })).scalingConfigs.length, 1);
  await refused("ResidentScalingConfigExists", "putProvisionConfig", "f", { ...PROD, body: { defaultTarget: 2 } });
  await call("deleteScalingConfig", "f", PROD);

  assert.equal((await call("putConcurrencyConfig", "f", { body: { reservedConcurrency: 10 } })).reservedConcurrency, 10);
  assert.equal((await call("getConcurrencyConfig", "f")).functionArn, arnOf("f"));
  assert.equal((await call("listConcurrencyConfigs", { functionName: "f" })).configs.length, 1);
  await call("deleteConcurrencyConfig", "f");
  assert.equal((await call("getConcurrencyConfig", "f")).reservedConcurrency, undefined);
}

async function removal() {
  await call("deleteAlias", "f", "prod");
  await call("deleteFunctionVersion", "f", "1");
  await call("deleteFunctionVersion", "f", "2");
  await call("deleteFunction", "f");
  await call("deleteFunction", "g");
  await refused("FunctionNotFound", "getFunction", "f");
}

run(async () => {
  for (const part of [signatures, functions, invocations, tasks, triggers, versions, provisioned, removal]) await part();
});
