"""What the fan-out server does, written for Django Channels."""

from channels.generic.websocket import AsyncWebsocketConsumer


class FanOut(AsyncWebsocketConsumer):
    """Every text frame reaches every connection."""

    groups = ["g"]

    async def receive(self, text_data=None, bytes_data=None):
        await self.channel_layer.group_send("g", {"type": "said", "text": text_data})

    async def said(self, event):
        await self.send(text_data=event["text"])
