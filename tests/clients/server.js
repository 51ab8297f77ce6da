// A `strata serve` on a port of its own, and a fetch that checks every response that passes through it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { checkResponse } from "./shapes.js";

const { STRATA, MODEL } = process.env;

/** The server's address, once it is ready; it ends after the file's last test, and must then say exit 0. */
export async function startServer() {
  const server = spawn(STRATA, ["serve", MODEL, "--port", "0"], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise((resolve) => server.on("exit", (code, signal) => resolve(code ?? signal)));
  after(async () => {
    server.kill("SIGTERM");
    assert.equal(await ended, 0);
  });
  const log = [];
  const ready = new Promise((resolve) => {
    createInterface(server.stderr).on("line", (line) => {
      log.push(line);
      const address = /ready\s+(http:\S+)/.exec(line)?.[1];
      if (address) resolve(address);
    });
  });
  const gone = ended.then((code) => assert.fail(`no server (exit ${code}): ${log.join("\n")}`));
  gone.catch(() => {}); // counts only until the server is ready
  return Promise.race([ready, gone]);
}

/** A fetch for clients: what comes back is held against OpenAI's schema; `settled` waits for the checks and throws what they found. */
export function checkedFetch() {
  const checks = [];
  const fetchAndCheck = async (url, options) => {
    const response = await fetch(url, options);
    const copy = response.clone();
    const check = copy.text().then(
      (text) => checkResponse(new URL(url).pathname, copy.status, copy.headers, text),
      (error) => assert.equal(error.name, "AbortError"),
    );
    check.catch(() => {}); // settled() throws it
    checks.push(check);
    return response;
  };
  const settled = () => Promise.all(checks.splice(0));
  return { fetch: fetchAndCheck, settled };
}

/** Waits until the engine runs nothing; fails after `milliseconds`. */
export async function idle(address, milliseconds = 1000) {
  const deadline = performance.now() + milliseconds;
  for (;;) {
    const metrics = await (await fetch(`${address}/metrics`)).text();
    const of = (name) => Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, "m").exec(metrics)[1]);
    if (of("strata_num_requests_running") + of("strata_num_requests_waiting") === 0) return;
    assert.ok(performance.now() < deadline, "the engine still runs a request that its client has left");
  }
}
