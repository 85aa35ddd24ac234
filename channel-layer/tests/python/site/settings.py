"""The settings of a small Django Channels site; the environment says which layer it has, and where."""

import os

SECRET_KEY = "for tests on the loopback address only"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["channels"]
USE_TZ = True

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": os.environ["SITE_LAYER"],
        # redis-py 8 gives up on a read after 5 s, as long as channels_redis blocks, and the socket would close.
        "CONFIG": {"hosts": [{"address": os.environ["SITE_REDIS"], "socket_timeout": None}]},
    }
}
