// What the drivers of the npm clients share: calls that are printed, refusals that must come, and waiting with a deadline.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");

const WAIT_MS = 30_000;
const PAUSE_MS = 50;

const [endpoint, folder] = process.argv.slice(2);
const account = process.env.STOKE_ACCOUNT_ID;
const key = { id: process.env.STOKE_ACCESS_KEY_ID, secret: process.env.STOKE_ACCESS_KEY_SECRET };
const codeFile = path.join(folder, "code.zip");
const code = { zipFile: fs.readFileSync(codeFile).toString("base64") };

/** `call(name, ...arguments)` of a client: prints the name, and gives what `read` takes from the answer. */
function caller(client, read) {
  return async (name, ...given) => {
    const answer = await client[name](...given);
    console.log(name);
    return read(answer);
  };
}

/** A call that must be refused with FC's code, as the client itself reads it. */
function refuser(client) {
  return async (expected, name, ...given) => {
    let answer;
    try {
      answer = await client[name](...given);
    } catch (error) {
      assert.equal(error.code, expected, `${name}: ${error.stack}`);
      console.log(name, expected);
      return error;
    }
    assert.fail(`${name} went through: ${JSON.stringify(answer)}`);
  };
}

/** What is expected stands in the answer; objects may have more keys there. */
function shows(actual, expected, where) {
  if (typeof expected !== "object" || Array.isArray(expected)) return assert.deepEqual(actual, expected, where);
  for (const [field, value] of Object.entries(expected)) shows(actual?.[field], value, `${where}.${field}`);
}

/** Ask again until the answer is as `good` wants it; a refusal counts as not yet, and is named when time is up. */
async function until(what, ask, good) {
  const deadline = performance.now() + WAIT_MS;
  for (let last; ; await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))) {
    try {
      last = await ask();
      if (good(last)) return last;
    } catch (error) {
      if (error instanceof TypeError) throw error;
      last = error;
    }
    assert.ok(performance.now() < deadline, `not within ${WAIT_MS} ms: ${what}; last: ${last?.stack ?? JSON.stringify(last)}`);
  }
}

/** Run a driver; what it throws is its exit status. */
function run(driver) {
  driver().catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
}

module.exports = { account, assert, caller, code, codeFile, endpoint, key, refuser, run, shows, until };
