// A process of the site that a test may stop and start again, beside those that are there.
//
// PROGRAM   the program under test; it finds database and channel layer in its environment, as the others did

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { eventually } from "./window.mjs";

const PROGRAM = process.env.PROGRAM ?? "manage";

/** How long a process may take to be ready, and to end. Milliseconds. */
const START_MAX_MS = 20_000;
const STOP_MAX_MS = 15_000;

/** Tells the program to stop when the pipe from us closes, which it does even when the test is killed. */
const KEEPER = '"$@" & cat >/dev/null; kill -TERM $!; wait $!';

/**
 * Ports below those that the system gives to clients: while the process is down nobody must take its port, and a
 * window that tries again must not connect to itself.
 */
const PORTS = { least: 10_000, count: 20_000 };

export class Process {
  /** @type {import("node:child_process").ChildProcess | null} */
  #keeper = null;

  /** @param {number} port */
  constructor(port) {
    this.address = `127.0.0.1:${port}`;
    this.url = `http://${this.address}`;
  }

  static async start() {
    const started = new Process(await freePort());
    await started.start();
    return started;
  }

  /** Starts it, again at the same address if it was stopped, and waits until it is ready. */
  async start() {
    const words = ["-c", KEEPER, "sh", PROGRAM, "runserver", this.address];
    this.#keeper = spawn("sh", words, { stdio: ["pipe", "ignore", "inherit"] });
    await eventually(async () => assert.equal((await fetch(`${this.url}/readyz`)).status, 200), START_MAX_MS);
  }

  /** Stops it as a service manager does; it must end cleanly, and by then nobody answers. Without one, nothing happens. */
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
    if (await isFree(port)) return port;
  }
}

/** @param {number} port @returns {Promise<boolean>} */
function isFree(port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => socket.destroy() && resolve(false));
    socket.once("error", () => resolve(true));
  });
}
