// The example server, which a test may stop and start again at the same address.
//
// PROGRAM   the example `bindings`, built

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

const { PROGRAM } = process.env;

/** How long the server may take to be ready, and to end. Milliseconds. */
const START_MAX_MS = 20_000;
const STOP_MAX_MS = 15_000;

/** How often a starting server is asked. Milliseconds. */
const ASK_EVERY_MS = 20;

/** Tells the server to stop when the pipe from us closes, which it does even when the test is killed. */
const KEEPER = '"$@" & cat >/dev/null; kill -TERM $!; wait $!';

/**
 * Ports below those that the system gives to clients: while the server is down nobody must take its port, and a
 * bridge that tries again must not connect to itself.
 */
const PORTS = { least: 10_000, count: 20_000 };

export class Server {
  /** @type {import("node:child_process").ChildProcess | null} */
  #keeper = null;

  /** @param {string} database @param {number} port */
  constructor(database, port) {
    this.database = database;
    this.port = port;
    this.host = `127.0.0.1:${port}`;
  }

  /** @param {string} database its address, as the server takes it */
  static async start(database) {
    const server = new Server(database, await freePort());
    await server.start();
    return server;
  }

  async start() {
    assert(PROGRAM, "PROGRAM is the example `bindings`: run `cargo xtask test --only interop`");
    const words = ["-c", KEEPER, "sh", PROGRAM, "--database", this.database, "--port", String(this.port)];
    const keeper = spawn("sh", words, { stdio: ["pipe", "inherit", "inherit"] });
    this.#keeper = keeper;
    const deadline = Date.now() + START_MAX_MS;
    while (!(await answers(this.port))) {
      assert.equal(keeper.exitCode, null, "the server ended before it was ready");
      assert(Date.now() < deadline, "the server is not ready in time");
      await pause(ASK_EVERY_MS);
    }
  }

  /** Stops it as a service manager does; it must end cleanly, and by then nobody answers. */
  async stop() {
    const keeper = this.#keeper;
    if (!keeper) return;
    this.#keeper = null;
    const ended = once(keeper, "exit", { signal: AbortSignal.timeout(STOP_MAX_MS) });
    keeper.stdin?.end();
    assert.deepEqual(await ended, [0, null]);
  }
}

async function freePort() {
  for (;;) {
    const port = PORTS.least + Math.floor(Math.random() * PORTS.count);
    if (!(await answers(port))) return port;
  }
}

/** @param {number} port @returns {Promise<boolean>} */
function answers(port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => socket.destroy() && resolve(true));
    socket.once("error", () => resolve(false));
  });
}
