// The socket that comes back, on a mocked clock and against sockets that do what the test says.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Live } from "../live.js";

/** @type {FakeSocket[]} */
let sockets = [];
/** @type {Map<string, () => void>} */
const listeners = new Map();

class FakeSocket {
  static CONNECTING = 0;
  static OPEN = 1;
  readyState = FakeSocket.CONNECTING;
  sent = [];
  constructor() {
    sockets.push(this);
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.readyState = 3;
  }
  /** The handshake succeeds. */
  opens() {
    this.readyState = FakeSocket.OPEN;
    this.onopen?.();
  }
  /** The connection ends or is refused. */
  ends(code = 1006) {
    this.readyState = 3;
    this.onclose?.({ code });
  }
}

Object.assign(globalThis, {
  WebSocket: FakeSocket,
  addEventListener: (name, listener) => listeners.set(name, listener),
  document: { visibilityState: "visible", addEventListener: (name, listener) => listeners.set(name, listener) },
});

beforeEach(() => (sockets = []));

/** A connection on a mocked clock; `log` is what it said. */
function setUp(context, options = {}) {
  let clock = 0;
  context.mock.timers.enable({ apis: ["setTimeout"] });
  context.mock.method(performance, "now", () => clock);
  const log = [];
  const live = new Live({
    url: "ws://test/",
    onOpen: () => log.push("asked"),
    onMessage: () => {},
    onState: (state) => log.push(state.kind),
    isLoggedIn: async () => true,
    onLoggedOut: () => log.push("logged out"),
    ...options,
  });
  const pass = (ms) => {
    for (let left = ms; left > 0; left -= 100) {
      clock += 100;
      context.mock.timers.tick(100);
    }
  };
  /** The newest socket ends, and the wait after that, which is never longer than 15 s. */
  const fail = async () => {
    const before = sockets.length;
    sockets.at(-1)?.ends();
    await settle();
    for (let waited = 0; sockets.length === before && waited < 15_000; waited += 100) pass(100);
    assert.equal(sockets.length, before + 1);
  };
  return { live, log, pass, fail };
}

/** Lets promises that are due run. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

test("it connects only when wanted, asks, and is confirmed", (context) => {
  const { live, log, pass } = setUp(context);
  assert.equal(sockets.length, 0);
  live.start();
  sockets[0].opens();
  live.confirm();
  pass(60_000);
  assert.deepEqual(log, ["connecting", "open", "asked"]);
  assert.equal(sockets.length, 1);
});

test("once ended it keeps no socket, and a later start makes one", (context) => {
  const { live, log, pass } = setUp(context);
  live.start();
  sockets[0].opens();
  live.confirm();
  live.end();
  assert.equal(sockets[0].readyState, 3);
  assert.equal(log.at(-1), "off");
  listeners.get("visibilitychange")?.();
  listeners.get("online")?.();
  pass(60_000);
  assert.equal(sockets.length, 1);
  live.start();
  assert.equal(sockets.length, 2);
});

test("a lost socket is replaced and asked again", (context) => {
  const { live, log, pass } = setUp(context);
  live.start();
  sockets[0].opens();
  live.confirm();
  sockets[0].ends();
  pass(1_600);
  sockets[1].opens();
  assert.equal(log.filter((entry) => entry === "asked").length, 2);
});

test("an answer that never comes counts as a lost socket", (context) => {
  const { live, log, pass } = setUp(context);
  live.start();
  sockets[0].opens();
  pass(9_900);
  assert.equal(log.at(-1), "asked");
  pass(100);
  assert.equal(log.at(-1), "waiting");
  assert.equal(sockets[0].readyState, 3);
});

test("it tries for ever", async (context) => {
  const { live, fail } = setUp(context);
  live.start();
  for (let attempt = 1; attempt <= 100; attempt += 1) await fail();
});

test("after three failures the session is asked for once; when it has ended, that is told", async (context) => {
  const answers = [true, false];
  let asked = 0;
  const { live, log, fail } = setUp(context, { isLoggedIn: async () => answers[asked++] });
  live.start();
  for (let n = 1; n <= 12; n += 1) {
    await fail();
    assert.equal(asked, n < 3 ? 0 : 1);
  }
  sockets.at(-1)?.opens();
  live.confirm();
  // The first of these is the loss of a connection that stood, which is no failed attempt.
  for (let n = 0; n < 4; n += 1) await fail();
  assert.equal(asked, 2);
  assert.ok(log.includes("logged out"));
});

test("when the server cannot say, it is asked again later", async (context) => {
  let asked = 0;
  const isLoggedIn = async () => {
    asked += 1;
    throw new Error("away");
  };
  const { live, fail } = setUp(context, { isLoggedIn });
  live.start();
  for (let n = 0; n < 6; n += 1) await fail();
  assert.equal(asked, 2);
});

test("a page that becomes visible and a wish end the wait", (context) => {
  const { live } = setUp(context);
  live.start();
  sockets[0].ends();
  listeners.get("visibilitychange")?.();
  assert.equal(sockets.length, 2);
  sockets[1].ends();
  live.reconnectNow();
  assert.equal(sockets.length, 3);
  live.reconnectNow();
  assert.equal(sockets.length, 3);
});

test("a network that is back replaces a socket that may be dead", (context) => {
  const { live } = setUp(context);
  live.start();
  sockets[0].opens();
  live.confirm();
  listeners.get("online")?.();
  assert.equal(sockets.length, 2);
  assert.equal(sockets[0].readyState, 3);
});

test("stop ends the attempts and keeps an open socket", (context) => {
  const { live, log, pass } = setUp(context);
  live.start();
  sockets[0].ends();
  live.stop();
  pass(60_000);
  assert.equal(sockets.length, 1);
  live.start();
  sockets[1].opens();
  live.confirm();
  live.stop();
  live.start();
  assert.equal(sockets.length, 2);
  assert.equal(log.filter((entry) => entry === "asked").length, 2);
});
