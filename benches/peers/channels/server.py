"""Django Channels on uvicorn with its in-memory layer: the chat of its tutorial, without a page."""

import sys

import uvicorn
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path

settings.configure(CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}})


class Said(AsyncWebsocketConsumer):
    """Passes what a client says to everybody in its group."""

    async def connect(self):
        number = self.scope["url_route"]["kwargs"].get("number")
        self.group = "everybody" if number is None else f"group-{number}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data=None, bytes_data=None):
        await self.channel_layer.group_send(self.group, {"type": "said", "text": text_data})

    async def said(self, event):
        await self.send(text_data=event["text"])


class Echo(AsyncWebsocketConsumer):
    """Sends back what comes."""

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data)


routes = URLRouter(
    [
        path("", Said.as_asgi()),
        path("echo", Echo.as_asgi()),
        path("group/<int:number>", Said.as_asgi()),
    ]
)

if __name__ == "__main__":
    uvicorn.run(
        ProtocolTypeRouter({"websocket": routes}),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="warning",
        lifespan="off",
        ws_per_message_deflate=False,
    )
