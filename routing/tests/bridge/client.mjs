// A page of Channels 1: its own `websocketbridge.js`, as it is, with as much of a browser as it asks for.
//
// BRIDGE   the file `websocketbridge.js` of channels 1.1.8

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import vm from "node:vm";
import WebSocket from "ws";

/** How long a frame may take. Milliseconds. */
const FRAME_MAX_MS = 10_000;

/**
 * What the bridge is told: to wait no longer than one to two times 50 ms before it connects again, and never to close
 * a connection that is not there in time, for it closes whichever it has by then.
 */
const OPTIONS = { minReconnectionDelay: 50, connectionTimeout: 600_000 };

const { BRIDGE } = process.env;
assert(BRIDGE, "BRIDGE is the websocketbridge.js of channels 1.1.8: run `cargo xtask test --only interop`");
globalThis.window = { location: { protocol: "http:", host: "" } };
globalThis.WebSocket = WebSocket;
vm.runInThisContext(readFileSync(BRIDGE, "utf8"), { filename: BRIDGE });
const { WebSocketBridge } = globalThis.window.channels;

/** What has come and what is waited for. */
class Inbox {
  #items = [];
  #waiting = [];

  put(item) {
    const take = this.#waiting.shift();
    if (take) take(item);
    else this.#items.push(item);
  }

  /** The next item, in the order in which they came. @param {string} what for the message when none comes */
  async next(what) {
    if (this.#items.length) return this.#items.shift();
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error(`no ${what} came within ${FRAME_MAX_MS} ms`));
      const timer = setTimeout(late, FRAME_MAX_MS);
      this.#waiting.push((item) => {
        clearTimeout(timer);
        resolve(item);
      });
    });
  }

  get size() {
    return this.#items.length;
  }
}

/** Clients that are not closed: a bridge that is forgotten connects for ever. @type {Set<Client>} */
const open = new Set();

export class Client {
  /** How often the bridge has connected. */
  opened = new Inbox();
  /** Changes and snapshots of the stream `things`. */
  events = new Inbox();
  /** What `things` answers to requests. */
  answers = new Inbox();
  /** What the stream `echo` and streams that there are none of say. */
  others = new Inbox();
  /** The rows as this client knows them, by key. @type {Map<number, object>} */
  view = new Map();
  #requests = 0;

  /** @param {import("./server.mjs").Server} server @param {string} rooms the rooms that it may watch: "1,2" */
  constructor(server, rooms) {
    window.location.host = server.host;
    open.add(this);
    this.bridge = new WebSocketBridge();
    this.bridge.connect(`/ws/?rooms=${rooms}`, undefined, OPTIONS);
    // A connection that is refused is tried again; without a listener the module `ws` would end the process.
    this.bridge.socket.addEventListener("error", () => {});
    this.bridge.socket.addEventListener("open", () => this.opened.put(true));
    this.bridge.listen();
    this.bridge.demultiplex("things", (payload) => this.#hear(payload));
    for (const stream of ["echo", "nope", null]) {
      this.bridge.demultiplex(stream, (payload, name) => this.others.put({ stream: name, payload }));
    }
  }

  /** A client that is connected. */
  static async connect(server, rooms) {
    const client = new Client(server, rooms);
    await client.opened.next("connection");
    return client;
  }

  /** A client that is connected and has a snapshot. */
  static async subscribed(server, rooms) {
    const client = await Client.connect(server, rooms);
    client.say({ action: "subscribe" });
    const snapshot = await client.event();
    assert.equal(snapshot.action, "snapshot");
    return client;
  }

  /** Says something to the stream `things`. */
  say(payload) {
    this.bridge.stream("things").send(payload);
  }

  /** The next change or snapshot. */
  event() {
    return this.events.next("event");
  }

  /** The answer of the stream `things` to a request. */
  async ask(payload) {
    const request_id = ++this.#requests;
    this.say({ ...payload, request_id });
    const answer = await this.answers.next("answer");
    assert.equal(answer.request_id, request_id);
    delete answer.request_id;
    return answer;
  }

  /** Makes a row, and gives its key. */
  async create(data) {
    const answer = await this.ask({ action: "create", data });
    assert.equal(answer.ok, "create", JSON.stringify(answer));
    return answer.pk;
  }

  /** Changes a row. */
  async update(pk, data) {
    assert.deepEqual(await this.ask({ action: "update", pk, data }), { ok: "update", pk });
  }

  /** Deletes a row. */
  async delete(pk) {
    assert.deepEqual(await this.ask({ action: "delete", pk }), { ok: "delete", pk });
  }

  /** Closes all clients that are left, for good. */
  static hangUp() {
    for (const client of open) client.#hangUp();
  }

  #hangUp() {
    open.delete(this);
    this.bridge.socket.close(1000, "", { keepClosed: true });
  }

  /** Asserts that everything that came was looked at, and closes for good. */
  close() {
    const unread = [this.events, this.answers, this.others].map((inbox) => inbox.size);
    this.#hangUp();
    assert.deepEqual(unread, [0, 0, 0], "frames that nobody expected");
  }

  #hear(payload) {
    if (payload.request_id !== undefined || payload.error !== undefined) {
      this.answers.put(payload);
      return;
    }
    if (payload.action === "snapshot") {
      if (payload.begins) this.view.clear();
      for (const { pk, data } of payload.rows) this.view.set(pk, data);
    } else if (payload.action === "delete") {
      this.view.delete(payload.pk);
    } else {
      this.view.set(payload.pk, payload.data);
    }
    this.events.put(payload);
  }
}
