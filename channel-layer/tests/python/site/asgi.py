"""The site as uvicorn serves it: one consumer, at the root."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
django.setup()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402

from consumers import FanOut  # noqa: E402

application = ProtocolTypeRouter({"websocket": URLRouter([path("", FanOut.as_asgi())])})
