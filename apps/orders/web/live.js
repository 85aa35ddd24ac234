// One WebSocket that stays: it opens when wanted, and comes back with back-off for ever when it is lost.

import { Backoff } from "./backoff.js";

/** How long an attempt may take, from the handshake until `confirm` is called. Milliseconds. */
const ATTEMPT_MAX_MS = 10_000;
/** After so many failed attempts in a row the session is checked: the browser hides why a handshake failed. */
const FAILURES_BEFORE_CHECK = 3;
/** Close codes by which a server says that it goes away: going away, service restart. */
const RESTART_CODES = [1001, 1012];

/** @typedef {import("./protocol.js").ServerMessage | import("./protocol.js").Tick} ServerMessage */
/** @typedef {import("./protocol.js").ClientMessage} ClientMessage */
/** @typedef {{ kind: "off" | "connecting" | "open" } | { kind: "waiting", seconds: number }} ConnectionState */

/**
 * @typedef {object} LiveOptions
 * @property {string} url
 * @property {() => void} onOpen the socket stands: say what is wanted, and call `confirm` once that is answered
 * @property {(message: ServerMessage) => void} onMessage
 * @property {(state: ConnectionState) => void} onState
 * @property {() => Promise<boolean>} isLoggedIn asked after several failures; rejects when the server cannot say
 * @property {() => void} onLoggedOut
 */

/**
 * The address of a socket of the site that the page is of.
 * @param {string} path
 */
export function socketUrl(path) {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`;
}

/**
 * @param {ConnectionState | { kind: "live" }} state
 * @returns {string} for people, for example "reconnecting in 3 s"
 */
export function sayState(state) {
  if (state.kind === "open") return "starting";
  if (state.kind !== "waiting") return state.kind;
  return `${navigator.onLine ? "" : "offline, "}reconnecting in ${state.seconds} s`;
}

export class Live {
  #wanted = false;
  #failures = 0;
  #backoff = new Backoff();
  #deadline = 0;
  /** @type {WebSocket | null} */
  #socket = null;
  /** The guard of a running attempt, or the countdown to the next one. @type {number | undefined} */
  #timer;
  #confirmed = false;
  #sessionChecked = false;

  /** @param {LiveOptions} options */
  constructor(options) {
    this.options = options;
    addEventListener("online", () => this.#networkIsBack());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.reconnectNow();
    });
  }

  /** Opens the socket and keeps it, until `stop`; on an open socket `onOpen` comes again. */
  start() {
    this.#wanted = true;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#opened();
    else this.#connect();
  }

  /** Wants nothing more. An open socket is kept for the next `start`; a lost one is not replaced. */
  stop() {
    this.#wanted = false;
    clearTimeout(this.#timer);
    this.#backoff.reset();
    this.#failures = 0;
    if (this.#socket?.readyState === WebSocket.CONNECTING) this.#drop();
    this.options.onState({ kind: "off" });
  }

  /** Wants nothing more, and keeps no socket either: nothing comes until the next `start`. */
  end() {
    this.stop();
    this.#drop();
  }

  /** Ends a wait early; does nothing when there is none. */
  reconnectNow() {
    if (this.#wanted && !this.#socket) this.#connect();
  }

  /** The server answered what `onOpen` said: the attempt has succeeded. */
  confirm() {
    clearTimeout(this.#timer);
    this.#confirmed = true;
    this.#sessionChecked = false;
    this.#failures = 0;
    this.#backoff.reset();
  }

  /** @param {ClientMessage} message dropped when the socket is not open; `onOpen` comes again */
  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #connect() {
    this.#drop();
    this.options.onState({ kind: "connecting" });
    const socket = new WebSocket(this.options.url);
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = (event) => this.options.onMessage(JSON.parse(event.data));
    socket.onclose = (event) => this.#lost(RESTART_CODES.includes(event.code));
    this.#guard();
  }

  #opened() {
    this.#guard();
    this.options.onState({ kind: "open" });
    this.options.onOpen();
  }

  /** Gives the attempt up when nobody confirms it in time. */
  #guard() {
    clearTimeout(this.#timer);
    this.#confirmed = false;
    this.#timer = setTimeout(() => this.#lost(false), ATTEMPT_MAX_MS);
  }

  /** @param {boolean} restarting */
  #lost(restarting) {
    const confirmed = this.#confirmed;
    this.#drop();
    if (!this.#wanted) return;
    this.#deadline = performance.now() + this.#backoff.next({ restarting });
    this.#countDown();
    if (!confirmed) void this.#failed();
  }

  #countDown() {
    const left = this.#deadline - performance.now();
    if (left <= 0) return this.#connect();
    this.options.onState({ kind: "waiting", seconds: Math.ceil(left / 1000) });
    this.#timer = setTimeout(() => this.#countDown(), left % 1000 || 1000);
  }

  /** Forgets the socket without hearing of it again. */
  #drop() {
    clearTimeout(this.#timer);
    this.#confirmed = false;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  async #failed() {
    this.#failures += 1;
    if (this.#sessionChecked || this.#failures % FAILURES_BEFORE_CHECK !== 0) return;
    try {
      if (!(await this.options.isLoggedIn())) this.options.onLoggedOut();
      this.#sessionChecked = true;
    } catch {
      // The server is away altogether; the next failures will ask again.
    }
  }

  /** A socket that stood across a loss of the network may be dead without anybody knowing: it is replaced. */
  #networkIsBack() {
    if (this.#wanted) this.#connect();
  }
}
