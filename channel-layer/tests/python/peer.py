"""The peer of the interop tests: one layer of channels_redis, driven by JSON lines.

Usage: peer.py core|pubsub OPTIONS, where OPTIONS is the layer's CONFIG as JSON. Each line of the standard input is a
command, {"id": 1, "op": "send", "args": {...}}; each line of the standard output answers one, {"id": 1, "ok": ...} or
{"id": 1, "error": "ChannelFull", "text": "..."}. Commands run side by side, so that a receive may wait while others
send. Messages travel as Python literals, since JSON has neither bytes nor tuples nor keys that are not text.
"""

import asyncio
import json
import sys

import msgpack
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

LAYERS = {"core": RedisChannelLayer, "pubsub": RedisPubSubChannelLayer}

# What a literal may name besides Python's own: `repr` writes doubles so, and the rest is poison for other readers.
NAMES = {
    "__builtins__": {},
    "inf": float("inf"),
    "nan": float("nan"),
    "ExtType": msgpack.ExtType,
    "Timestamp": msgpack.Timestamp,
}

# The longest line of input; a message of a megabyte is longer as a literal.
LINE_LIMIT = 1 << 26


def literal(text):
    return eval(text, NAMES)


class Peer:
    """Does what the commands say; each public method is one."""

    def __init__(self, layer):
        self.layer = layer

    async def new_channel(self, prefix=None):
        return await (self.layer.new_channel(prefix) if prefix else self.layer.new_channel())

    async def send(self, channel, message):
        await self.layer.send(channel, literal(message))

    async def receive(self, channel, timeout):
        """The next message as a literal. A timeout is an error: pub/sub forgets a channel whose receive ended."""
        return repr(await asyncio.wait_for(self.layer.receive(channel), timeout))

    async def group_add(self, group, channel):
        await self.layer.group_add(group, channel)

    async def group_discard(self, group, channel):
        await self.layer.group_discard(group, channel)

    async def group_send(self, group, message):
        await self.layer.group_send(group, literal(message))

    async def flush(self):
        await self.layer.flush()


async def answer(peer, line):
    command = json.loads(line)
    try:
        result = {"ok": await getattr(peer, command["op"])(**command["args"])}
    except Exception as error:
        result = {"error": type(error).__name__, "text": str(error)}
    print(json.dumps({"id": command["id"], **result}), flush=True)


async def main(kind, options):
    peer = Peer(LAYERS[kind](**options))
    lines = asyncio.StreamReader(limit=LINE_LIMIT)
    reading = asyncio.StreamReaderProtocol(lines)
    await asyncio.get_running_loop().connect_read_pipe(lambda: reading, sys.stdin)
    running = set()
    while line := await lines.readline():
        task = asyncio.create_task(answer(peer, line))
        running.add(task)
        task.add_done_callback(running.discard)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
