"""Django's settings for its twin: nothing that its routes do not need."""

import os
from urllib.parse import unquote, urlsplit

_address = urlsplit(os.environ["PEER_DATABASE_URL"])

SECRET_KEY = os.environ["PEER_SECRET"]
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.benchmarks.peers.twins.ninja.routes"
INSTALLED_APPS = ["tests.benchmarks.peers.twins.ninja"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]  # it tells a body's length
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": _address.hostname,
        "PORT": _address.port,
        "USER": _address.username,
        "PASSWORD": unquote(_address.password or ""),
        "NAME": _address.path.removeprefix("/"),
        "CONN_MAX_AGE": None,  # each thread keeps its own: as many connections as threads
        "OPTIONS": {"options": "-c search_path=app", "server_side_binding": True, "prepare_threshold": 2},
    }
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "ERROR"},
}
