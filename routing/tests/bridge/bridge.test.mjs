// The bridge of Channels 1 against streams and bindings of the example server, on each of the databases.
//
// DATABASES   their addresses, with a space between them, as the server takes them

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client } from "./client.mjs";
import { Server } from "./server.mjs";

/** How many bridges hear of the same rows. */
const MANY = 20;

const databases = (process.env.DATABASES ?? "").split(" ").filter(Boolean);
assert(databases.length, "DATABASES names at least one: run `cargo xtask test --only interop`");

/** A room that no other test uses, nor one of an earlier run on the same database. */
let rooms = Date.now();
const room = () => ++rooms;

/** What everyone sees of a row that was made of this. */
const shown = (data) => ({ amount: 0, locked: false, ...data });

/** A change without its key, which is different each time. */
function plain({ key, ...event }) {
  assert.equal(typeof key, "string");
  return event;
}

const model = "app.thing";
const created = (pk, data) => ({ action: "create", pk, data: shown(data), model });
const updated = (pk, data) => ({ action: "update", pk, data: shown(data), model });
const deleted = (pk) => ({ action: "delete", pk, model });

for (const database of databases) {
  describe(`on ${database.split(":")[0]}`, () => {
    /** @type {Server} */
    let server;
    /** Writes, and watches nothing. @type {Client} */
    let writer;
    before(async () => {
      server = await Server.start(database);
      writer = await Client.connect(server, "0");
    });
    after(async () => {
      Client.hangUp();
      await server?.stop();
    });

    test("a stream is one's own", async () => {
      const client = await Client.connect(server, "0");
      for (const payload of [{ n: 1 }, { text: "zoë ☃", list: [1.5, null, { deep: true }] }, {}]) {
        client.bridge.stream("echo").send(payload);
        assert.deepEqual(await client.others.next("echo"), { stream: "echo", payload });
      }
      client.close();
    });

    test("what is for no stream is answered, and the socket lives", async () => {
      const client = await Client.connect(server, "0");
      const { bridge } = client;
      bridge.stream("nope").send({ n: 1 });
      const unknown = await client.others.next("answer");
      assert.deepEqual(unknown, { stream: "nope", payload: { error: 'there is no stream "nope"' } });
      bridge.send({ payload: {} });
      assert.equal((await client.others.next("answer")).stream, null);
      bridge.send({ stream: "echo" });
      assert.match((await client.others.next("answer")).payload.error, /payload/);
      bridge.socket.send("{");
      assert.equal((await client.others.next("answer")).stream, null);
      bridge.stream("echo").send({ n: 2 });
      assert.deepEqual((await client.others.next("echo")).payload, { n: 2 });
      client.close();
    });

    test("who subscribes gets what there is, and then what changes", async () => {
      const [here, elsewhere] = [room(), room()];
      const one = { name: "one", amount: 1, price: "1.50", room: here };
      const pk = await writer.create(one);
      await writer.create({ name: "other", price: "1.00", room: elsewhere });
      const client = await Client.connect(server, here);
      client.say({ action: "subscribe" });
      const rows = [{ pk, data: shown(one) }];
      const snapshot = { action: "snapshot", rows, model, begins: true, complete: true };
      assert.deepEqual(await client.event(), snapshot);

      const two = { name: "two ☃", price: "9999999999.99", room: here };
      const second = await writer.create(two);
      assert.deepEqual(plain(await client.event()), created(second, two));
      await writer.update(second, { amount: -7, price: "0.10" });
      assert.deepEqual(plain(await client.event()), updated(second, { ...two, amount: -7, price: "0.10" }));
      await writer.update(second, { amount: -7 });
      await writer.delete(pk);
      assert.deepEqual(plain(await client.event()), deleted(pk), "a row that did not change tells nothing");
      assert.deepEqual([...client.view.keys()], [second]);

      assert.deepEqual(await client.ask({ action: "unsubscribe" }), { ok: "unsubscribe" });
      await writer.delete(second);
      client.say({ action: "subscribe" });
      assert.deepEqual((await client.event()).rows, []);
      client.close();
    });

    test("a row that moves leaves one group and enters the other", async () => {
      const [from, to] = [room(), room()];
      const [old, young, both] = await Promise.all(
        [from, to, `${from},${to}`].map((watched) => Client.subscribed(server, watched)),
      );
      const data = { name: "mover", price: "2.00", room: from };
      const pk = await writer.create(data);
      for (const client of [old, both]) assert.deepEqual(plain(await client.event()), created(pk, data));
      const moved = { ...data, room: to, price: "3.00" };
      await writer.update(pk, { room: to, price: "3.00" });
      assert.deepEqual(plain(await old.event()), deleted(pk), "with nothing of what it is by now");
      assert.deepEqual(plain(await young.event()), created(pk, moved));
      assert.deepEqual(plain(await both.event()), deleted(pk));
      assert.deepEqual(plain(await both.event()), created(pk, moved));
      await writer.delete(pk);
      for (const client of [young, both]) assert.deepEqual(plain(await client.event()), deleted(pk));
      for (const client of [old, young, both]) {
        assert.deepEqual([...client.view], []);
        client.close();
      }
    });

    test("what is not permitted is refused, and changes nothing", async () => {
      const here = room();
      const client = await Client.subscribed(server, here);
      const data = { name: "fixed", price: "1.00", room: here, locked: true };
      const pk = await writer.create(data);
      assert.deepEqual(plain(await client.event()), created(pk, data));
      for (const request of [
        { action: "update", pk, data: { price: "2.00" } },
        { action: "update", pk, data: { locked: false } },
        { action: "delete", pk },
      ]) {
        const { action } = request;
        assert.deepEqual(await client.ask(request), { error: "not permitted", action, pk });
      }
      await writer.create({ ...data, name: "next" });
      assert.equal((await client.event()).data.name, "next", "the refused writes told nothing");
      assert.deepEqual(client.view.get(pk), shown(data));
      client.close();
    });

    test("nobody subscribes to what is no room", async () => {
      const client = await Client.connect(server, "everything");
      const answer = await client.ask({ action: "subscribe" });
      assert.deepEqual(answer, { error: "not permitted", action: "subscribe" });
      client.close();
    });

    test("what is not valid is refused field by field, and changes nothing", async () => {
      const here = room();
      const client = await Client.subscribed(server, here);
      const data = { name: "good", amount: 1, price: "1.00", room: here };
      const pk = await writer.create(data);
      assert.deepEqual(plain(await client.event()), created(pk, data));
      const create = (wrong) => ({ action: "create", data: { ...data, ...wrong } });
      const update = (wrong) => ({ action: "update", pk, data: wrong });
      for (const [request, field] of [
        [create({ amount: "many" }), "amount"],
        [create({ amount: 1.5 }), "amount"],
        [create({ price: "much" }), "price"],
        [create({ price: null }), "price"],
        [create({ room: [1] }), "room"],
        [create({ name: "" }), "name"],
        [create({ id: 1 }), "id"],
        [create({ colour: "red" }), "colour"],
        [update({ amount: "many" }), "amount"],
        [update({ locked: "perhaps" }), "locked"],
        [update({ name: "" }), "name"],
        [update({ id: 1 }), "id"],
        [update({ price: "2.00", colour: "red" }), "colour"],
      ]) {
        const answer = await client.ask(request);
        assert.equal(answer.error, "invalid", JSON.stringify(request));
        assert.equal(answer.action, request.action);
        assert.deepEqual(Object.keys(answer.fields), [field], JSON.stringify(answer));
        for (const reason of answer.fields[field]) assert.equal(typeof reason, "string");
      }
      const missing = await client.ask({ action: "create", data: { amount: 1, price: "1.00", room: here } });
      assert.equal(missing.error, "invalid", "a name is missing");
      await writer.update(pk, { amount: 2 });
      assert.deepEqual(plain(await client.event()), updated(pk, { ...data, amount: 2 }));
      client.close();
    });

    // SQLite has no such columns.
    test("what does not fit its column is refused", { skip: database.startsWith("sqlite:") }, async () => {
      const here = room();
      const data = { name: "x".repeat(40), price: "9999999999.99", room: here };
      const pk = await writer.create(data);
      for (const wrong of [{ name: "x".repeat(41) }, { price: "10000000000" }]) {
        for (const request of [
          { action: "create", data: { ...data, ...wrong } },
          { action: "update", pk, data: wrong },
        ]) {
          const answer = await writer.ask(request);
          assert.equal(answer.error, "invalid", `${request.action} ${JSON.stringify(wrong)}`);
          assert.deepEqual(Object.keys(answer.fields), ["non_field_errors"]);
        }
      }
    });

    test("what is not there, and what is no request, is answered", async () => {
      const pk = 987_654_321;
      for (const request of [{ action: "update", data: { name: "x" } }, { action: "delete" }]) {
        assert.deepEqual(await writer.ask({ ...request, pk }), { error: "not found", action: request.action, pk });
        assert.equal((await writer.ask(request)).error, "bad request", "no pk");
        assert.equal((await writer.ask({ ...request, pk: { a: 1 } })).error, "bad request", "no kind of pk");
        assert.equal((await writer.ask({ ...request, pk: "no number" })).error, "not found");
      }
      for (const request of [{}, { action: "frob" }, { action: 1 }, { action: "create", data: [] }]) {
        assert.equal((await writer.ask(request)).error, "bad request", JSON.stringify(request));
      }
      writer.say({ action: "frob" });
      const answer = await writer.answers.next("answer");
      assert.equal(answer.error, "bad request", "without a request id too");
    });

    test("many bridges hear the same, in the same order", async () => {
      const here = room();
      const clients = await Promise.all(Array.from({ length: MANY }, () => Client.subscribed(server, here)));
      // Each of them writes, side by side.
      await Promise.all(
        clients.map(async (client, nth) => {
          const pk = await client.create({ name: `of ${nth}`, price: "1.00", room: here });
          await client.update(pk, { amount: nth + 1 });
          if (nth % 2) await client.delete(pk);
        }),
      );
      const expected = MANY * 2 + MANY / 2;
      const [first, ...others] = await Promise.all(
        clients.map(async (client) => {
          const events = [];
          while (events.length < expected) events.push(await client.event());
          return events;
        }),
      );
      for (const events of others) assert.deepEqual(events, first);
      assert.equal(new Set(first.map(({ key }) => key)).size, expected, "each change has a key of its own");
      assert.equal(clients[0].view.size, MANY / 2);
      for (const client of clients) {
        assert.deepEqual(client.view, clients[0].view);
        client.close();
      }
    });

    test("a bridge comes back to a server that was started again, and begins anew", async () => {
      const here = room();
      const data = { name: "before", price: "1.00", room: here };
      const pk = await writer.create(data);
      const clients = await Promise.all([1, 2, 3].map(() => Client.subscribed(server, here)));
      for (const client of clients) assert.deepEqual(client.view, new Map([[pk, shown(data)]]));
      await server.stop();
      await server.start();

      await writer.opened.next("connection");
      await writer.update(pk, { name: "after" });
      const second = await writer.create({ ...data, name: "another" });
      const rows = [
        { pk, data: shown({ ...data, name: "after" }) },
        { pk: second, data: shown({ ...data, name: "another" }) },
      ];
      for (const client of clients) {
        await client.opened.next("connection");
        client.say({ action: "subscribe" });
        assert.deepEqual(await client.event(), { action: "snapshot", rows, model, begins: true, complete: true });
      }
      await writer.delete(pk);
      for (const client of clients) {
        assert.deepEqual(plain(await client.event()), deleted(pk));
        assert.deepEqual([...client.view.keys()], [second]);
        client.close();
      }
    });
  });
}
