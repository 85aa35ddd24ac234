"""The processes of channels_redis in the `redis-peers` bench; ours, in work.rs beside the bench, do the same.

Usage: redis_peers.py TASK, where TASK is JSON as in messages.rs. One process sends to a group, the other holds its
members. Each says on its standard output when it is ready, is told on its standard input what to do, one JSON value a
line, answers in the same way, and ends with its input.
"""

import asyncio
import json
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

LAYERS = {"core": RedisChannelLayer, "pubsub": RedisPubSubChannelLayer}

PAYLOAD = "x" * 128

# The time of a message that only opens connections; it is not counted.
WARM_UP = 0

# Seconds without a message until a receiver takes the rest for lost, and seconds that it may be behind at all.
QUIET = 2
LONGEST_WAIT = 60


def layer_of(task):
    # redis-py 8 gives up on a read after 5 s, which is as long as channels_redis blocks for a message: its users have
    # to raise the timeout, as here.
    hosts = [{"address": task["redis"], "socket_timeout": None}]
    return LAYERS[task["layer"]](hosts=hosts, capacity=task["capacity"])


def tick(sent):
    return {"type": "bench.message", "sent": sent, "payload": PAYLOAD}


def tell(what):
    print(json.dumps(what), flush=True)


async def ask():
    return json.loads(await asyncio.to_thread(sys.stdin.readline))


def ready():
    packages = ", ".join(version_of(package) for package in ("channels_redis", "redis", "hiredis"))
    tell({"versions": f"{packages}, Python {platform.python_version()}"})


def version_of(package):
    """The parser hiredis is optional, and makes a difference."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


async def send(layer, task):
    await layer.group_send(task["group"], tick(WARM_UP))
    ready()
    await ask()
    began = time.time_ns()
    end = time.monotonic() + task["seconds"]
    sends = await asyncio.gather(*(send_until(end, layer, task) for _ in range(task["senders"])))
    tell({"sends": sum(sends), "began": began, "ended": time.time_ns()})
    await asyncio.to_thread(sys.stdin.read)


async def send_until(end, layer, task):
    sends = 0
    while time.monotonic() < end:
        await layer.group_send(task["group"], tick(time.time_ns()))
        sends += 1
        if task["pause"] > 0:
            await asyncio.sleep(task["pause"])
    return sends


class Ears:
    """What the members of the group count together."""

    def __init__(self, notes_latencies):
        self.notes_latencies = notes_latencies
        self.deliveries = 0
        self.last = 0
        self.latencies = []

    async def listen(self, layer, channel):
        while True:
            message = await layer.receive(channel)
            if message["sent"] != WARM_UP:
                self.note(message["sent"])

    def note(self, sent):
        self.last = time.time_ns()
        if self.notes_latencies:
            self.latencies.append(self.last - sent)
        self.deliveries += 1

    async def wait_for(self, due):
        longest = time.monotonic() + LONGEST_WAIT
        heard, patience = 0, time.monotonic() + QUIET
        while heard < due and time.monotonic() < min(patience, longest):
            await asyncio.sleep(0.01)
            if self.deliveries > heard:
                heard, patience = self.deliveries, time.monotonic() + QUIET

    def heard(self):
        latencies = sorted(self.latencies)

        def at(percent):
            return latencies[len(latencies) * percent // 100] / 1e6 if latencies else None

        return {"deliveries": self.deliveries, "last": self.last, "p50": at(50), "p99": at(99)}


async def receive(layer, task):
    ears = Ears(task["pause"] > 0)
    channels = []
    members = []
    for _ in range(task["members"]):
        channel = await layer.new_channel()
        await layer.group_add(task["group"], channel)
        channels.append(channel)
        members.append(asyncio.create_task(ears.listen(layer, channel)))
    ready()
    await ears.wait_for((await ask())["deliveries"])
    tell(ears.heard())
    await asyncio.to_thread(sys.stdin.read)
    for channel in channels:
        await layer.group_discard(task["group"], channel)
    for member in members:
        member.cancel()
    await asyncio.gather(*members, return_exceptions=True)


async def main(task):
    work = {"sender": send, "receiver": receive}[task["role"]]
    await work(layer_of(task), task)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
